"""``keys generate`` and ``keys show``, and how passwords and PINs reach a key."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = [sys.executable, "-c", "from bundlectl.cli.main import main; raise SystemExit(main())"]


def validate(name: str, document: object) -> None:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath(f"{name}.schema.json").read_bytes())
    Draft202012Validator(schema).validate(document)


def on_terminal(tmp_path: Path, *arguments: object, typed: str) -> tuple[int, str, str]:
    """Run the program on a terminal of its own, type something; return exit code, output, and the screen."""
    ours, theirs = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [*PROGRAM, *map(str, arguments)]
    # A session of its own: the terminal of whoever runs the tests must not be asked.
    with subprocess.Popen(
        command, env=variables, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        os.close(theirs)
        screen = ""
        for line in typed.splitlines(keepends=True):
            while not screen.rstrip(" ").endswith(":"):
                screen += os.read(ours, 1024).decode()
            os.write(ours, line.encode())
            screen += "\n"
        assert process.stdout is not None
        out = process.stdout.read()
        exit_code = process.wait(30)
        try:
            while rest := os.read(ours, 1024).decode():
                screen += rest
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    return exit_code, out, screen


@pytest.fixture
def key(bundlectl: Callable[..., Any], tmp_path: Path) -> Path:
    assert bundlectl("keys", "generate", tmp_path / "site.key").exit_code == 0
    return tmp_path / "site.key"


def test_generate_tells_the_files_and_the_fingerprint(bundlectl: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    done = bundlectl("keys", "generate", path, "-o", "json")
    assert done.exit_code == 0
    validate("key-pair", done.document)
    assert done.document["private"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    fingerprint = done.document["fingerprint"]
    assert bundlectl("keys", "show", f"{path}.pub", "--format", "fingerprint").out == f"{fingerprint}\n"
    again = bundlectl("keys", "generate", path)
    assert again.exit_code == 1
    assert "never overwritten" in again.err
    other = bundlectl("keys", "generate", tmp_path / "other.key")
    assert other.out.splitlines()[0] == str(tmp_path / "other.key")
    assert "other.key.pub sha256:" in other.out


def test_show_writes_the_public_key_and_nothing_else(bundlectl: Callable[..., Any], key: Path) -> None:
    pem = key.with_name("site.key.pub").read_text()
    for source in (key, f"{key}.pub"):
        shown = bundlectl("keys", "show", source)
        assert (shown.exit_code, shown.out, shown.err) == (0, pem, "")
    text = bundlectl("keys", "show", key, "--format", "base64").out.strip()
    assert bundlectl("keys", "show", f"base64:{text}").out == pem
    document = bundlectl("keys", "show", key, "-o", "json").document
    validate("key", document)
    assert (document["source"], document["pem"], document["base64"]) == (str(key), pem, text)
    assert document["algorithm"] == "ecdsa-p256"


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("aws",), 2),
        (("pkcs11:token=a?pin-value=1",), 2),
        (("pkcs11:token=a?module-path=/x",), 2),
        (("gcpkms://x",), 2),
        (("absent",), 1),
        (("pkcs11:token=a",), 1),
        (("pkcs11:token=a", "--pkcs11-module", "relative.so"), 2),
        (("pkcs11:token=a", "--pkcs11-module", "/nonexistent/module.so"), 1),
        (("pkcs11:token=a", "--pkcs11-module", "/"), 1),
        (("site.key", "--format", "der"), 2),
        ((), 2),
    ],
)
def test_each_failure_has_its_exit_code_and_a_hint(
    bundlectl: Callable[..., Any], arguments: tuple[str, ...], exit_code: int
) -> None:
    done = bundlectl("keys", "show", *arguments, "-o", "json")
    assert done.exit_code == exit_code, done.err
    validate("error", done.document)
    assert done.document["error"]["exitCode"] == exit_code
    assert done.document["error"]["hint"]


def refused_module(bundlectl: Callable[..., Any], module: Path) -> str:
    done = bundlectl("keys", "show", "pkcs11:token=a", "--pkcs11-module", module, "-o", "json")
    assert done.exit_code == 1
    validate("error", done.document)
    assert done.document["error"]["hint"]
    return str(done.document["error"]["message"])


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_module_that_others_may_write_to_is_not_loaded(
    bundlectl: Callable[..., Any], tmp_path: Path, mode: int
) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(b"")
    assert "module failed" in refused_module(bundlectl, module)  # it is loaded, and is none
    module.chmod(mode)
    assert "others than its owner may write to the PKCS#11 module" in refused_module(bundlectl, module)


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_module_in_a_folder_that_others_may_write_to_is_not_loaded(
    bundlectl: Callable[..., Any], tmp_path: Path, mode: int
) -> None:
    module = tmp_path / "open" / "module.so"
    module.parent.mkdir()
    module.write_bytes(b"")
    module.parent.chmod(mode)
    told = f"others than its owner may write to the folder of the PKCS#11 module, {module.parent}"
    assert refused_module(bundlectl, module) == told
    link = tmp_path / "link.so"
    link.symlink_to(module)
    assert refused_module(bundlectl, link) == told
    beside = module.with_name("beside.so")
    (tmp_path / "real.so").write_bytes(b"")
    beside.symlink_to(tmp_path / "real.so")
    assert refused_module(bundlectl, beside) == told


def test_a_module_of_another_user_is_not_loaded(
    bundlectl: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(b"")
    if os.geteuid() == 0:
        os.chown(module, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert "belongs to somebody else" in refused_module(bundlectl, module)


def test_the_module_comes_from_the_environment_and_the_configuration_file_too(
    bundlectl: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "config" / "bundlectl" / "config.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text('[keys.show]\npkcs11-module = "/nonexistent/of-file.so"\n')
    assert "/nonexistent/of-file.so" in bundlectl("keys", "show", "pkcs11:token=a").err
    monkeypatch.setenv("BUNDLECTL_KEYS_SHOW_PKCS11_MODULE", "/nonexistent/of-variable.so")
    done = bundlectl("keys", "show", "pkcs11:token=a")
    assert "/nonexistent/of-variable.so" in done.err
    assert "environment variable BUNDLECTL_KEYS_SHOW_PKCS11_MODULE" in done.err


def test_the_password_of_a_cosign_key_comes_from_the_environment(
    bundlectl: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cosign.key"
    monkeypatch.setenv("COSIGN_PASSWORD", "s3cret-pass")
    assert bundlectl("keys", "generate", path, "--cosign").exit_code == 0
    shown = bundlectl("keys", "show", path)
    assert shown.out == path.with_name("cosign.key.pub").read_text()
    monkeypatch.setenv("COSIGN_PASSWORD", "wr0ng-pass")
    done = bundlectl("--debug", "-v", "keys", "show", path)
    assert done.exit_code == 1
    assert "Traceback" in done.err
    assert "wr0ng-pass" not in done.err + done.out


def test_an_empty_password_is_one_and_is_warned_of(
    bundlectl: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    done = bundlectl("keys", "generate", tmp_path / "cosign.key", "--cosign")
    assert done.exit_code == 0
    assert "the password is empty" in done.err
    assert bundlectl("keys", "show", tmp_path / "cosign.key").exit_code == 0


def test_without_a_terminal_it_says_how_to_give_the_secret(tmp_path: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [*PROGRAM, "keys", "generate", str(tmp_path / "cosign.key"), "--cosign"]
    for stdin in (subprocess.DEVNULL, None):
        closed = stdin is None
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", *command] if closed else command,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert "COSIGN_PASSWORD" in done.stderr
    assert not (tmp_path / "cosign.key").exists()


def test_on_a_terminal_a_password_is_asked_for_twice_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "cosign.key"
    exit_code, out, screen = on_terminal(
        tmp_path, "keys", "generate", path, "--cosign", typed="typed-pass\ntyped-pass\n"
    )
    assert exit_code == 0, screen
    assert "typed-pass" not in out + screen
    exit_code, out, screen = on_terminal(tmp_path, "keys", "show", path, typed="typed-pass\n")
    assert exit_code == 0, screen
    assert out == path.with_name("cosign.key.pub").read_text()
    assert "typed-pass" not in screen


def test_two_different_passwords_make_no_key(tmp_path: Path) -> None:
    path = tmp_path / "cosign.key"
    exit_code, _, screen = on_terminal(tmp_path, "keys", "generate", path, "--cosign", typed="one-pass\nother-pass\n")
    assert exit_code == 1
    assert "differ" in screen
    assert not path.exists()


def test_ending_the_program_at_the_question_gives_the_terminal_back_as_it_was(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [*PROGRAM, "keys", "generate", str(tmp_path / "cosign.key"), "--cosign"]
    with subprocess.Popen(
        command, env=variables, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        screen = ""
        while "New password" not in screen:
            screen += os.read(ours, 1024).decode()
        assert not termios.tcgetattr(theirs)[3] & termios.ECHO
        process.terminate()
        assert process.wait(30) == 130
        assert termios.tcgetattr(theirs)[3] & termios.ECHO
    os.close(ours)
    os.close(theirs)
    assert list(tmp_path.iterdir()) == []


def test_the_pin_is_gone_from_the_environment_when_a_command_runs(
    bundlectl: Callable[..., Any], key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNDLECTL_PKCS11_PIN", "s3cret-pin")
    assert bundlectl("keys", "show", key).exit_code == 0
    assert "BUNDLECTL_PKCS11_PIN" not in os.environ
    inherited = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    assert "s3cret-pin" not in inherited


def test_secrets_of_the_environment_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    from bundlectl.cli.environment import read_environment  # noqa: PLC0415

    monkeypatch.setenv("BUNDLECTL_PKCS11_PIN", "s3cret-pin")
    monkeypatch.setenv("COSIGN_PASSWORD", "s3cret-pass")
    environment = read_environment()
    assert (environment.pkcs11_pin, environment.cosign_password) == (b"s3cret-pin", b"s3cret-pass")
    assert "s3cret" not in repr(environment)
    assert read_environment({"COSIGN_PASSWORD": "a\udcff"}).cosign_password == b"a\xff"
