"""A key pair appears whole, or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bundlectl.errors import KeyProviderError, UsageError
from bundlectl.operations import generate_key
from mirror.oci.digest import Digest
from signing.keys import KeyAccess, load_public_key, open_signer


def test_what_is_made_signs_and_its_public_file_verifies(tmp_path: Path) -> None:
    pair = generate_key(tmp_path / "site.key")
    assert pair.private == tmp_path / "site.key"
    assert pair.public == tmp_path / "site.key.pub"
    public = load_public_key(str(pair.public), KeyAccess()).key
    assert public == pair.key
    signature = open_signer(str(pair.private), KeyAccess()).sign_digest(Digest.of(b"text"))
    assert public.verifies(b"text", signature.value)


def test_a_password_encrypts_it(tmp_path: Path) -> None:
    pair = generate_key(tmp_path / "site.key", password=b"pass")
    assert b"ENCRYPTED SIGSTORE PRIVATE KEY" in pair.private.read_bytes()
    assert load_public_key(str(pair.private), KeyAccess(secret=lambda _kind, _key: b"pass")).key == pair.key


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_private_key_is_the_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        pair = generate_key(tmp_path / "site.key")
    finally:
        os.umask(before)
    assert pair.private.stat().st_mode & 0o777 == 0o600
    assert pair.public.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("name", ["site.key", "site.key.pub"])
@pytest.mark.parametrize("dangling", [False, True])
def test_nothing_is_overwritten_and_nothing_appears(tmp_path: Path, name: str, *, dangling: bool) -> None:
    there = tmp_path / name
    if dangling:
        there.symlink_to(tmp_path / "elsewhere")
    else:
        there.write_text("mine")
    with pytest.raises(KeyProviderError, match="never overwritten"):
        generate_key(tmp_path / "site.key")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert dangling or there.read_text() == "mine"


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPERM, errno.EEXIST])
def test_a_fault_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    real, calls = os.link, []

    def link(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == number:
            raise OSError(code, os.strerror(code), str(target))
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(KeyProviderError) as raised:
        generate_key(tmp_path / "site.key")
    assert raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_key_appears_only_after_its_public_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, order = os.link, []

    def link(source: Path, target: Path) -> None:
        order.append(target.name)
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    generate_key(tmp_path / "site.key")
    assert order == ["site.key.pub", "site.key"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyProviderError, match="cannot be written"):
        generate_key(tmp_path / "absent" / "site.key")
    for name in ("", ".", "..", "/"):
        with pytest.raises(UsageError, match="folder") as mistaken:
            generate_key(Path(name))
        assert mistaken.value.hint
