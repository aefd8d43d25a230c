"""The contract of the command line, held for every command there is."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from bundlectl.cli import application, options
from bundlectl.cli.command import OptionGroup, StartSlot, option_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundlectl.settings import CommandShape

PROGRAM = application.build()


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from walk(child, (*path, name))
        else:
            yield " ".join((*path, name)), child


COMMANDS = dict(walk(PROGRAM))
every_command = pytest.mark.parametrize("name", COMMANDS)


def test_the_commands_of_this_release_exist() -> None:
    assert set(COMMANDS) == {
        "releases",
        "inspect",
        "diff",
        "lock",
        "download",
        "mirror",
        "export",
        "import",
        "inventory",
        "files",
        "sign",
        "verify",
        "report",
        "serve",
        "store list",
        "store verify",
        "store stats",
        "store gc",
        "registry check",
        "registry config",
        "keys generate",
        "keys show",
        "package-bundle build",
        "package-bundle push",
        "packages list",
        "packages describe",
        "packages generate",
        "packages install",
        "packages upgrade",
        "packages delete",
        "controller run",
        "controller manifests",
        "controller feed",
        "quickstart",
    }


@every_command
def test_o_is_only_ever_the_format(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if "-o" in parameter.opts or "--output" in parameter.opts:
            assert parameter.opts == ["--output", "-o"]
            assert parameter.default in (options.Format.TEXT, options.DocumentFormat.TEXT)
    assert any("-o" in parameter.opts for parameter in COMMANDS[name].params)


@every_command
def test_every_help_has_an_example_that_parses(name: str) -> None:
    text = COMMANDS[name].help
    assert "Example:" in text
    examples = [line.strip() for line in text.partition("Example:")[2].splitlines() if line.strip()]
    assert examples
    for example in examples:
        program, *words = shlex.split(example)
        assert program == "bundlectl"
        assert " ".join(words).startswith(name)
        arguments = words[len(name.split()) :]
        with COMMANDS[name].make_context(name, arguments, obj=StartSlot()):
            pass


@every_command
def test_every_option_has_an_environment_variable_named_like_its_flag(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name != "option" or parameter.name == "help":
            continue
        longest = [flag for flag in parameter.opts if flag.startswith("--")]
        # The underscore at the end is Python's, where a flag is one of its keywords.
        assert parameter.name.removesuffix("_") == longest[0].removeprefix("--").replace("-", "_")
        assert parameter.name == parameter.name.removesuffix("_") or parameter.envvar
        assert parameter.allow_from_autoenv


@every_command
def test_a_flag_group_is_the_same_wherever_it_occurs(name: str) -> None:
    found = {parameter.name: parameter for parameter in COMMANDS[name].params}
    for group in option_groups()[name]:
        for field, annotation in get_type_hints(group, include_extras=True).items():
            described = annotation.__metadata__[0]
            flags = [described.default, *described.param_decls]
            assert flags == [*found[field].opts, *found[field].secondary_opts]
            assert found[field].help == described.help


@every_command
def test_no_option_of_a_group_is_defined_a_second_time(name: str) -> None:
    groups = {group for members in option_groups().values() for group in members}
    own = {field for group in option_groups()[name] for field in get_type_hints(group)}
    foreign = {field for group in groups for field in get_type_hints(group)} - own
    # What `sign` leaves out are paths of a manifest, not components (``cli.md``); `serve` lets others only look;
    # and `files` and `export` go to a folder.
    allowed = {
        "sign": {"exclude"},
        "registry check": {"read_only"},
        "files": {"to"},
        "export": {"to"},
    }.get(name, set())
    if name.startswith(("packages ", "controller ")):
        # A bundle of packages is for one version of Kubernetes; its key is that of the controller, too.
        allowed = {"kube_version", "key"}
    named = {parameter.name for parameter in COMMANDS[name].params if parameter.param_type_name == "option"}
    assert not (foreign - allowed) & named


@every_command
def test_what_takes_sources_has_selection_origin_trust_and_transport(name: str) -> None:
    if not any(parameter.name == "sources" for parameter in COMMANDS[name].params):
        return
    wanted: set[type[OptionGroup]] = {
        options.SelectionOptions,
        options.SourceOptions,
        options.OriginOptions,
        options.TrustOptions,
        options.TransportOptions,
        options.FormatOptions,
    }
    assert wanted <= set(option_groups()[name])


def test_every_option_can_stand_in_the_configuration_file() -> None:
    shape: CommandShape = application.shape(PROGRAM)
    mirror = shape["mirror"]
    assert isinstance(mirror, dict)
    assert mirror["map"] == "list"
    assert mirror["dry_run"] == "flag"
    assert mirror["to"] == "text"
    assert "config" not in shape
    assert "version" not in shape


def test_start_imports_nothing_heavy() -> None:
    heavy = ["rich", "urllib3", "requests", "jsonschema", "jsonschema_rs", "bcrypt", "cheroot", "boto3"]
    heavy += ["cryptography", "yaml", "tenacity", "bundles.lock", "registry_fixtures"]
    code = f"""
import sys
from bundlectl.cli.main import run
run(['--help'])
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_reference_page_is_what_help_says() -> None:
    page = Path(__file__).parents[4] / "docs" / "generate_reference.py"
    done = subprocess.run([sys.executable, str(page), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
