"""``pkcs11:`` URIs."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import UsageError
from signing.keys.pkcs11_uri import Pkcs11Uri

TEXTS = ["library-description", "library-manufacturer", "library-version", "manufacturer", "model", "object", "serial"]
TEXTS += ["slot-description", "slot-manufacturer", "token"]


def test_the_attributes_of_the_rfc_are_read() -> None:
    uri = Pkcs11Uri.parse(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;serial=;"
        "object=my-certificate;type=cert;id=%69%95%3E%00;slot-id=42?pin-source=file:/etc/token%2520pin"
    )
    assert uri.texts == {
        "token": "The Software PKCS#11 Softtoken",
        "manufacturer": "Snake Oil, Inc.",
        "model": "1.0",
        "serial": "",
        "object": "my-certificate",
    }
    assert (uri.id, uri.slot_id, uri.type) == (b"\x69\x95\x3e\x00", 42, "cert")
    assert uri.pin_file == "/etc/token pin"
    assert "pin" not in uri.shown


@pytest.mark.parametrize("source", ["file:/run/pin", "/run/pin", "file:///run/pin", "file://localhost/run/pin"])
def test_a_pin_source_is_an_absolute_path(source: str) -> None:
    assert Pkcs11Uri.parse(f"pkcs11:token=a?pin-source={source}").pin_file == "/run/pin"


@pytest.mark.parametrize(
    "source",
    ["pin", "file:pin", "|cat", "https://host/pin", "file://host/run/pin", "", "%FF", "file:", "~/pin", "file://["],
)
def test_any_other_pin_source_is_refused(source: str) -> None:
    with pytest.raises(UsageError, match="pin-source"):
        Pkcs11Uri.parse(f"pkcs11:token=a?pin-source={source}")


@pytest.mark.parametrize(
    "key",
    [
        "pkcs11:token=a?pin-value=9876",
        "pkcs11:token=a;pin-value=9876",
        "pkcs11:token=a?pin-source=/x&pin-value=9876",
        "pkcs11:token=a?PIN-VALUE=9876",
        "pkcs11:token=a?pin%2Dvalue=9876",
        "pkcs11:pin-value=9876 with blanks",
        "pkcs11:token=a?module-path=/x&pin-value=9876",
    ],
)
def test_a_pin_in_the_uri_is_wrong_usage_and_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="pin-value") as raised:
        Pkcs11Uri.parse(key)
    assert "9876" not in f"{raised.value} {raised.value.hint}"
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "key",
    [
        "pkcs11:token=a?9876",
        "pkcs11:token=a;pin-value:9876",
        "pkcs11:token=a?pin-valu=9876",
        "pkcs11:token=a;9876=1",
        "pkcs11:9876=1;9876=1",
        "pkcs11:token=a;type=9876",
        "pkcs11:token=a;slot-id=9876x",
        "pkcs11:token=a?pin-source=9876",
        "pkcs11:token=a;object=9876%",
    ],
)
def test_what_could_be_a_pin_is_not_repeated(key: str) -> None:
    with pytest.raises(UsageError) as raised:
        Pkcs11Uri.parse(key)
    assert "9876" not in f"{raised.value} {raised.value.hint} {raised.value.__cause__}"
    assert raised.value.hint


@pytest.mark.parametrize("key", ["pkcs11:token=a?module-path=/tmp/evil.so", "pkcs11:token=a;module-name=evil"])
def test_a_module_in_the_uri_is_wrong_usage_and_says_where_it_is_set(key: str) -> None:
    with pytest.raises(UsageError, match="not heeded") as raised:
        Pkcs11Uri.parse(key)
    assert "--pkcs11-module" in (raised.value.hint or "")


@pytest.mark.parametrize(
    "key",
    [
        "pkcs11:tokn=a",
        "pkcs11:token",
        "pkcs11:=a",
        "pkcs11:token=a;",
        "pkcs11:token=a;token=b",
        "pkcs11:token=%4",
        "pkcs11:token=%ff",
        "pkcs11:slot-id=x",
        "pkcs11:slot-id=-1",
        "pkcs11:slot-id=\u0663",
        "pkcs11:type=key",
        "pkcs11:token=a b",
        "pkcs11:token=a\n",
        "pkcs11:?vendor=x",
        f"pkcs11:token={'a' * 5000}",
        "PKCS11:token=a",
        f"pkcs11:slot-id={2**64}",
    ],
)
def test_what_is_misspelt_is_wrong_usage(key: str) -> None:
    with pytest.raises(UsageError) as raised:
        Pkcs11Uri.parse(key)
    assert raised.value.hint


@given(
    texts=st.dictionaries(st.sampled_from(TEXTS), st.text(max_size=12)),
    own_id=st.none() | st.binary(max_size=8),
)
def test_whatever_is_percent_encoded_comes_back(texts: dict[str, str], own_id: bytes | None) -> None:
    parts = [f"{name}={quote_from_bytes(value.encode(), safe='')}" for name, value in texts.items()]
    if own_id is not None:
        parts.append(f"id={quote_from_bytes(own_id, safe='')}")
    if "pin-value=" in "".join(texts.values()):
        return
    uri = Pkcs11Uri.parse(f"pkcs11:{';'.join(parts)}")
    assert uri.texts == texts
    assert uri.id == own_id


@given(st.text(alphabet="abtokenpi-dvl=;?&%0Ff/:\u00e9 ", max_size=60))
def test_no_text_is_more_than_an_error_of_ours(text: str) -> None:
    # Anything else that is raised fails the test.
    with suppress(UsageError):
        assert Pkcs11Uri.parse(f"pkcs11:{text}").shown.startswith("pkcs11:")
