"""The Debian packages that the container image is made of, pinned in ``debian.txt``, kept by their SHA-256.

What is pinned and no longer offered is replaced by what Debian offers now, with its signature, and said.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from sources import sha256

PINS = Path(__file__).with_name("debian.txt")
RELEASE = "bookworm"
ARCHITECTURES = ("amd64", "arm64")
OFFERED = re.compile(r"^'[^']+' (?P<file>[^_ ]+_[^_ ]+_[a-z0-9]+\.deb) \d+ SHA256:(?P<sha256>[0-9a-f]{64})$")


@dataclass(frozen=True)
class Package:
    """One build of one package."""

    name: str
    version: str
    architecture: str
    sha256: str


@dataclass(frozen=True)
class Unpacked:
    """A package's paragraph as ``dpkg`` keeps it, and its files."""

    control: bytes
    files: tarfile.TarFile


def read_pins(architecture: str) -> list[Package]:
    """What ``debian.txt`` says of one architecture."""
    lines = (line.split() for line in PINS.read_text().splitlines() if line and not line.startswith("#"))
    return [Package(*line) for line in lines if line[2] in (architecture, "all")]


def provide(architecture: str, cache: Path) -> list[tuple[Package, Path]]:
    """Each pinned package and its file, downloaded if it is not in the cache.

    Raises:
        SystemExit: it cannot be had.
    """
    pins = read_pins(architecture)
    cache.mkdir(parents=True, exist_ok=True)
    absent = [pin for pin in pins if not _is_there(cache, pin)]
    taken = {pin.name: pin for pin in pins}
    if absent:
        with tempfile.TemporaryDirectory(prefix="bundlectl-apt-") as work:
            apt = Apt(Path(work), architecture)
            found = apt.offered([f"{pin.name}={pin.version}" for pin in absent])
            found = found or [_closest(apt, pin) for pin in absent]
            for package in found:
                if package != taken[package.name]:
                    print(
                        f"image: Debian has {package.name} {package.version} and no longer "
                        f"{taken[package.name].version}: not the image of the pins (make lock-image)",
                        file=sys.stderr,
                    )
                taken[package.name] = package
            apt.download([package for package in found if not _is_there(cache, package)], cache)
    return [(package, cache / f"{package.sha256}.deb") for package in taken.values()]


def lock() -> None:
    """Pin what Debian offers now of the packages in ``debian.txt``.

    Raises:
        SystemExit: one of them is not offered.
    """
    head = [line for line in PINS.read_text().splitlines() if line.startswith("#")]
    lines: dict[str, None] = {}
    for architecture in ARCHITECTURES:
        with tempfile.TemporaryDirectory(prefix="bundlectl-apt-") as work:
            names = sorted(pin.name for pin in read_pins(architecture))
            found = Apt(Path(work), architecture).offered(names)
        if not found:
            sys.exit(f"not all of debian.txt is in Debian {RELEASE} ({architecture}) as apt sees it here")
        lines.update((f"{one.name} {one.version} {one.architecture} {one.sha256}", None) for one in found)
    PINS.write_text("\n".join([*head, *lines, ""]))


def unpack(file: Path) -> Unpacked:
    """Open a package.

    Raises:
        CalledProcessError: it is none.
    """
    control = subprocess.run(["dpkg-deb", "--field", file], check=True, capture_output=True).stdout
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", file], check=True, capture_output=True).stdout
    return Unpacked(control, tarfile.open(fileobj=io.BytesIO(content)))


def _is_there(cache: Path, package: Package) -> bool:
    file = cache / f"{package.sha256}.deb"
    return file.is_file() and sha256(file) == package.sha256


class Apt:
    """This machine's Debian sources, asked for any architecture, with folders of its own: nothing is installed."""

    def __init__(self, work: Path, architecture: str) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            sys.exit("the container image is put together from Debian's packages, and there is no apt here")
        for name in ("state/lists/partial", "cache/archives/partial", "sources"):
            (work / name).mkdir(parents=True)
        (work / "status").touch()
        (work / "sources" / "debian.sources").write_text(_sources())
        (work / "sources" / "debian.list").write_text(_source_lines())
        self._work = work
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Dir::State": str(work / "state"),
            "Dir::State::status": str(work / "status"),
            "Dir::Cache": str(work / "cache"),
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": str(work / "sources"),
        }
        self._options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        self._run("update", "-qq", check=True)

    def _run(self, *arguments: str, check: bool, folder: Path | None = None) -> str:
        outcome = subprocess.run(
            ["apt-get", *self._options, *arguments],
            cwd=folder or self._work,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and outcome.returncode != 0:
            sys.exit(f"apt-get {arguments[0]}: {outcome.stderr.strip()[-500:]}")
        return outcome.stdout if outcome.returncode == 0 else ""

    def offered(self, wanted: list[str]) -> list[Package]:
        """The packages as Debian has them now, none if one of them is not to be had.

        Args:
            wanted: each ``name`` or ``name=version``.
        """
        found = []
        for match in map(OFFERED.match, self._run("download", "--print-uris", *wanted, check=False).splitlines()):
            if match:
                name, version, architecture = match["file"].removesuffix(".deb").split("_")
                found.append(Package(name, unquote(version), architecture, match["sha256"]))
        return found

    def download(self, packages: list[Package], cache: Path) -> None:
        """Put packages into the cache.

        Raises:
            SystemExit: one cannot be had, or is another one.
        """
        if not packages:
            return
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            wanted = (f"{package.name}={package.version}" for package in packages)
            self._run("download", "-qq", *wanted, check=True, folder=Path(folder))
            files = {sha256(file): file for file in Path(folder).glob("*.deb")}
            for package in packages:
                if package.sha256 not in files:
                    sys.exit(f"{package.name} {package.version} is not the package that Debian's index names")
                files[package.sha256].replace(cache / f"{package.sha256}.deb")


def _closest(apt: Apt, pin: Package) -> Package:
    found = apt.offered([f"{pin.name}={pin.version}"]) or apt.offered([pin.name])
    if not found:
        sys.exit(f"{pin.name} is not in Debian {RELEASE} as apt sees it here")
    return found[0]


def _suites() -> set[str]:
    return {RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security"}


def _sources() -> str:
    """Of this machine's sources those of Debian's release, whatever else it has."""
    found = []
    for file in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            suites = re.search(r"^Suites:(.*)$", stanza, re.MULTILINE | re.IGNORECASE)
            if suites and set(suites[1].split()) <= _suites():
                found.append(stanza.strip())
    return "\n\n".join(found) + "\n"


def _source_lines() -> str:
    """The same in the older form, a line each."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]
    lines = [line for file in files if file.is_file() for line in file.read_text().splitlines()]
    wanted = re.compile(rf"^deb\s+(\[[^]]*\]\s+)?\S+\s+({'|'.join(sorted(_suites()))})\s")
    return "".join(f"{line}\n" for line in lines if wanted.match(line))
