"""A small registry that can be made to misbehave, and a client for it."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mirror.http import HttpClient, Transport
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from mirror.remote import Credential, CredentialStore, RemoteRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|tags|referrers)/(?P<rest>.*)")


class FakeRegistry:
    """Blobs, manifests and tags by repository. ``before`` may answer any request in its place."""

    def __init__(self, web: Any) -> None:
        self.web = web
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.sessions: dict[str, bytes] = {}
        self.before: Callable[[Any], Any] = lambda _asked: None
        self.referrers_api = True
        self.page = 1000
        self.refuse_large = 0
        self.auth: str | None = None  # "basic" or "bearer"
        self.users = {"robot": "secret"}
        self.rights = "pull,push"
        self.tokens: dict[str, list[str]] = {}
        web.answer = self.answer

    @property
    def lines(self) -> list[str]:
        return [line for line in self.web.lines if not line.startswith("GET /token")]

    @property
    def token_lines(self) -> list[str]:
        return [line for line in self.web.lines if " /token" in line]

    def answer(self, asked: Any) -> Any:
        forced = self.before(asked)
        if forced is not None:
            return None if forced == "raw" else forced
        if asked.path.startswith("/token"):
            return self.token(asked, parse_qs(urlsplit(asked.path).query))
        return self.challenge(asked) or self.admitted(asked)

    def admitted(self, asked: Any) -> Any:
        url = urlsplit(asked.path)
        query = parse_qs(url.query)
        if url.path == "/v2/":
            return 200, {}, b"{}"
        if url.path == "/v2/_catalog":
            return self.listing(sorted({name for name, _ in self.manifests}), "repositories", url, query)
        if url.path.startswith("/upload/"):
            return self.upload(asked, url, query)
        match = PATH.fullmatch(url.path)
        assert match, asked.path
        answers = {
            "manifests": self.answer_manifest,
            "blobs": self.answer_blob,
            "tags": self.tags,
            "referrers": self.referrers,
        }
        return answers[match["kind"]](asked, match["name"], match["rest"], query)

    def challenge(self, asked: Any) -> Any:
        given = asked.headers.get("Authorization", "")
        head = {}
        if self.auth == "basic" and not self.user(given):
            head = {"WWW-Authenticate": 'Basic realm="r"'}
        elif self.auth == "bearer":
            match = PATH.fullmatch(urlsplit(asked.path).path)
            scope = ""
            if match:
                actions = "pull" if asked.method in ("GET", "HEAD") else "pull,push"
                scope = f"repository:{match['name']}:{actions}"
            held = self.tokens.get(given.removeprefix("Bearer "))
            name = match["name"] if match else ""
            need = "pull" if asked.method in ("GET", "HEAD") else "push"
            granted = held is not None and (
                not match
                or any(s.split(":")[1] == name and need in s.split(":")[2].split(",") for s in held if ":" in s)
            )
            if not granted:
                extra = f',scope="{scope}"' if scope else ""
                realm = self.web.url("/token")
                head = {"WWW-Authenticate": f'Bearer realm="{realm}",service="svc"{extra}'}
        if not head:
            return None
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "no entry: no entry"}]}
        return 401, head, json.dumps(body).encode()

    def user(self, given: str) -> str | None:
        if not given.startswith("Basic "):
            return None
        name, _, password = base64.b64decode(given[6:]).decode().partition(":")
        return name if self.users.get(name) == password else None

    def token(self, asked: Any, query: dict[str, list[str]]) -> Any:
        given = asked.headers.get("Authorization", "")
        if asked.method == "POST":
            return 405, {}, b""
        if given and not self.user(given):
            return 401, {}, b""
        allowed = set(self.rights.split(",")) if given else {"pull"}
        scopes = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":")
            scopes.append(f"{kind}:{name}:{','.join(sorted(set(actions.split(',')) & allowed))}")
        text = f"token-{len(self.tokens)}"
        self.tokens[text] = scopes
        return 200, {}, json.dumps({"access_token": "", "token": text, "expires_in": 300}).encode()

    def listing(self, names: list[str], key: str, url: Any, query: dict[str, list[str]]) -> Any:
        last = query.get("last", [""])[0]
        rest = [name for name in names if name > last]
        head = {"Content-Type": "application/json"}
        if len(rest) > self.page:
            rest = rest[: self.page]
            head["Link"] = f'<{url.path}?last={rest[-1]}&n={self.page}>; rel="next"'
        return 200, head, json.dumps({key: rest}).encode()

    def tags(self, asked: Any, name: str, _rest: str, query: dict[str, list[str]]) -> Any:
        names = sorted(ref for repo, ref in self.manifests if repo == name and ":" not in ref)
        if not any(repo == name for repo, _ in self.manifests):
            return 404, {}, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'
        return self.listing(names, "tags", urlsplit(asked.path), query)

    def manifests_put(self, asked: Any, name: str, reference: str) -> Any:
        raw = asked.body
        digest = str(Digest.of(raw))
        stored = (asked.headers["Content-Type"], raw)
        self.manifests[name, digest] = self.manifests[name, reference] = stored
        head = {"Docker-Content-Digest": digest}
        subject = json.loads(raw).get("subject")
        if subject and self.referrers_api:
            head["OCI-Subject"] = subject["digest"]
        return 201, head, b""

    def answer_manifest(self, asked: Any, name: str, reference: str, _query: Any) -> Any:
        if asked.method == "PUT":
            return self.manifests_put(asked, name, reference)
        found = self.manifests.get((name, reference))
        if found is None:
            return 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}'
        if asked.method == "DELETE":
            digest = str(Digest.of(found[1]))
            gone = [key for key, value in self.manifests.items() if key[0] == name and value[1] == found[1]]
            for key in gone if reference == digest else [(name, reference)]:
                del self.manifests[key]
            return 202, {}, b""
        assert OCI_MANIFEST in asked.headers["Accept"]
        assert OCI_INDEX in asked.headers["Accept"]
        head = {"Content-Type": found[0], "Docker-Content-Digest": str(Digest.of(found[1]))}
        return 200, {**head, "Content-Length": str(len(found[1]))}, found[1]

    def referrers(self, _asked: Any, name: str, digest: str, _query: Any) -> Any:
        if not self.referrers_api:
            return 404, {}, b"404 page not found"
        entries = []
        for (repo, reference), (media_type, raw) in self.manifests.items():
            document = json.loads(raw)
            if repo == name and ":" in reference and (document.get("subject") or {}).get("digest") == digest:
                entry = {"mediaType": media_type, "digest": reference, "size": len(raw)}
                entries.append({**entry, "artifactType": document.get("artifactType", "")})
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return 200, {"Content-Type": OCI_INDEX}, json.dumps(body).encode()

    def answer_blob(self, asked: Any, name: str, rest: str, query: dict[str, list[str]]) -> Any:
        if asked.method == "POST":
            return self.begin(name, query)
        data = self.blobs.get((name, rest))
        if data is None:
            return 404, {}, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}'
        wanted = asked.headers.get("Range")
        if wanted:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            return 206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, data[start:]
        return 200, {"Content-Length": str(len(data))}, data

    def begin(self, name: str, query: dict[str, list[str]]) -> Any:
        if "mount" in query:
            digest, source = query["mount"][0], query["from"][0]
            if (source, digest) in self.blobs:
                self.blobs[name, digest] = self.blobs[source, digest]
                return 201, {"Docker-Content-Digest": digest}, b""
        session = f"{len(self.sessions)}"
        self.sessions[session] = b""
        return 202, {"Location": f"/upload/{session}?_state=0%2b%2F&name={name}"}, b""

    def upload(self, asked: Any, url: Any, query: dict[str, list[str]]) -> Any:
        session = url.path.rpartition("/")[2]
        body = asked.body
        if self.refuse_large and len(body) > self.refuse_large:
            return 413, {"Content-Type": "text/html"}, b"<html>413 Request Entity Too Large</html>"
        data = self.sessions[session]
        if asked.method == "PATCH":
            start, _, end = asked.headers["Content-Range"].partition("-")
            assert (int(start), int(end)) == (len(data), len(data) + len(body) - 1)
            assert query["_state"] == [f"{len(data)}+/"]
            self.sessions[session] = data + body
            location = self.web.url(f"/upload/{session}?_state={len(data + body)}%2b%2F&name={query['name'][0]}")
            return 202, {"Location": location}, b""
        data += body
        digest = query["digest"][0]
        if str(Digest.of(data, digest.partition(":")[0])) != digest:
            return 400, {}, b'{"errors":[{"code":"DIGEST_INVALID"}]}'
        self.blobs[query["name"][0], digest] = data
        return 201, {"Docker-Content-Digest": digest, "Location": "/x"}, b""


@pytest.fixture
def fake(web: Any) -> FakeRegistry:
    return FakeRegistry(web)


@pytest.fixture
def make_registry(web: Any) -> Iterator[Callable[..., RemoteRegistry]]:
    clients: list[HttpClient] = []

    def make(*, user: str | None = None, host: str | None = None, credentials: Any = None, **more: Any) -> Any:
        clients.append(HttpClient(Transport(retries=1, backoff=0.001, max_wait=0.1, read_timeout=5.0)))
        explicit = {web.host: Credential(user, "secret")} if user else {}
        store = credentials or CredentialStore(explicit=explicit)
        return RemoteRegistry(host or web.host, client=clients[-1], credentials=store, **more)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def registry(fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]) -> RemoteRegistry:
    assert fake.answer
    return make_registry()


@pytest.fixture
def image() -> Callable[..., Manifest]:
    def make(subject: Manifest | None = None, **more: Any) -> Manifest:
        config = {"mediaType": OCI_CONFIG, "digest": str(Digest.of(b"{}")), "size": 2}
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [], **more}
        if subject:
            document["subject"] = subject.descriptor.to_json()
        return Manifest.render(document)

    return make
