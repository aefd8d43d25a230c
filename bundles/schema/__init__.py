"""Typed models of the documents that AWS publishes. Each is imported when one of its kind is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from bundlectl.errors import ContentError
from bundles.schema.fields import Remarks, read_fields

if TYPE_CHECKING:
    from bundles.collection import Collection
    from bundles.document import Document
    from bundles.schema.bundles import Bundles
    from bundles.schema.eksa_release import EksaRelease
    from bundles.schema.eksd_release import EksdRelease
    from bundles.schema.fields import Struct
    from bundles.schema.package_bundle import PackageBundle

__all__ = ["Model", "model_class", "parse_model"]

Model: TypeAlias = "EksaRelease | Bundles | EksdRelease | PackageBundle | Collection"
"""What a document is read into."""


def parse_model(document: Document) -> Model:
    """Read a document into the model of its kind.

    What the model does not know is in ``model.unknown``, what others may read differently in
    ``model.warnings``; neither is fatal.

    Raises:
        ContentError: a field has the wrong type or a name in the wrong case, told as
            ``ORIGIN:LINE: FIELD: WHY``; or the document is a lock, which ``bundles.lock`` reads.
    """
    if document.type == "Collection":
        from bundles.collection import parse_collection  # noqa: PLC0415 -- only with a Collection

        return parse_collection(document)
    remarks = Remarks(document.origin, document.warnings)
    kind: Any = model_class(document)
    values = read_fields(kind, document.root, (), remarks)
    model: Model = kind(**values, unknown=tuple(remarks.unknown), warnings=tuple(remarks.warnings))
    return model


def model_class(document: Document) -> type[Struct]:
    """The model class of a document of AWS.

    Raises:
        ContentError: the document is of a kind without such a model.
    """
    match document.type:
        case "Bundles":
            from bundles.schema.bundles import Bundles  # noqa: PLC0415 -- each kind costs some milliseconds

            return Bundles
        case "EksaRelease":
            from bundles.schema.eksa_release import EksaRelease  # noqa: PLC0415

            return EksaRelease
        case "EksdRelease":
            from bundles.schema.eksd_release import EksdRelease  # noqa: PLC0415

            return EksdRelease
        case "PackageBundle":
            from bundles.schema.package_bundle import PackageBundle  # noqa: PLC0415

            return PackageBundle
    raise ContentError(f"a {document.kind} is not a document of AWS", artifact=document.origin)
