"""From the trust options to how documents, locks and signatures are believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.cli.weakening import Weakening
from bundlectl.errors import KeyProviderError, UsageError
from bundles.belief import Belief
from mirror.oci.digest import Digest
from signing.identity import CertificateIdentity, TrustAnchors

if TYPE_CHECKING:
    from pathlib import Path

    from bundlectl.cli.command import Invocation
    from bundlectl.cli.options import SourceOptions, TrustOptions
    from bundles.policy_file import LoadKey
    from signing.identity import NamedKey
    from signing.policy import Policy

__all__ = ["Trust", "build_trust", "key_loader", "since_anchors"]

_LIMIT: Final = 4 * 1024 * 1024
_EKSA_PUBLIC_KEY: Final = "EKSA_PUBLIC_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """All that the trust options come to. ``weakened`` says in words what decides or weakens trust."""

    belief: Belief
    policies: tuple[Policy, ...]
    load_key: LoadKey
    weakened: tuple[str, ...]


def build_trust(
    invocation: Invocation, trust: TrustOptions, *, source: SourceOptions | None = None, key: str = ""
) -> Trust:
    """Read keys and policies; tell of whatever decides or weakens trust, and where it came from.

    Args:
        invocation: for the environment, and where an option came from.
        trust: flags of the trust group.
        source: flags that say where sources are looked for, where the command has them.
        key: of ``--key``, on a command where it means the same as ``--verify KEY``.

    Raises:
        UsageError: options that contradict each other.
        KeyProviderError: a key cannot be read.
        ContentError: not a policy.
    """
    weakening = Weakening(invocation)
    load_key = key_loader(invocation, trust)
    aws = (key or trust.verify or "aws") == "aws"
    belief = _belief(trust, key, load_key, _package_key(invocation) if aws else None)
    if belief.key is not None:
        weakening.choose(f"signatures are checked with the key {belief.key.key.fingerprint}", _given(key))
    if belief.package_key is not None:
        told = f"package bundles are checked with the key {belief.package_key.key.fingerprint}"
        weakening.tell_from(told, f"environment variable {_EKSA_PUBLIC_KEY}")
    if belief.anchors is not None and belief.anchors.certificates:
        weakening.choose(f"signatures may be those of {belief.anchors.certificates[0]}", "--certificate-identity")
    if belief.trusted_root is not None:
        weakening.choose(f"certificates are checked with the root {Digest.of(belief.trusted_root)}", "--trusted-root")
    if trust.allow_rollback:
        weakening.tell("the latest may be older than what the store has seen", "--allow-rollback")
    policies = _policies(trust, load_key, weakening)
    if source is not None:
        _tell_places(source, weakening)
    return Trust(belief=belief, policies=policies, load_key=load_key, weakened=weakening.recorded)


def _given(key: str) -> str:
    return "--key" if key else "--verify"


def _belief(trust: TrustOptions, key: str, load_key: LoadKey, package_key: NamedKey | None) -> Belief:
    if key and trust.verify:
        raise UsageError("--key and --verify both say whose signature counts", hint="give one of them")
    wanted = key or trust.verify or "aws"
    certificates = _certificates(trust)
    if certificates and wanted == "off":
        raise UsageError("--verify off checks nothing, and --certificate-identity asks for a check", hint="give one")
    named = load_key(wanted) if wanted not in ("aws", "off") else None
    root = _read_small(trust.trusted_root, "the trusted root") if trust.trusted_root else None
    anchors = None
    if named or certificates:
        anchors = TrustAnchors(keys=(named,) if named else (), certificates=certificates, trusted_root=root)
    return Belief(
        mode="off" if wanted == "off" else "key" if named else "aws",
        key=named,
        package_key=package_key,
        anchors=anchors,
        trusted_root=root,
    )


def _policies(trust: TrustOptions, load_key: LoadKey, weakening: Weakening) -> tuple[Policy, ...]:
    if trust.policy is None:
        return ()
    from bundles.policy_file import parse_policy  # noqa: PLC0415 -- only with a policy

    raw = _read_small(trust.policy, "the policy")
    weakening.choose(f"the policy {trust.policy.name} ({Digest.of(raw)}) is met", "--policy")
    return (parse_policy(raw, origin=str(trust.policy), load_key=load_key),)


def _tell_places(source: SourceOptions, weakening: Weakening) -> None:
    """Whoever chooses where releases are looked for chooses which releases there are."""
    for url, what, option in (
        (source.release_url, "releases are looked up in", "--release-url"),
        (source.package_registry, "package bundles and charts are looked for in", "--package-registry"),
        (source.package_image_registry, "images of packages are looked for in", "--package-image-registry"),
    ):
        if url:
            weakening.choose(f"{what} {url}", option)


def key_loader(invocation: Invocation, trust: TrustOptions) -> LoadKey:
    """What reads a public key, whatever form KEY has.

    It raises `UsageError` for no known form, `KeyProviderError` where the key cannot be read.
    """

    def load(key: str) -> NamedKey:
        from bundlectl.cli.keying import build_key_access  # noqa: PLC0415 -- cryptography, only with a key
        from signing.keys import load_public_key  # noqa: PLC0415

        return load_public_key(key, build_key_access(invocation, pkcs11=trust, offline=trust.offline))

    return load


def since_anchors(invocation: Invocation, key: str, trust: TrustOptions, *, given: bool) -> TrustAnchors | None:
    """Who must have signed the inventory of a site; None to look at no signature.

    Args:
        invocation: for the environment.
        key: of ``--since-key``.
        trust: how keys are reached.
        given: whether there is an inventory.

    Raises:
        UsageError: there is none, or the key is of no form that is known.
        KeyProviderError: the key cannot be read.
    """
    if not key:
        return None
    if not given:
        raise UsageError("--since-key says who signed an inventory, and none is given", hint="name it with --since")
    return TrustAnchors(keys=(key_loader(invocation, trust)(key),))


def _package_key(invocation: Invocation) -> NamedKey | None:
    text = invocation.start.environment.eksa_public_key
    if not text:
        return None
    from signing.identity import NamedKey  # noqa: PLC0415 -- cryptography, only with a key
    from signing.signature import PublicKey  # noqa: PLC0415

    try:
        key = NamedKey(_EKSA_PUBLIC_KEY, PublicKey.from_base64(text))
    except KeyProviderError as error:
        raise KeyProviderError(
            f"the environment variable {_EKSA_PUBLIC_KEY} holds no key for package bundles: {error.message}",
            hint="unset it, or set it to base64 of a public key in DER form",
        ) from error
    return key


def _certificates(trust: TrustOptions) -> tuple[CertificateIdentity, ...]:
    subject, issuer = trust.certificate_identity, trust.certificate_oidc_issuer
    if not subject and not issuer:
        return ()
    if not subject or not issuer:
        raise UsageError("--certificate-identity and --certificate-oidc-issuer belong together", hint="give both")
    if not trust.trusted_root:
        raise UsageError(
            "a signature by identity needs sigstore's trusted root",
            hint="name the file with --trusted-root; it is never fetched",
        )
    return (CertificateIdentity(subject, issuer),)


def _read_small(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror}", artifact=str(path)) from error
    if len(content) > _LIMIT:
        raise UsageError(f"{what} is larger than {_LIMIT} bytes", artifact=str(path))
    return content
