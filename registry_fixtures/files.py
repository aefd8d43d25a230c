"""Files of the made-up content delivery network: deterministic bytes of plausible size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from registry_fixtures.cdn import StoredFile, cdn_path
from registry_fixtures.noise import noise

if TYPE_CHECKING:
    from mirror.oci.digest import Digest
    from registry_fixtures.depot import BlobDepot
    from registry_fixtures.noise import Dice

__all__ = ["FileMaker", "MadeFile"]

_MB: Final = 1_000_000
_LEAST: Final = 64
_SIZES: Final = (
    (".ova", 600 * _MB, 1500 * _MB),
    (".img.gz", 300 * _MB, 700 * _MB),
    (".iso", 100 * _MB, 250 * _MB),
    ("initramfs", 80 * _MB, 200 * _MB),
    ("vmlinuz", 8 * _MB, 20 * _MB),
    (".tar.gz", 10 * _MB, 350 * _MB),
)
"""Words in a file's name, and the smallest and largest real size in bytes."""


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file and its checksums; ``sha512`` in bare hexadecimal."""

    url: str
    digest: Digest
    sha512: str
    size: int


@dataclass(slots=True)
class FileMaker:
    """Makes the files that documents name by URL, each once.

    Beside a file with checksums lie ``.sha256`` and ``.sha512``, as at EKS-D's site.
    """

    depot: BlobDepot
    dice: Dice
    scale: float
    made: dict[str, MadeFile] = field(default_factory=dict)
    stored: dict[str, StoredFile] = field(default_factory=dict)
    """What a ``Cdn`` serves, by its path."""

    def make(self, url: str) -> MadeFile:
        """Make the file at ``url``."""
        if url not in self.made:
            name = url.rpartition("/")[2]
            draft = self.depot.draft()
            if name.endswith((".yaml", ".yml")):
                draft.write(_manifest(url))
            else:
                for block in noise(self.dice.label("file", url), self._size(url)):
                    draft.write(block)
            sha512 = draft.digest("sha512").encoded
            size = draft.size
            digest = draft.finish()
            self.made[url] = MadeFile(url, digest, sha512, size)
            self.stored[cdn_path(url)] = StoredFile(digest)
        return self.made[url]

    def make_checksums(self, url: str) -> None:
        """Put ``.sha256`` and ``.sha512`` beside a file, in the form of ``sha256sum``."""
        made, name = self.make(url), url.rpartition("/")[2]
        for suffix, text in (("sha256", made.digest.encoded), ("sha512", made.sha512)):
            self.put(f"{url}.{suffix}", f"{text}  {name}\n".encode(), "text/plain")

    def put(self, url: str, data: bytes, content_type: str) -> None:
        """Serve given bytes at ``url``."""
        self.stored[cdn_path(url)] = StoredFile(self.depot.put(data), content_type)

    def _size(self, url: str) -> int:
        name = url.rpartition("/")[2]
        least, most = next(((low, high) for word, low, high in _SIZES if word in name), (5 * _MB, 60 * _MB))
        return max(_LEAST, int(self.dice.size(least, most, "file", url) * self.scale))


def _manifest(url: str) -> bytes:
    """A Kubernetes manifest for a URL that ends in ``.yaml``."""
    stem = url.rpartition("/")[2].rpartition(".")[0].lower().replace("_", "-").replace(".", "-")
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": stem, "namespace": "eksa-system"},
        "data": {"source": url},
    }
    return yaml.safe_dump(document, sort_keys=False).encode()
