"""Reading policies: from a file, and out of a Collection."""

import json
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bundlectl.errors import BundlectlError, ContentError, KeyProviderError, MissingError
from bundles.collection import parse_collection
from bundles.document import parse_document
from bundles.policy_file import CollectionPolicy, parse_policy, read_policy
from signing.identity import CertificateIdentity, NamedKey
from signing.policy import AwsKey, Policy, Rule
from signing.signature import PublicKey

KEY = PublicKey.of(ec.generate_private_key(ec.SECP256R1()).public_key())
HEAD = "apiVersion: bundlectl.dev/v1alpha1\nkind: Policy\nspec:\n"
ALL = '  rules: [{match: ["*"], always: accept}]\n'
SPEC = """\
  identities:
    site: {key: keys/site.pub}
    aws: {key: aws}
    spare: {key: "base64:MFkw"}
    build: {issuer: https://issuer.example, subject: "https://git.example/release.yml@refs/tags/v1"}
  rules:
  - match: ["public.ecr.aws/eks-anywhere/*", registry.k8s.io/pause]
    types: [image, chart]
    signedBy: [site, build]
    atLeast: 1
    trust: declared
    unsigned: leave-out
  - {match: ["Bundles/*"], types: [document], signedBy: [aws]}
  - {match: ["https://files.example/*"], always: warn}
  otherwise: accept
"""


def load(key: str) -> NamedKey:
    return NamedKey(key, KEY)


def read(text: str, origin: str = "site/policy.yaml", load_key: Callable[[str], NamedKey] = load) -> Policy:
    return parse_policy(text.encode(), origin=origin, load_key=load_key)


def expected(origin: str, folder: str) -> Policy:
    site, build = NamedKey(f"{folder}/keys/site.pub", KEY), "https://git.example/release.yml@refs/tags/v1"
    return Policy(
        name=origin,
        rules=(
            Rule(
                match=("public.ecr.aws/eks-anywhere/*", "registry.k8s.io/pause"),
                types=frozenset({"image", "chart"}),
                signed_by={"site": site, "build": CertificateIdentity(build, "https://issuer.example")},
                at_least=1,
                trust="declared",
                unsigned="leave-out",
            ),
            Rule(match=("Bundles/*",), types=frozenset({"document"}), signed_by={"aws": AwsKey()}),
            Rule(match=("https://files.example/*",), always="warn"),
        ),
        otherwise="accept",
    )


def test_a_policy_is_read_and_its_keys_are_beside_it() -> None:
    assert read(HEAD + SPEC) == expected("site/policy.yaml", "site")


def test_json_is_read_as_well() -> None:
    document = {"apiVersion": "bundlectl.dev/v1alpha1", "kind": "Policy", "spec": {"rules": []}}
    assert read(json.dumps(document)) == Policy(name="site/policy.yaml")


def test_each_key_is_loaded_once() -> None:
    loaded: list[str] = []

    def counting(key: str) -> NamedKey:
        loaded.append(key)
        return load(key)

    read(
        HEAD + "  identities: {a: {key: k.pub}, b: {key: k.pub}, c: {key: 'awskms:///alias/x'}}\n" + ALL, "p", counting
    )
    assert loaded == ["./k.pub", "awskms:///alias/x"]


@pytest.mark.parametrize(
    ("origin", "key", "expected"),
    [
        ("p.yaml", "aws.pub", "./aws.pub"),
        ("p.yaml", "./aws", "././aws"),
        ("p.yaml", "./base64:x", "././base64:x"),
        ("site/p.yaml", "keys:prod.pub", "site/keys:prod.pub"),
        ("site/p.yaml", "C:prod.pub", "site/C:prod.pub"),
        ("site/p.yaml", "/etc/prod.pub", "/etc/prod.pub"),
        ("site/p.yaml", "PKCS11:token=a", "PKCS11:token=a"),
        ("site/p.yaml", "awskms:///alias/x", "awskms:///alias/x"),
    ],
)
def test_a_key_that_is_a_path_stays_one_and_is_beside_the_policy(origin: str, key: str, expected: str) -> None:
    loaded: list[str] = []

    def noting(key: str) -> NamedKey:
        loaded.append(key)
        return load(key)

    read(f"{HEAD}  identities: {{a: {{key: '{key}'}}}}\n{ALL}", origin, noting)
    assert loaded == [expected]


@pytest.mark.parametrize("key", ["gcpkms://x", "pkcs11:token=a?pin-value=9876", " "])
def test_what_is_no_key_is_named_with_its_place_and_not_loaded(key: str) -> None:
    with pytest.raises(ContentError, match=r"p\.yaml:4: spec\.identities\.a\.key") as caught:
        read(f"{HEAD}  identities: {{a: {{key: '{key}'}}}}\n{ALL}", "p.yaml")
    assert "9876" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("key", ["keys:prod.pub", "AWSKMS:///alias/x", "./base64:x"])
def test_a_policy_from_elsewhere_names_nothing_on_this_machine_however_it_is_written(key: str) -> None:
    with pytest.raises(ContentError, match="would be on this machine"):
        read(f"{HEAD}  identities: {{a: {{key: '{key}'}}}}\n{ALL}", "https://g.example/p.yaml")


def test_a_key_that_cannot_be_loaded_is_named_with_its_place() -> None:
    def failing(key: str) -> NamedKey:
        raise MissingError("there is no such file", artifact=key, hint="check the path")

    with pytest.raises(KeyProviderError) as caught:
        read(HEAD + "  identities:\n    site:\n      key: site.pub\n" + ALL, "p/p.yaml", failing)
    assert str(caught.value) == "p/p.yaml:6: spec.identities.site.key: p/site.pub: there is no such file"
    assert caught.value.hint == "check the path"


@pytest.mark.parametrize(
    ("spec", "place", "hint"),
    [
        ("  rules: []\n  rule: []\n", "policy.yaml:5: spec: Additional properties", "identities, otherwise, rules"),
        ("  otherwise: refuse\n", 'policy.yaml:3: spec: "rules" is a required property', ""),
        ("  rules:\n  - match: ['*']\n", "policy.yaml:5: spec.rules[0]: a rule asks for signedBy, trust or both", ""),
        ("  rules:\n  - {always: accept}\n", 'policy.yaml:5: spec.rules[0]: "match" is a required property', ""),
        ("  rules:\n  - match: []\n    always: warn\n", "policy.yaml:5: spec.rules[0].match: [] has", "KIND/NAME"),
        (
            "  rules:\n  - match: ['*']\n    trust: declared\n    always: accept\n",
            "policy.yaml:5: spec.rules[0]: a rule asks for signedBy, trust or both",
            "",
        ),
        (
            "  rules:\n  - match: ['*']\n    trust: declared\n    atLeast: 1\n",
            'policy.yaml:5: spec.rules[0]: "signedBy" is a required property',
            "",
        ),
        (
            "  identities: {a: {key: x}}\n  rules:\n  - match: ['*']\n    signedBy: [a]\n    atLeast: '1'\n",
            'policy.yaml:8: spec.rules[0].atLeast: "1" is not of type "integer"',
            "without quotes",
        ),
        (
            "  identities: {a: {key: x}}\n  rules:\n  - match: ['*']\n    signedBy: [a]\n    atLeast: 2\n",
            "policy.yaml:8: spec.rules[0].atLeast: atLeast is 1 to 1 here",
            "",
        ),
        (
            "  identities: {a: {key: x}}\n  rules:\n  - match: ['*']\n    signedBy:\n    - a\n    - b\n",
            "policy.yaml:9: spec.rules[0].signedBy[1]: 'b' is not among the identities",
            "they are a",
        ),
        (
            "  rules:\n  - match:\n    - '*'\n    - nginx\n    always: accept\n",
            "policy.yaml:7: spec.rules[0].match[1]: 'nginx' names no registry",
            "HOST/PATH",
        ),
        (
            "  rules:\n  - {match: ['*'], trust: off}\n",
            "policy.yaml:5: spec.rules[0].trust: false is not one",
            "pushed",
        ),
        (
            "  rules:\n  - match: ['*']\n    types: [image, lock]\n    always: warn\n",
            "policy.yaml:6: spec.rules[0].types: some of image, chart and file",
            "",
        ),
        (
            "  identities: {a: {key: aws}}\n  rules:\n  - match: ['*']\n    signedBy: [a]\n",
            "policy.yaml:7: spec.rules[0].signedBy: aws signs documents only",
            "types: [document]",
        ),
        (
            "  identities:\n    a:\n      key: x\n      subject: y\n  rules: []\n",
            "policy.yaml:5: spec.identities.a: an identity has a key, or",
            "",
        ),
        ("  identities:\n    a: {issuer: 'https://i'}\n  rules: []\n", "policy.yaml:5: spec.identities.a: an id", ""),
        ("  identities: {a: {password: x}}\n  rules: []\n", "policy.yaml:4: spec.identities.a: ", ""),
        ("  rules: &r\n  - *r\n", "policy.yaml:5: ", ""),
    ],
)
def test_a_fault_names_file_line_and_field(spec: str, place: str, hint: str) -> None:
    with pytest.raises(ContentError) as caught:
        read(HEAD + spec, "policy.yaml")
    assert str(caught.value).startswith(place)
    assert hint in (caught.value.hint or "")


def test_of_a_large_policy_one_fault_is_told_and_the_others_are_not_collected() -> None:
    with pytest.raises(ContentError) as caught:
        read(HEAD + "  rules:\n" + "  - {a: 1}\n" * 50_000, "p")
    assert str(caught.value).startswith("p:4: spec.rules: ")
    assert "more)" not in str(caught.value)


def test_another_kind_is_no_policy() -> None:
    with pytest.raises(ContentError, match=r"p:2: kind: \"Policy\" was expected"):
        read("apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nspec: {rules: []}\n", "p")


def test_a_policy_is_bounded_in_size(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="larger than"):
        read(HEAD + ALL + "#" * 1024 * 1024)
    path = tmp_path / "policy.yaml"
    path.write_text(HEAD + ALL + "#" * 1024 * 1024)
    with pytest.raises(ContentError, match="larger than"):
        read_policy(path, load_key=load)


def test_a_policy_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_policy(tmp_path / "policy.yaml", load_key=load)


def test_the_policy_of_the_guide_is_one() -> None:
    guide = Path(__file__).parents[3] / "docs" / "how-to" / "write-a-policy.md"
    example = guide.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    policy = read(example, "policy.yaml")
    assert (len(policy.rules), policy.otherwise) == (3, "leave-out")


# -- in a Collection


def collection(policy: str, origin: str) -> CollectionPolicy:
    text = (
        f"apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nspec:\n  sources: [eks-a:latest]\n  policy: {policy}\n"
    )
    found = parse_collection(parse_document(text.encode(), origin=origin)).policy
    assert found is not None
    return found


def nothing(url: str) -> bytes:
    raise AssertionError(url)


def inline() -> str:
    return "\n" + "".join(f"  {line}\n" for line in SPEC.splitlines())


def test_a_collection_holds_the_policy_itself() -> None:
    found = collection(inline(), "site/site.yaml")
    assert found.load(load_key=load, fetch=nothing) == expected("site/site.yaml", "site")


def test_a_collection_names_a_policy_beside_it(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "policy.yaml").write_text(HEAD + SPEC)
    found = collection("trust/policy.yaml", f"{tmp_path}/site.yaml")
    policy = found.load(load_key=load, fetch=nothing)
    assert policy == expected(f"{tmp_path}/trust/policy.yaml", f"{tmp_path}/trust")


@pytest.mark.parametrize(
    ("path", "origin", "asked"),
    [
        ("policy.yaml", "https://git.example/sites/site.yaml?token=x", "https://git.example/sites/policy.yaml"),
        ("../policy.yaml", "https://git.example/sites/site.yaml", "https://git.example/policy.yaml"),
        ("//evil.example/p.yaml", "https://git.example/site.yaml", "https://git.example//evil.example/p.yaml"),
        ("p.yaml", "s3://bucket/sites/site.yaml", "s3://bucket/sites/p.yaml"),
    ],
)
def test_a_collection_from_elsewhere_has_its_policy_beside_it(path: str, origin: str, asked: str) -> None:
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return (HEAD + ALL).encode()

    assert collection(path, origin).load(load_key=load, fetch=fetch).name == asked
    assert fetched == [asked]


@pytest.mark.parametrize("key", ["site.pub", "/etc/site.pub", "pkcs11:token=x", "awskms://evil.example/x"])
def test_a_policy_from_elsewhere_names_nothing_on_this_machine(key: str) -> None:
    found = collection(f'{{identities: {{a: {{key: "{key}"}}}}, rules: []}}', "https://git.example/site.yaml")
    with pytest.raises(ContentError, match=r"site\.yaml:5: spec\.policy\.identities\.a\.key: would be on this machine"):
        found.load(load_key=load, fetch=nothing)


def test_a_policy_from_elsewhere_may_hold_keys_itself() -> None:
    found = collection('{identities: {a: {key: "base64:MFkw"}, b: {key: aws}}, rules: []}', "https://g.example/s.yaml")
    assert found.load(load_key=load, fetch=nothing).rules == ()


@pytest.mark.parametrize("url", ["https://evil.example/p.yaml", "file:///etc/p.yaml"])
def test_a_collection_does_not_take_its_policy_from_a_url(url: str) -> None:
    with pytest.raises(ContentError, match=r"s\.yaml:5: spec\.policy: is not a path relative"):
        collection(url, "s.yaml")


@pytest.mark.parametrize(
    ("policy", "place"),
    [
        ("{rules: [], rule: []}", "s.yaml:5: spec.policy: Additional properties"),
        ("\n    rules:\n    - {match: ['*']}", "s.yaml:7: spec.policy.rules[0]: a rule asks for signedBy"),
        ("\n    rules:\n    - match: ['*']\n      always: no", "s.yaml:8: spec.policy.rules[0].always: false is not"),
        ("[]", 's.yaml:5: spec.policy: [] is not of types "string", "object"'),
        ("''", "s.yaml:5: spec.policy: "),
    ],
)
def test_a_fault_in_a_collection_names_its_line_there(policy: str, place: str) -> None:
    with pytest.raises(ContentError) as caught:
        collection(policy, "s.yaml")
    assert str(caught.value).startswith(place)


def test_the_schema_is_valid_and_ships_with_the_package() -> None:
    schema = json.loads(files("bundles").joinpath("policy.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    other = json.loads(files("bundles").joinpath("collection.schema.json").read_bytes())
    reference = other["properties"]["spec"]["properties"]["policy"]["then"]["$ref"]
    assert f"{schema['$id'].rpartition('/')[0]}/{reference}" == f"{schema['$id']}#/$defs/policy"


# -- whatever is written


WORDS = ("", "*", "a", "aws", "base64:x", "k.pub", "nginx", "h.example/*", "https://h/*", "accept", "declared", "image")
VALUES: tuple[Any, ...] = ("lock", None, True, 0, 1, -1, 10**30, 1.5, {}, [], [[]], {"key": "x"}, ["a"], ["*"], "\0")
ODD: st.SearchStrategy[Any] = st.sampled_from([*WORDS, *VALUES]) | st.text(max_size=6)
IDENTITY = ODD | st.fixed_dictionaries({}, optional={"key": ODD, "issuer": ODD, "subject": ODD, "novel": ODD})
RULE = ODD | st.fixed_dictionaries(
    {"match": ODD | st.lists(ODD, max_size=2)},
    optional={
        "types": ODD | st.lists(ODD, max_size=2),
        "signedBy": ODD | st.lists(ODD, max_size=2),
        **dict.fromkeys(("atLeast", "trust", "unsigned", "always", "novel"), ODD),
    },
)
BODY = ODD | st.fixed_dictionaries(
    {"rules": ODD | st.lists(RULE, max_size=3)},
    optional={"identities": ODD | st.dictionaries(st.sampled_from("ab"), IDENTITY, max_size=2), "otherwise": ODD},
)


@given(BODY)
def test_a_policy_of_any_values_is_read_or_refused(spec: Any) -> None:
    with suppress(BundlectlError):
        read(json.dumps({"apiVersion": "bundlectl.dev/v1alpha1", "kind": "Policy", "spec": spec}))


@given(st.data())
def test_a_policy_with_a_change_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    text = HEAD + SPEC
    change = data.draw(st.lists(st.sampled_from([*"aA0:-<>{}[]*&\n @", "://", "null"]), max_size=6).map("".join))
    start = data.draw(st.integers(0, len(text)))
    raw = text[:start] + change + text[start + data.draw(st.integers(0, 12)) :]
    with suppress(BundlectlError):
        read(raw)
