"""Writes ``docs/reference/cli.md`` from ``--help``, or with ``--check`` compares it.

Run it as ``python docs/generate_reference.py`` after changing a command.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main", "render"]

PAGE: Final = Path(__file__).parent / "reference" / "cli.md"
WIDTH: Final = 100

HEAD: Final = """# Commands

Made from `--help` by `docs/generate_reference.py`; do not edit.

| exit code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | could not work at all: no disk, no network for the manifest, bad configuration, refused as a whole |
| 2 | wrong usage |
| 3 | something was not what it should be: a signature, digest or policy did not hold, or content differs |
| 4 | nothing was wrong, something is missing; the same command resumes |
| 130 | interrupted |

Results go to standard output, everything else to standard error. With `--output json` standard
output is one document, also on failure.

Every option can be set by an environment variable, `BUNDLECTL_<COMMAND>_<OPTION>` (several values
parted by blanks), and in the configuration file: `--config FILE`, else
`$XDG_CONFIG_HOME/bundlectl/config.toml` (`~/.config/…`), else `/etc/bundlectl/config.toml`; never in
the working directory. Flags come first, then the environment, then the file. Global options may
stand before or after the command.

```toml
quiet = true                          # global options at the top

[mirror]                              # a table a command, options without the dashes
to = "harbor.example.com/eks"
map = ["public.ecr.aws/eks-distro=distro"]

[store.list]
output = "json"

[transport."harbor.example.com"]      # how a host is reached, for every command
ca-file = "harbor-ca.pem"             # beside this file
```
"""


def render() -> str:
    """Make the page: every command's help, in the order of ``bundlectl --help``."""
    # The help must not depend on the terminal it is made in.
    os.environ["COLUMNS"] = str(WIDTH)
    from bundlectl.cli import application  # noqa: PLC0415 -- after COLUMNS is set

    program = application.build()
    sections = [f"## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(program, "bundlectl", None)]
    return "\n".join([HEAD, *sections])


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 -- click's types
    with command.make_context(
        name.rpartition(" ")[2],
        [],
        parent=parent,
        resilient_parsing=True,
        terminal_width=WIDTH,
    ) as context:
        yield name, "\n".join(line.rstrip() for line in context.get_help().splitlines())
        for child_name, child in getattr(command, "commands", {}).items():
            yield from _helps(child, f"{name} {child_name}", context)


def main() -> int:
    """Write the page, or compare it; 1 when it differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the page is out of date")
    check: bool = parser.parse_args().check
    wanted = render()
    if not check:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    present = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    difference = list(
        difflib.unified_diff(present.splitlines(), wanted.splitlines(), "docs/reference/cli.md", "--help", lineterm="")
    )
    print("\n".join(difference) if difference else "docs/reference/cli.md is up to date")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
