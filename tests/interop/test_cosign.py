"""cosign 2 and 3 verify what is signed here, and what they sign is verified here: images, charts, files."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from bundlectl.operations import Session
from bundlectl.operations.signatures import gather_evidence
from bundlectl.operations.signing_files import verify_file
from bundlectl.operations.signing_images import verify_reference
from mirror.oci.manifest import Manifest
from mirror.oci.reference import Reference
from signing.identity import CertificateIdentity, TrustAnchors
from signing.keys import KeyAccess, load_public_key
from tests.interop.content import write_chart, write_layout
from tests.interop.kms import kms_server
from tests.interop.programs import Program, provided
from tests.interop.softhsm import PIN, SoftHsm, make_softhsm
from tests.unit.bundlectl.operations.signed import push
from tests.unit.signing.sigstore_instance import SigstoreInstance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundlectl.operations.verdict import Verdict
    from mirror.remote import RemoteRepository

pytestmark = pytest.mark.interop

PASSWORD = "a pass phrase"
FORMS = ("tag", "bundle", "both")
NO_LOG = ("--yes", "--tlog-upload=false", "--use-signing-config=false")


@dataclass(frozen=True)
class Cosign:
    """One of the two programs, used without any log or network; its own key pair is ``theirs``."""

    program: Program
    root: Path

    @property
    def key(self) -> Path:
        return self.program.home / "theirs.key"

    @property
    def public(self) -> Path:
        return self.program.home / "theirs.pub"

    def sign(self, name: str, *options: str, experimental: bool = False) -> None:
        program = self.program
        if experimental:
            program = replace(program, environment={**program.environment, "COSIGN_EXPERIMENTAL": "1"})
        program.run("sign", *NO_LOG, *options, "--key", self.key, name)

    def attest(self, name: str) -> None:
        predicate = self.program.home / "predicate.json"
        predicate.write_text('{"tested": true}')
        options = ("--new-bundle-format=true", "--type", "https://site.test/tested/v1", "--predicate", predicate)
        self.program.run("attest", *NO_LOG, *options, "--key", self.key, name)

    def accepts(self, name: str, public: Path, *options: str) -> bool:
        # A trusted root of nothing: cosign 2 wants one for every bundle, though keys need none.
        command = ("verify", "--key", public, "--insecure-ignore-tlog", "--trusted-root", self.root, *options, name)
        return self.program.attempt(*command).returncode == 0

    def accepts_file(self, file: Path, public: Path, bundle: Path) -> bool:
        command = ("verify-blob", "--key", public, "--insecure-ignore-tlog", "--bundle", bundle)
        newer = () if "cosign3" in str(self.program.path) else ("--new-bundle-format", "--trusted-root", self.root)
        return self.program.attempt(*command, *newer, file).returncode == 0


@pytest.fixture(params=["cosign2", "cosign3"])
def cosign(request: pytest.FixtureRequest, home: Path) -> Cosign:
    program = Program(provided(request.param), home, (), {"COSIGN_PASSWORD": PASSWORD})
    root = home / "root.json"
    root.write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    program.run("generate-key-pair", "--output-key-prefix", "theirs")
    return Cosign(program, root)


@pytest.fixture(params=["served", "distribution"])
def registry(request: pytest.FixtureRequest) -> str:
    """Ours, which lists referrers, and one that does not."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def image(registry: str, crane: Program, tmp_path: Path) -> str:
    """An index of two platforms, by tag."""
    write_layout(tmp_path / "image", seed=1)
    crane.run("push", "--index", tmp_path / "image", f"{registry}/site/app:v1")
    return f"{registry}/site/app:v1"


@pytest.fixture
def other_image(registry: str, crane: Program, tmp_path: Path) -> str:
    write_layout(tmp_path / "other", seed=2)
    crane.run("push", "--index", tmp_path / "other", f"{registry}/site/app:v2")
    return f"{registry}/site/app:v2"


@pytest.fixture
def key(ours: Program) -> Path:
    """A key of our own; ``.pub`` is beside it."""
    ours.run("keys", "generate", "ours.key")
    return ours.home / "ours.key"


@pytest.fixture
def session() -> Iterator[Session]:
    with Session() as opened:
        yield opened


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def trusting(*keys: Path) -> TrustAnchors:
    return TrustAnchors(keys=tuple(load_public_key(str(key), KeyAccess()) for key in keys))


def judge(name: str, session: Session, *keys: Path) -> Verdict:
    return verify_reference(Reference.parse(name), trusting(*keys), session=session)


@pytest.mark.parametrize("form", FORMS)
def test_cosign_verifies_an_index_signed_here_and_no_other_key(
    cosign: Cosign, ours: Program, key: Path, image: str, form: str
) -> None:
    ours.run("sign", image, "--key", key, "--signature-format", form)
    assert cosign.accepts(image, public(key))
    assert not cosign.accepts(image, cosign.public)


def test_cosign_2_and_3_need_no_trusted_root_for_what_is_signed_by_default(
    cosign: Cosign, ours: Program, key: Path, image: str
) -> None:
    ours.run("sign", image, "--key", key)
    cosign.program.run("verify", "--key", public(key), "--insecure-ignore-tlog", image)


@pytest.mark.parametrize("form", FORMS)
def test_cosign_verifies_what_is_signed_here_with_its_own_key(
    cosign: Cosign, ours: Program, image: str, session: Session, form: str
) -> None:
    with_password = replace(ours, environment={"COSIGN_PASSWORD": PASSWORD})
    with_password.run("sign", image, "--key", cosign.key, "--signature-format", form)
    assert cosign.accepts(image, cosign.public)
    assert judge(image, session, cosign.public).verified


@pytest.fixture
def chart(registry: str, home: Path, tmp_path: Path) -> str:
    """A chart that helm pushed."""
    helm = Program(provided("helm3"), home, (), {"HELM_CACHE_HOME": str(tmp_path / "helm")})
    helm.run("package", write_chart(tmp_path, "greeter", "1.2.3"), "--destination", tmp_path)
    helm.run("push", tmp_path / "greeter-1.2.3.tgz", f"oci://{registry}/charts", "--plain-http")
    return f"{registry}/charts/greeter:1.2.3"


@pytest.mark.parametrize("form", ["tag", "bundle"])
def test_cosign_verifies_a_chart_signed_here(
    cosign: Cosign, ours: Program, key: Path, chart: str, session: Session, form: str
) -> None:
    ours.run("sign", chart, "--key", key, "--signature-format", form)
    assert cosign.accepts(chart, public(key))
    verdict = judge(chart, session, public(key))
    assert (verdict.verified, verdict.kind) == (True, "chart")


@pytest.mark.parametrize("form", ["tag", "bundle"])
def test_cosign_verifies_one_platform_of_an_image_signed_here(
    cosign: Cosign, ours: Program, key: Path, image: str, session: Session, form: str
) -> None:
    repository = repository_of(image, session)
    found = repository.manifest(repository.resolve("v1"))
    while found.is_index:
        found = repository.manifest(found.children()[0])
    child = f"{repository.name}@{found.descriptor.digest}"
    ours.run("sign", child, "--key", key, "--signature-format", form)
    assert cosign.accepts(child, public(key))
    assert judge(child, session, public(key)).verified
    assert not judge(image, session, public(key)).verified


@pytest.mark.parametrize("mode", ["tag", "bundle", "oci-1-1"])
def test_what_cosign_signs_is_verified_here(
    cosign: Cosign, key: Path, image: str, other_image: str, session: Session, mode: str
) -> None:
    assert judge(image, session, cosign.public).reason == "has no signature"
    if mode == "oci-1-1":
        cosign.sign(image, "--new-bundle-format=false", "--registry-referrers-mode=oci-1-1", experimental=True)
    else:
        cosign.sign(image, f"--new-bundle-format={str(mode == 'bundle').lower()}")
    verdict = judge(image, session, cosign.public)
    assert verdict.verified, verdict.reason
    stranger = judge(image, session, public(key))
    assert "none of the given keys" in str(stranger.reason)
    assert not judge(other_image, session, cosign.public).verified


def test_the_command_verify_says_by_its_exit_code_whether_cosign_signed(
    cosign: Cosign, ours: Program, key: Path, image: str
) -> None:
    assert ours.attempt("verify", image, "--key", cosign.public).returncode == 3
    cosign.sign(image)
    ours.run("verify", image, "--key", cosign.public, "--offline")
    assert ours.attempt("verify", image, "--key", public(key)).returncode == 3


def test_signatures_of_cosign_and_of_here_stand_side_by_side(
    cosign: Cosign, ours: Program, key: Path, image: str, session: Session
) -> None:
    cosign.sign(image, "--new-bundle-format=false")
    ours.run("sign", image, "--key", key)
    second = ours.document("sign", image, "--key", key, "-o", "json")
    assert [item["written"] for item in second["signatures"]] == [False]
    for each in (cosign.public, public(key)):
        assert cosign.accepts(image, each)
        assert judge(image, session, each).verified
    # And cosign adds to what was written here.
    cosign.sign(image, "--new-bundle-format=false")
    assert judge(image, session, public(key)).verified


@pytest.fixture
def signed(cosign: Cosign, image: str, other_image: str) -> str:
    """Two images that cosign signed in the tag scheme; the name of the first."""
    for name in (image, other_image):
        cosign.sign(name, "--new-bundle-format=false")
    return image


@pytest.mark.parametrize("beside", ["signature", "attestation"])
def test_cosign_finds_a_signature_of_here_where_there_are_bundles(
    cosign: Cosign, ours: Program, key: Path, image: str, beside: str
) -> None:
    if beside == "signature":
        cosign.sign(image, "--new-bundle-format=true")
    else:
        cosign.attest(image)
    ours.run("sign", image, "--key", key)
    assert cosign.accepts(image, public(key))


def repository_of(name: str, session: Session) -> RemoteRepository:
    host, _, rest = name.partition("/")
    return session.target(host).repository(rest.partition(":")[0])


def signatures(repository: RemoteRepository, name: str) -> tuple[str, dict[str, Any]]:
    """The signature's tag of an image, and a copy of its manifest."""
    digest = repository.resolve(name.rpartition(":")[2]).digest
    tag = f"{digest.algorithm}-{digest.encoded}.sig"
    document: dict[str, Any] = json.loads(repository.manifest(repository.resolve(tag)).raw)
    return tag, document


@pytest.mark.parametrize("what", ["payload", "signature", "other image"])
def test_an_altered_signature_of_cosign_is_refused_here_and_by_cosign(
    cosign: Cosign, signed: str, other_image: str, session: Session, what: str
) -> None:
    repository = repository_of(signed, session)
    tag, document = signatures(repository, signed)
    [layer] = document["layers"]
    annotation = "dev.cosignproject.cosign/signature"
    if what == "payload":
        raw = b"".join(_read(repository, layer)).replace(b"site/app", b"site/apq")
        layer |= {"digest": str(push(repository, raw, layer["mediaType"]).digest), "size": len(raw)}
    elif what == "signature":
        value = bytearray(base64.b64decode(layer["annotations"][annotation]))
        value[-1] ^= 1
        layer["annotations"][annotation] = base64.b64encode(value).decode()
    else:
        document = signatures(repository, other_image)[1]
    assert cosign.accepts(signed, cosign.public)
    repository.put_manifest(Manifest.render(document), tag=tag)
    assert not cosign.accepts(signed, cosign.public)
    verdict = judge(signed, session, cosign.public)
    assert (verdict.verified, verdict.exit_code) == (False, 3)
    assert ("signs another image" if what == "other image" else "altered") in str(verdict.reason)


def _read(repository: RemoteRepository, layer: dict[str, Any]) -> Iterator[bytes]:
    from mirror.oci.descriptor import Descriptor  # noqa: PLC0415

    with repository.open_blob(Descriptor.from_json(layer)) as reader:
        yield reader.read()


@pytest.mark.parametrize("what", ["payload", "signature", "other image"])
def test_an_altered_bundle_of_cosign_is_refused_here_and_by_cosign(
    cosign: Cosign, image: str, other_image: str, session: Session, what: str
) -> None:
    repository = repository_of(image, session)
    cosign.sign(other_image, "--new-bundle-format=true")
    subject = repository.resolve("v1")
    [listed] = repository.referrers(repository.resolve("v2").digest)
    document = json.loads(repository.manifest(listed).raw)
    [layer] = document["layers"]
    bundle = json.loads(b"".join(_read(repository, layer)))
    envelope = bundle["dsseEnvelope"]
    if what == "payload":
        payload = base64.b64decode(envelope["payload"])
        other = repository.resolve("v2").digest.encoded.encode()
        envelope["payload"] = base64.b64encode(payload.replace(other, subject.digest.encoded.encode())).decode()
    elif what == "signature":
        value = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
        value[-1] ^= 1
        envelope["signatures"][0]["sig"] = base64.b64encode(value).decode()
    raw = json.dumps(bundle).encode()
    layer |= {"digest": str(push(repository, raw, layer["mediaType"]).digest), "size": len(raw)}
    document["subject"] = {"mediaType": subject.media_type, "digest": str(subject.digest), "size": subject.size}
    repository.put_manifest(Manifest.render(document))
    assert cosign.accepts(other_image, cosign.public)
    assert not cosign.accepts(image, cosign.public)
    reason = str(judge(image, session, cosign.public).reason)
    assert ("signs another image" if what == "other image" else "does not hold") in reason


def test_an_attestation_of_cosign_is_no_signature(cosign: Cosign, image: str, session: Session) -> None:
    cosign.attest(image)
    repository = repository_of(image, session)
    evidence = gather_evidence(repository, repository.resolve("v1").digest, trusting(cosign.public))
    assert evidence.proofs == ()
    assert len(evidence.rejected) == 1
    assert "is an attestation ('https://site.test/tested/v1'), not a signature" in evidence.rejected[0]


def test_a_signature_stays_valid_in_another_registry(
    cosign: Cosign, ours: Program, key: Path, image: str, crane: Program, session: Session
) -> None:
    ours.run("sign", image, "--key", key)
    copied = image.replace("site/app", "elsewhere/app")
    crane.run("copy", image, copied)
    tag = crane.run("digest", image).strip().replace(":", "-") + ".sig"
    crane.run("copy", image.replace(":v1", f":{tag}"), copied.replace(":v1", f":{tag}"))
    assert judge(copied, session, public(key)).verified
    assert cosign.accepts(copied, public(key))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "node.ova"
    path.write_bytes(bytes(range(256)) * 4000)
    return path


def test_cosign_verifies_a_file_signed_here(cosign: Cosign, ours: Program, key: Path, file: Path) -> None:
    ours.run("sign", file, "--blob", "--key", key)
    bundle = file.with_name("node.ova.sigstore.json")
    assert cosign.accepts_file(file, public(key), bundle)
    assert not cosign.accepts_file(file, cosign.public, bundle)
    file.write_bytes(file.read_bytes() + b"x")
    assert not cosign.accepts_file(file, public(key), bundle)
    assert "signs other bytes" in str(verify_file(file, None, trusting(public(key))).reason)


@pytest.mark.parametrize(
    "options",
    [
        ("--new-bundle-format=true", "--bundle"),
        ("--new-bundle-format=false", "--bundle"),
        ("--new-bundle-format=false", "--output-signature"),
    ],
)
def test_a_file_that_cosign_signed_is_verified_here(
    cosign: Cosign, key: Path, file: Path, tmp_path: Path, options: tuple[str, str]
) -> None:
    signature = tmp_path / "signature"
    cosign.program.run("sign-blob", *NO_LOG, *options, signature, "--key", cosign.key, file)
    assert verify_file(file, signature, trusting(cosign.public)).verified
    assert not verify_file(file, signature, trusting(public(key))).verified
    file.write_bytes(file.read_bytes() + b"x")
    assert not verify_file(file, signature, trusting(cosign.public)).verified


def test_an_image_is_signed_with_a_key_in_a_token(
    cosign: Cosign, ours: Program, key: Path, image: str, file: Path, tmp_path: Path
) -> None:
    provided("softhsm2-util")
    found = make_softhsm(tmp_path / "softhsm")
    assert isinstance(found, SoftHsm), "softhsm2-util is here, its module is not"
    found.token("release")
    found.pair("release", key, label="images", own_id="a1")
    with_token = replace(ours, environment={**found.variables, "BUNDLECTL_PKCS11_PIN": PIN})
    using = ("--key", "pkcs11:token=release;object=images", "--pkcs11-module", found.module)
    with_token.run("sign", image, *using, "--signature-format", "both")
    with_token.run("sign", file, "--blob", *using)
    exported = tmp_path / "exported.pub"
    exported.write_text(with_token.run("keys", "show", *using[1:]))
    assert cosign.accepts(image, exported)
    assert cosign.accepts_file(file, exported, file.with_name("node.ova.sigstore.json"))


def test_an_image_is_signed_with_a_key_in_kms(
    cosign: Cosign, ours: Program, image: str, file: Path, tmp_path: Path
) -> None:
    with kms_server(tmp_path / "kms") as amazon:
        client: Any = boto3.client(
            "kms",
            endpoint_url=amazon["AWS_ENDPOINT_URL"],
            aws_access_key_id="made-up",
            aws_secret_access_key="made-up",
            region_name="us-east-1",
        )
        made = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        client.create_alias(AliasName="alias/release", TargetKeyId=made)
        client.close()
        uri = f"awskms://{amazon['AWS_ENDPOINT_URL'].removeprefix('http://')}/alias/release"
        variables = {name: value for name, value in amazon.items() if name != "AWS_ENDPOINT_URL"}
        with_kms = replace(ours, environment=variables)
        with_kms.run("sign", image, "--key", uri, "--signature-format", "both", "--offline")
        with_kms.run("sign", file, "--blob", "--key", uri, "--offline")
        exported = tmp_path / "exported.pub"
        exported.write_text(with_kms.run("keys", "show", uri))
    assert cosign.accepts(image, exported)
    assert cosign.accepts_file(file, exported, file.with_name("node.ova.sigstore.json"))


def test_cosign_and_we_agree_on_signatures_by_identity(cosign: Cosign, file: Path, tmp_path: Path) -> None:
    pytest.importorskip("sigstore", reason="the extra keyless is not installed")
    sigstore = SigstoreInstance()
    root, bundle = tmp_path / "trusted-root.json", tmp_path / "bundle.json"
    root.write_bytes(sigstore.trusted_root())
    bundle.write_bytes(sigstore.sign_message(file.read_bytes(), "builder@site.test", "https://login.site.test"))
    for subject, expected in (("builder@site.test", True), ("other@site.test", False)):
        who = CertificateIdentity(subject, "https://login.site.test")
        options = ("--certificate-identity", who.subject, "--certificate-oidc-issuer", who.issuer)
        command = ("verify-blob", "--bundle", bundle, "--trusted-root", root, "--new-bundle-format", *options, file)
        outcome = cosign.program.attempt(*command)
        assert (outcome.returncode == 0) is expected, outcome.stderr
        anchors = TrustAnchors(certificates=(who,), trusted_root=root.read_bytes())
        assert verify_file(file, bundle, anchors).verified is expected
