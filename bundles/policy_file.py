"""Reading policies: a file of their own, or ``spec.policy`` of a Collection."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from bundlectl.errors import BundlectlError, ContentError, KeyProviderError, UsageError
from bundles.published import Located, PublishedSchema
from bundles.sources.local import read_local
from bundles.tree import parse_tree
from signing.identity import CertificateIdentity
from signing.keys import key_scheme
from signing.pattern import ARTIFACT_TYPES, Pattern
from signing.policy import AwsKey, Policy, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from signing.identity import NamedKey
    from signing.policy import PolicyIdentity

__all__ = ["POLICY_NUMBERS", "POLICY_SCHEMA", "CollectionPolicy", "LoadKey", "parse_policy", "read_policy"]

LoadKey: TypeAlias = "Callable[[str], NamedKey]"
"""Loads a public KEY of ``cli.md`` other than ``aws``; raises `KeyProviderError` or `UsageError`."""

POLICY_SCHEMA: Final = "policy.schema.json"
POLICY_NUMBERS: Final = frozenset({"atLeast"})
_SCHEMA: Final = PublishedSchema(POLICY_SCHEMA, numbers=POLICY_NUMBERS)
_SIZE_LIMIT: Final = 1024 * 1024
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_REMOTE_SCHEMES: Final = ("base64",)
"""What a policy from elsewhere may name besides ``aws``: nothing that reads files, tokens or hosts for it."""


def read_policy(path: Path, *, load_key: LoadKey) -> Policy:
    """Read a policy file (``--policy FILE``).

    Args:
        path: of the file; the paths of its keys are relative to its folder.
        load_key: loads public keys.

    Raises:
        MissingError, ConfigError, UsageError: the file cannot be read.
        ContentError: not a policy, told as ``FILE:LINE: FIELD: WHY``.
        KeyProviderError: a key of it cannot be loaded.
    """
    return parse_policy(read_local(path, limit=_SIZE_LIMIT), origin=str(path), load_key=load_key)


def parse_policy(raw: bytes, *, origin: str, load_key: LoadKey) -> Policy:
    """Read a policy.

    Args:
        raw: YAML or JSON, at most 1 MiB.
        origin: its path or URL. A policy from a URL cannot name what is on this machine.
        load_key: loads public keys.

    Raises:
        ContentError: not a policy, told as ``ORIGIN:LINE: FIELD: WHY``.
        KeyProviderError: a key of it cannot be loaded.
    """
    if len(raw) > _SIZE_LIMIT:
        raise ContentError(f"larger than {_SIZE_LIMIT} bytes", artifact=origin, hint="a policy is far smaller")
    document = Located(parse_tree(raw, origin=origin).root, origin)
    value, _ = _SCHEMA.read(document)
    return _policy(value["spec"], document.at("spec"), load_key)


@dataclass(frozen=True, slots=True)
class CollectionPolicy:
    """``spec.policy`` as a Collection has it: the policy, or its path relative to the Collection.

    The keys are not loaded yet. ``origin`` is the path or URL of the Collection.
    """

    origin: str
    path: str = ""
    inline: Mapping[str, Any] | None = None
    _located: Located | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, value: str | Mapping[str, Any], located: Located) -> CollectionPolicy:
        """Take it out of a Collection that its schema accepted.

        Raises:
            ContentError: a URL in place of a path.
        """
        if not isinstance(value, str):
            return cls(located.origin, inline=value, _located=located)
        if _SCHEME.match(value) or "\0" in value:
            raise located.fault(
                "is not a path relative to the Collection",
                "keep the policy beside the Collection, where it is changed together with it",
            )
        return cls(located.origin, path=value)

    def load(self, *, load_key: LoadKey, fetch: Callable[[str], bytes]) -> Policy:
        """Read the policy and its keys.

        Args:
            load_key: loads public keys.
            fetch: gives the bytes at a URL (``https``, ``http`` or ``s3``), used where the
                Collection itself came from one.

        Raises:
            MissingError, ConfigError, UsageError, TransportError: the policy cannot be read.
            ContentError: not a policy, or one from elsewhere that names what is on this machine.
            KeyProviderError: a key of it cannot be loaded.
        """
        if self.inline is not None and self._located is not None:
            return _policy(self.inline, self._located, load_key)
        if not _SCHEME.match(self.origin):
            return read_policy(Path(self.origin).parent / self.path, load_key=load_key)
        base = urlsplit(self.origin)
        path = posixpath.normpath(posixpath.join("/", posixpath.dirname(base.path), self.path))
        # Never another host than the Collection's, whatever the path says.
        url = urlunsplit((base.scheme, base.netloc, path, "", ""))
        return parse_policy(fetch(url), origin=url, load_key=load_key)


def _policy(value: Mapping[str, Any], here: Located, load_key: LoadKey) -> Policy:
    loaded: dict[str, NamedKey] = {}
    identities: dict[str, PolicyIdentity] = {}
    for name, identity in value.get("identities", {}).items():
        place = here.at("identities", name)
        if "key" in identity:
            identities[name] = _key(identity["key"], place.at("key"), load_key, loaded)
        else:
            identities[name] = CertificateIdentity(identity["subject"], identity["issuer"])
    rules = [_rule(rule, here.at("rules", index), identities) for index, rule in enumerate(value["rules"])]
    return Policy(name=here.origin, rules=tuple(rules), otherwise=value.get("otherwise", "refuse"))


def _key(key: str, place: Located, load_key: LoadKey, loaded: dict[str, NamedKey]) -> PolicyIdentity:
    if key == "aws":
        return AwsKey()
    try:
        scheme = key_scheme(key)
    except UsageError as error:
        raise place.fault(error.message, error.hint) from error
    if _SCHEME.match(place.origin) and scheme not in _REMOTE_SCHEMES:
        raise place.fault(
            "would be on this machine, or be asked for by it",
            "a policy from elsewhere can only have aws, base64:… and certificates; download it first",
        )
    # Joined as text: Path makes ``aws`` of ``./aws``.
    text = key if scheme or key.startswith("/") else f"{Path(place.origin).parent}/{key}"
    if text not in loaded:
        try:
            loaded[text] = load_key(text)
        except BundlectlError as error:
            raise KeyProviderError(
                f"{place.path}: {error}", artifact=f"{place.origin}:{place.node.line}", hint=error.hint
            ) from error
    return loaded[text]


def _rule(value: Mapping[str, Any], here: Located, identities: Mapping[str, PolicyIdentity]) -> Rule:
    names = value.get("signedBy", ())
    for index, name in enumerate(names):
        if name not in identities:
            raise here.at("signedBy", index).fault(
                f"{name[:100]!r} is not among the identities", f"they are {', '.join(identities) or 'none'}"[:300]
            )
    types = frozenset(value.get("types", ARTIFACT_TYPES))
    for index, text in enumerate(value["match"]):
        try:
            Pattern.parse(text, types)
        except UsageError as error:
            raise here.at("match", index).fault(error.message, error.hint) from error
    try:
        return Rule(
            match=tuple(value["match"]),
            types=types,
            signed_by={name: identities[name] for name in names},
            at_least=value.get("atLeast"),
            trust=value.get("trust"),
            unsigned=value.get("unsigned", "refuse"),
            always=value.get("always"),
        )
    except UsageError as error:
        place = here.at(error.artifact) if error.artifact else here
        raise place.fault(error.message, error.hint) from error
