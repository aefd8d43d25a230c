"""Where releases are named: one module per form of SOURCE (``cli.md``, "Naming things").

A module here that is not listed in ``_SUPPORT`` is a form. ``eks_a.py`` reads what stands after
``eks-a:`` with its function ``read(rest, text, context)``; adding a form is adding its file.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Final, Protocol, cast

from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from bundles.sources.context import Loaded, SourceContext

__all__ = ["form_of", "forms", "read_source"]

_SUPPORT: Final = frozenset({"context", "document", "ecr", "following", "held", "layers", "local", "s3"})


class _Form(Protocol):
    def read(self, rest: str, text: str, context: SourceContext) -> Loaded: ...


@cache
def forms() -> tuple[str, ...]:
    """The prefixes of all forms, sorted, such as ``archive`` and ``eks-a``."""
    found = (module.name for module in iter_modules(__path__) if not module.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in found if name not in _SUPPORT))


def form_of(text: str) -> tuple[str, str]:
    """Part a SOURCE into its form and the rest; the form is empty for documents (URL or path)."""
    prefix, colon, rest = text.partition(":")
    return (prefix, rest) if colon and prefix in forms() else ("", text)


def read_source(text: str, context: SourceContext) -> Loaded:
    """Read a SOURCE: what it names, and the documents that say so.

    A known ``form:`` comes first, then ``scheme://``, then a path.

    Args:
        text: as the user wrote it.
        context: how documents are fetched and believed.

    Raises:
        UsageError: of no known form, or nothing of that name exists here.
        VerificationError: a document cannot be believed.
        ContentError: a document is malformed, or contradicts what named it.
        MissingError: it is not there.
        TransportError: it cannot be fetched.
    """
    if not text.strip() or "\0" in text:
        raise UsageError("an empty source", hint=f"write a document's path or URL, or FORM: with one of {_listed()}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{text[:300]!r} is not UTF-8", hint="a lock could not record it: rename the file, or link to it"
        ) from error
    form, rest = form_of(text)
    if form and not rest:
        raise UsageError(f"{text!r} names nothing", hint=f"something must stand after {form}:")
    module = import_module(f"{__name__}.{form.replace('-', '_') if form else 'document'}")
    return cast("_Form", module).read(rest, text, context)


def _listed() -> str:
    return ", ".join(f"{name}:" for name in forms())
