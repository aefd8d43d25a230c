"""Every registry product as a source and as a target of `bundlectl mirror`: what went in comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.content import write_chart, write_layout
from tests.interop.products import PRODUCTS, logged_in, product
from tests.interop.programs import Program, provided

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("target", PRODUCTS)
@pytest.mark.parametrize("source", PRODUCTS)
def test_a_signed_image_and_a_chart_go_from_one_product_to_another_and_nothing_is_done_twice(
    source: str, target: str, ours: Program, crane: Program, home: Path, tmp_path: Path
) -> None:
    write_layout(tmp_path / "image", seed=1)
    with (
        product(source, tmp_path / "from") as (here, from_login),
        product(target, tmp_path / "to") as (there, to_login),
    ):
        logins = {here: from_login, there: to_login}
        ours, crane = logged_in(ours, logins), logged_in(crane, logins)
        helm = logged_in(Program(provided("helm3"), home), logins)
        crane.run("push", "--index", tmp_path / "image", f"{here}/site/app:v1")
        ours.run("keys", "generate", "site.key")
        ours.run("sign", f"{here}/site/app:v1", "--key", "site.key", "--signature-format", "both")
        helm.run("package", write_chart(tmp_path, "greeter", "1.2.3+x"), "--destination", tmp_path)
        helm.run("push", tmp_path / "greeter-1.2.3+x.tgz", f"oci://{here}/charts", "--plain-http")
        lock = tmp_path / "lock.json"
        ours.run("lock", f"image:{here}/site/app:v1", f"chart:{here}/charts/greeter:1.2.3_x", "--out", lock)

        first = ours.document("mirror", lock, "--to", f"{there}/mirror", "-o", "json")
        assert first["artifacts"]["done"] == 2
        assert first["failed"] == []
        ours.run("verify", f"registry:{there}/mirror", "--against", lock, "--deep")
        ours.run("verify", f"{there}/mirror/site/app:v1", "--key", "site.key.pub")
        crane.run("validate", "--remote", f"{there}/mirror/site/app:v1")

        again = ours.document("mirror", lock, "--to", f"{there}/mirror", "-o", "json")
        assert again["artifacts"]["skipped"] == 2
        assert again["requests"]["source"] == 0
        assert again["blobs"]["transferred"] == 0
