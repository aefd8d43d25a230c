"""Container images: of several platforms, shapes and sizes, sharing base layers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mirror.oci.descriptor import Descriptor
from mirror.oci.mediatype import DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from registry_fixtures.layers import Layer, write_layer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.oci.platform import Platform
    from registry_fixtures.holdings import Holdings
    from registry_fixtures.noise import Dice

__all__ = ["ImageMaker"]

_MB: Final = 1_000_000
_BASES: Final = (("minimal", 2 * _MB), ("glibc", 12 * _MB), ("nginx", 25 * _MB), ("al2023", 60 * _MB))
_LEAST: Final = 40
_DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CREATED: Final = "2024-05-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class _Shape:
    """The dialect an image is written in, and whether it has an index."""

    docker: bool
    index: bool

    @property
    def types(self) -> tuple[str, str, str, str]:
        """Media types of index, manifest, config and layer."""
        if self.docker:
            return DOCKER_LIST, DOCKER_MANIFEST, _DOCKER_CONFIG, _DOCKER_LAYER
        return OCI_INDEX, OCI_MANIFEST, OCI_CONFIG, f"{OCI_LAYER}+gzip"

    def render(self, document: dict[str, Any]) -> bytes:
        """Write JSON the way the usual builders of the dialect do: neither form is canonical."""
        return json.dumps(document, indent=3 if self.docker else 2).encode()


@dataclass(slots=True)
class ImageMaker:
    """Makes images for references and puts them into repositories.

    Of ten images about seven are OCI indexes, one a Docker manifest list, one a lone OCI
    manifest, one a lone Docker manifest. Real sizes are 5 to 300 MB per platform: a base layer
    shared between repositories, a layer shared between the tags of one repository, and one to
    three of its own. ``scale`` multiplies them.
    """

    holdings: Holdings
    dice: Dice
    scale: float
    platforms: tuple[Platform, ...]
    _layers: dict[str, Layer] = field(default_factory=dict)

    def make(self, repository: str, tag: str, *, architectures: Iterable[str] = ()) -> Descriptor:
        """Make the image ``repository:tag`` and return the descriptor the tag points at.

        Args:
            repository: the path in the holdings.
            tag: also what the content is derived from.
            architectures: the only ones to make, if any of the platforms has them.
        """
        wanted = frozenset(architectures)
        platforms = [platform for platform in self.platforms if platform.architecture in wanted]
        platforms = platforms or list(self.platforms)
        shape = self._shape(repository, tag)
        if not shape.index:
            return self._image(repository, tag, platforms[0], shape, named=True)
        children = [self._image(repository, tag, platform, shape, named=False) for platform in platforms]
        index = {"schemaVersion": 2, "mediaType": shape.types[0], "manifests": [child.to_json() for child in children]}
        return self.holdings.put_manifest(repository, shape.render(index), tag=tag).descriptor

    def _shape(self, repository: str, tag: str) -> _Shape:
        number = self.dice.pick(10, "shape", repository, tag)
        return {7: _Shape(docker=True, index=True), 8: _Shape(docker=False, index=False)}.get(
            number,
            _Shape(docker=number == 9, index=number != 9),  # noqa: PLR2004 -- one in ten
        )

    def _image(self, repository: str, tag: str, platform: Platform, shape: _Shape, *, named: bool) -> Descriptor:
        layers = self._image_layers(repository, tag, platform)
        _, manifest_type, config_type, layer_type = shape.types
        config = json.dumps(
            {
                "architecture": platform.architecture,
                "os": platform.os,
                **({"variant": platform.variant} if platform.variant else {}),
                "created": _CREATED,
                "config": {"Entrypoint": [f"/{repository.rpartition('/')[2]}"], "Labels": {"version": tag}},
                "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
                "history": [{"created": _CREATED, "created_by": "bundlectl fixture"} for _ in layers],
            }
        ).encode()
        digest = self.holdings.put_blob(repository, config)
        for layer in layers:
            self.holdings.link_blob(repository, layer.digest)
        document = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": {"mediaType": config_type, "size": len(config), "digest": str(digest)},
            "layers": [{"mediaType": layer_type, "size": item.size, "digest": str(item.digest)} for item in layers],
        }
        manifest = self.holdings.put_manifest(repository, shape.render(document), tag=tag if named else None)
        found = manifest.descriptor
        return Descriptor(found.media_type, found.digest, found.size, platform=platform)

    def _image_layers(self, repository: str, tag: str, platform: Platform) -> list[Layer]:
        total = self.dice.size(5 * _MB, 300 * _MB, "size", repository)
        fitting = [base for base in _BASES if base[1] < total] or [_BASES[0]]
        base, base_size = fitting[self.dice.pick(len(fitting), "base", repository)]
        rest = max(total - base_size, _MB)
        layers = [
            self._layer(f"base/{base}", base_size, platform),
            self._layer(f"shared/{repository}", rest * 0.3, platform),
        ]
        own = 1 + self.dice.pick(3, "layers", repository)
        layers += [self._layer(f"own/{repository}:{tag}/{part}", rest * 0.7 / own, platform) for part in range(own)]
        return layers

    def _layer(self, name: str, size: float, platform: Platform) -> Layer:
        key = f"{name} {platform}"
        if key not in self._layers:
            scaled = max(_LEAST, int(size * self.scale))
            path = f"opt/{name.rpartition('/')[2][:60].replace(':', '-')}.bin"
            self._layers[key] = write_layer(self.holdings.depot, self.dice.label("layer", key), path, scaled)
        return self._layers[key]
