"""Checks that bundlectl runs with its own packages.

Their names are generic (design decision "top-level folders"): a foreign ``mirror`` or
``signing`` earlier on the module path must end the program, not become part of it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bundlectl
from bundlectl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec

__all__ = ["check_installation"]

_PACKAGES: Final = ("bundles", "mirror", "signing", "controller")


def check_installation(find: Callable[[str], ModuleSpec | None] = find_spec) -> None:
    """Refuse to run unless every package lies beside ``bundlectl``.

    Raises:
        ConfigError: a package is absent, or comes from elsewhere.
    """
    home = Path(bundlectl.__file__).resolve().parent.parent
    for name in _PACKAGES:
        spec = find(name)
        found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if found != home:
            raise ConfigError(
                f"the package {name!r} does not lie beside bundlectl but {f'in {found}' if found else 'nowhere'}",
                artifact=str(home),
                hint="install bundlectl in an environment of its own, such as with pipx",
            )
