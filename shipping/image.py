"""The container image: Debian's Python and bundlectl for two machines, as a tar of an OCI image layout.

The formats are those of the OCI image-spec (image-layout.md, image-index.md, manifest.md, config.md, layer.md).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import debian
from reproducible import FILE, PROGRAM, Entry, compress, folder, write_tar
from wheels import platforms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sources import Commit

    MakeLayer = Callable[[], dict[str, Entry]]

PYTHON = "3.11"
"""Of the Debian release that the image is made of."""
INTERPRETER = f"usr/bin/python{PYTHON}"
PACKAGES = f"usr/local/lib/python{PYTHON}/dist-packages"
USER = 65532
"""Nobody's: what images without a shell usually run as."""

LEFT_OUT = re.compile(
    r"usr/s?bin/|usr/share/(?!ca-certificates/|common-licenses/|doc/.*/copyright$)|usr/lib/(binfmt\.d|.*/gconv)/|var/"
    # Modules of Python whose libraries are not in the image.
    r"|.*/lib-dynload/(_curses|_curses_panel|_dbm|_sqlite3|nis|readline)\."
)
MERGED = re.compile(r"^(bin|lib|lib64|sbin)(?=/)")
LAUNCHER = f"#!/{INTERPRETER} -I\nimport sys\nfrom bundlectl.cli.main import main\nsys.exit(main())\n"
ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nbundlectl:x:{USER}:{USER}::/data:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\nbundlectl:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
TYPE = "application/vnd.oci.image."


@dataclass
class Layout:
    """An OCI image layout while it grows."""

    files: dict[str, Entry] = field(default_factory=dict)

    def add(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Add a blob; returns its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = Entry(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add_document(self, document: dict[str, Any], media_type: str) -> dict[str, Any]:
        """Add a JSON document as a blob; returns its descriptor."""
        return self.add(_json(document), media_type)


def write_image(
    out: Path, version: str, commit: Commit, layers: Mapping[str, Sequence[MakeLayer]], cache: Path
) -> None:
    """Write the image.

    Args:
        out: the file.
        version: of bundlectl.
        commit: what is built.
        layers: what makes those of each architecture, the lowest first.
        cache: where compressed layers are kept.
    """
    layout, manifests = Layout(), []
    for architecture in sorted(layers):
        described, hashes = [], []
        for make in layers[architecture]:
            stream = io.BytesIO()
            # Without the commit's time, so that what did not change is the same layer, and is not carried again.
            write_tar(stream, with_parents(make()), 0)
            content = stream.getvalue()
            hashes.append(f"sha256:{hashlib.sha256(content).hexdigest()}")
            described.append(layout.add(compressed(content, cache), f"{TYPE}layer.v1.tar+gzip"))
        configuration = configure(architecture, version, commit, hashes)
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{TYPE}manifest.v1+json",
            "config": layout.add_document(configuration, f"{TYPE}config.v1+json"),
            "layers": described,
        }
        descriptor = layout.add_document(manifest, f"{TYPE}manifest.v1+json")
        manifests.append({**descriptor, "platform": {"architecture": architecture, "os": "linux"}})
    index = {"schemaVersion": 2, "mediaType": f"{TYPE}index.v1+json", "manifests": manifests}
    top = layout.add_document(index, f"{TYPE}index.v1+json")
    named = {**top, "annotations": {"org.opencontainers.image.ref.name": version}}
    layout.files["index.json"] = Entry(
        _json({"schemaVersion": 2, "mediaType": f"{TYPE}index.v1+json", "manifests": [named]})
    )
    layout.files["oci-layout"] = Entry(_json({"imageLayoutVersion": "1.0.0"}))
    with out.open("wb") as file:
        write_tar(file, layout.files, commit.epoch)


def compressed(content: bytes, cache: Path) -> bytes:
    """The content with gzip, out of the cache when it was compressed before by the same zlib."""
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"{hashlib.sha256(content).hexdigest()}-{zlib.ZLIB_RUNTIME_VERSION}.gz"
    with contextlib.suppress(FileNotFoundError, zlib.error, EOFError, gzip.BadGzipFile):
        found = kept.read_bytes()
        if gzip.decompress(found) == content:
            return found
    made = compress(content)
    with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
        file.write(made)
    Path(file.name).rename(kept)
    return made


def configure(architecture: str, version: str, commit: Commit, layers: list[str]) -> dict[str, Any]:
    """The image's configuration; ``layers`` are the digests of the uncompressed layers."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(commit.epoch))
    labels = {"title": "bundlectl", "version": version, "revision": commit.revision, "licenses": "Apache-2.0"}
    return {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Env": ["PATH=/usr/local/bin:/usr/bin", "HOME=/data"],
            "Entrypoint": ["/usr/local/bin/bundlectl"],
            "WorkingDir": "/data",
            "Volumes": {"/data": {}},
            "Labels": {f"org.opencontainers.image.{name}": value for name, value in labels.items()},
        },
        "rootfs": {"type": "layers", "diff_ids": layers},
        "history": [
            {"created": created, "created_by": f"Python and its libraries, from Debian {debian.RELEASE}"},
            {"created": created, "created_by": "what bundlectl needs, from requirements.txt"},
            {"created": created, "created_by": f"bundlectl {version}"},
        ],
    }


def python_layer(architecture: str, cache: Path) -> dict[str, Entry]:
    """Debian's Python and its libraries, as files by path."""
    entries = {name: Entry(link=f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")}
    authorities: dict[str, bytes] = {}
    for package, file in debian.provide(architecture, cache):
        unpacked = debian.unpack(file)
        # Where scanners look in images that have no dpkg.
        entries[f"var/lib/dpkg/status.d/{package.name}"] = Entry(unpacked.control)
        with unpacked.files as files:
            for member in files:
                name = MERGED.sub(r"usr/\1", member.name.removeprefix("./"))
                if member.isdir() or (LEFT_OUT.match(name) and name != INTERPRETER):
                    continue
                if member.issym():
                    entries[name] = Entry(link=member.linkname)
                    continue
                stream = files.extractfile(member)  # of a hard link it is the file's
                content = stream.read() if stream else b""
                entries[name] = Entry(content, PROGRAM if member.mode & 0o111 else FILE)
                if name.startswith("usr/share/ca-certificates/"):
                    authorities[name] = content
    bundle = b"".join(content.rstrip(b"\n") + b"\n" for _, content in sorted(authorities.items()))
    entries["etc/ssl/certs/ca-certificates.crt"] = Entry(bundle)
    entries["usr/lib/ssl/cert.pem"] = Entry(link="/etc/ssl/certs/ca-certificates.crt")
    entries |= {name: Entry(text.encode()) for name, text in ACCOUNTS.items()}
    entries |= {name: folder() for name in ("dev", "proc", "run", "sys", "usr/sbin")}
    return {**entries, "tmp": folder(0o1777), "data": folder(owner=USER)}


def wheels_layer(machine: str, requirements: Iterable[str], wheels: Iterable[Path]) -> dict[str, Entry]:
    """What pip makes of the wheels for one machine, as files by path."""
    entries = {}
    with tempfile.TemporaryDirectory(prefix="bundlectl-image-") as work:
        listed, house, target = Path(work, "requirements.txt"), Path(work, "wheelhouse"), Path(work, "target")
        listed.write_text("".join(f"{line}\n" for line in requirements))
        house.mkdir()
        for wheel in wheels:
            (house / wheel.name).symlink_to(wheel)
        command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input", "install"]
        command += ["--quiet", "--no-index", "--find-links", str(house), "--only-binary", ":all:", "--no-deps"]
        command += ["--require-hashes", "--no-compile", "--root-user-action", "ignore", "--implementation", "cp"]
        command += ["--python-version", PYTHON, *platforms(machine), "--target", str(target)]
        subprocess.run([*command, "-r", str(listed)], check=True)
        for path in sorted(target.rglob("*")):
            name = path.relative_to(target).as_posix()
            if path.is_file() and not name.startswith("bin/"):
                entries[f"{PACKAGES}/{name}"] = Entry(path.read_bytes(), PROGRAM if path.suffix == ".so" else FILE)
    return entries


def tool_layer(machine: str, requirement: str, own: Path) -> dict[str, Entry]:
    """Bundlectl itself, as files by path."""
    launcher = {"usr/local/bin/bundlectl": Entry(LAUNCHER.encode(), PROGRAM)}
    return {**launcher, **wheels_layer(machine, [requirement], [own])}


def with_parents(entries: dict[str, Entry]) -> dict[str, Entry]:
    """The entries and every folder above them."""
    above = {str(parent) for name in entries for parent in PurePosixPath(name).parents if parent.name}
    return {**{name: folder() for name in above}, **entries}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
