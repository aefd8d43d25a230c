"""Hosts of AWS's private registries (ECR), and those of them that hold curated packages (``domain.md`` 3.7)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["EcrHost", "holds_packages", "parse_ecr_host"]

_CLASSIC: Final = re.compile(r"([0-9]{12})\.dkr\.ecr(-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_DUAL: Final = re.compile(r"([0-9]{12})\.dkr-ecr(-fips)?\.([a-z0-9-]+)\.on\.(?:aws|amazonwebservices\.com\.cn)")

_PACKAGE_ACCOUNTS: Final = frozenset(
    [  # production, development and staging, then one for each region
        "783794618700",
        "067575901363",
        "724423470321",
        "783635962247",
        "804323328300",
        "143143237519",
        "447311122189",
        "376465423944",
        "357015164304",
        "388483641499",
        "654894141437",
        "299286866837",
        "703305448174",
        "106475008004",
        "396913739932",
        "141666480881",
        "064352486547",
        "571600859530",
        "364992945014",
        "551422459769",
        "826441621985",
        "787863792200",
        "127214161500",
        "090204409458",
        "371148654473",
        "282646289008",
        "131750224677",
        "454241080883",
        "158698011868",
        "295916874491",
        "517745584577",
        "331113665574",
        "297090588151",
        "440460740297",
        "346438352937",
    ]
)


class EcrHost(NamedTuple):
    """What a host name says."""

    account: str
    region: str
    fips: bool


def parse_ecr_host(host: str) -> EcrHost | None:
    """Read the host of a private ECR registry, classic or dual-stack; None for any other host."""
    match = _CLASSIC.fullmatch(host) or _DUAL.fullmatch(host)
    return EcrHost(match[1], match[3], bool(match[2])) if match else None


def holds_packages(host: str) -> bool:
    """Whether a host is one of AWS's private registries of curated packages."""
    found = parse_ecr_host(host)
    return found is not None and found.account in _PACKAGE_ACCOUNTS
