"""Release documents are read from S3."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.interop.journey import BUNDLES
from tests.interop.programs import Program, data, moto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def amazon(tmp_path: Path) -> Iterator[dict[str, str]]:
    with moto(tmp_path / "moto") as variables:
        yield variables


def test_a_document_in_a_bucket_is_what_it_is_as_a_file(amazon: dict[str, str], ours: Program) -> None:
    path = data(BUNDLES)
    bucket = boto3.client(
        "s3",
        endpoint_url=amazon["AWS_ENDPOINT_URL"],
        aws_access_key_id="made-up",
        aws_secret_access_key="made-up",
        region_name="us-east-1",
    )
    bucket.create_bucket(Bucket="releases")
    bucket.put_object(Bucket="releases", Key="eks-a/bundles.yaml", Body=path.read_bytes())
    bucket.close()
    inside = replace(ours, environment={**ours.environment, **amazon})
    command = ("inspect", "--verify", "off", "--no-follow", "-o", "json")
    found = inside.document(*command, "s3://releases/eks-a/bundles.yaml")
    assert found["totals"] == ours.document(*command, path)["totals"]
    outcome = inside.attempt(*command, "s3://releases/no/such")
    assert outcome.returncode == 4, outcome.stderr
