"""A mirror with charts, images and signed bundles made here, a cluster fed from it, and the controller as a process."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import socket
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bcrypt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bundlectl.operations.session import Connection, Session
from bundlectl.operations.signing_documents import sign_manifest
from bundles.belief import Belief
from bundles.package_bundle import render_package_bundle
from bundles.package_requires import encode_schema
from bundles.schema.package_bundle import BundledPackage, PackageImage, PackageSource, PackageVersion
from controller.connecting import connect_with_file
from controller.crds import load_definitions
from controller.logs import Log
from controller.manifests import Installation, cluster_objects, installation
from controller.service import Service, ServiceOptions
from controller.values import bundle_object
from mirror.http.transport import HostTransport, Transport
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import HELM_CHART, HELM_CONFIG, OCI_LAYER
from mirror.remote import Credential
from mirror.server.selfsigned import self_signed
from signing.identity import NamedKey
from signing.keys.local import LocalSigner
from tests.interop.cluster import define, path_of, wait_for
from tests.interop.programs import bundlectl, free_port, provided, running
from tests.interop.workloads import write_workload_chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.interop.cluster import Cluster

HOME = "eksa-packages"
PREFIX = "site/eks-anywhere"
BUNDLES = f"{PREFIX}/eks-anywhere-packages-bundles"
USER, PASSWORD = "site", "a password: with a colon"
OPEN_SCHEMA = b'{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}'
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Mirror:
    """A registry that packages come from, and the key that its bundles are signed with."""

    host: str
    folder: Path
    certificate: Path | None = None
    signer: LocalSigner = field(default_factory=lambda: LocalSigner(ec.generate_private_key(ec.SECP256R1())))

    @property
    def key(self) -> Path:
        """A file with the public key."""
        path = self.folder / "site.pub"
        public = self.signer._key.public_key()  # type: ignore[union-attr]
        path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return path

    @property
    def registry(self) -> str:
        return f"{self.host}/{PREFIX}"

    @contextmanager
    def session(self) -> Iterator[Session]:
        hosts = {self.host: HostTransport(ca_file=self.certificate)} if self.certificate else {}
        explicit = {self.host: Credential(USER, PASSWORD)} if self.certificate else {}
        with Session(Connection(transport=Transport(hosts=hosts), explicit=explicit)) as session:
            yield session

    def push(self, repository: str, layer: tuple[str, bytes], config: tuple[str, bytes], tag: str) -> str:
        """Push a manifest of one layer; returns its digest."""
        with self.session() as session:
            target = session.target(self.host).repository(f"{PREFIX}/{repository}")
            described = []
            for kind, content in (config, layer):
                descriptor = Descriptor(kind, Digest.of(content), len(content))
                upload = target.begin_blob(descriptor)
                if not isinstance(upload, str):
                    upload.write(partial(io.BytesIO, content))
                described.append({"mediaType": kind, "digest": str(descriptor.digest), "size": len(content)})
            document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}
            manifest = Manifest.render(document)
            target.put_manifest(manifest, tag=tag)
            return str(manifest.descriptor.digest)

    def chart(self, name: str, version: str, *, template: str = "", **values: Any) -> str:
        """Push a chart of one deployment, and perhaps of one more template; returns the digest of its manifest."""
        folder = write_workload_chart(self.folder / f"charts-{time.monotonic_ns()}", name, version, **values)
        if template:
            (folder / "templates" / "more.yaml").write_text(template)
        config = HELM_CONFIG, (folder / "Chart.yaml").read_bytes()
        return self.push(name, (HELM_CHART, packed(folder, name)), config, version)

    def image(self, name: str, seed: int = 0) -> PackageImage:
        """Push an image; it is what a bundle says of it."""
        config = "application/vnd.oci.image.config.v1+json", json.dumps({"seed": seed}).encode()
        digest = self.push(name, (OCI_LAYER, f"{name} {seed}".encode()), config, f"v{seed}")
        return PackageImage(repository=name, digest=digest)

    def bundle(self, name: str, *packages: BundledPackage, signer: LocalSigner | None = None) -> dict[str, Any]:
        """A signed bundle, as an object."""
        raw = sign_manifest(render_package_bundle(name, packages), origin=name, signer=signer or self.signer).text
        return bundle_object(raw, origin=name)

    def push_bundle(self, document: Mapping[str, Any], *tags: str) -> None:
        config = "application/vnd.unknown.config.v1+json", b"{}"
        for tag in tags:
            self.push("eks-anywhere-packages-bundles", (OCI_LAYER, json.dumps(document).encode()), config, tag)


def package(
    name: str,
    *versions: tuple[str, str],
    images: tuple[PackageImage, ...] = (),
    schema: bytes = OPEN_SCHEMA,
    dependencies: tuple[str, ...] = (),
) -> BundledPackage:
    """A package of a bundle; versions are names and digests."""
    return BundledPackage(
        name=name,
        source=PackageSource(
            repository=name,
            versions=tuple(
                PackageVersion(
                    name=version,
                    digest=digest,
                    images=images,
                    schema=encode_schema(schema, origin=name),
                    dependencies=dependencies,
                )
                for version, digest in versions
            ),
        ),
    )


def packed(folder: Path, name: str) -> bytes:
    """A chart archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, arcname=f"{name}/{path.relative_to(folder).as_posix()}")
    return out.getvalue()


@contextmanager
def secured_registry(folder: Path) -> Iterator[Mirror]:
    """``bundlectl serve`` over TLS, which lets one user in."""
    folder.mkdir(parents=True)
    (folder / "home").mkdir()
    users, log = folder / "users", folder / "serve.log"
    users.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()}\n")
    log.touch()
    program = bundlectl(folder / "home")
    command: list[str | Path] = [program.path, "serve", "--store", folder / "store", "--listen", "127.0.0.1:0"]
    with running(
        [*command, "--tls-self-signed", "--htpasswd", users],
        environment={**program.variables(), "XDG_STATE_HOME": str(folder / "state"), "PYTHONUNBUFFERED": "1"},
        log=log,
        ready=lambda: "listening on https://" in log.read_text(),
    ):
        found = re.search(r"listening on https://(\S+)", log.read_text())
        assert found
        yield Mirror(found[1].rstrip("/"), folder, next((folder / "state").rglob("tls.crt")))


@contextmanager
def secured_docker_registry(folder: Path) -> Iterator[Mirror]:
    """Debian's docker-registry over TLS, which lets one user in."""
    folder.mkdir(parents=True)
    files = self_signed(folder / "tls", "127.0.0.1")
    users, log, port = folder / "users", folder / "registry.log", free_port()
    users.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()}\n")
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "auth": {"htpasswd": {"realm": "site", "path": str(users)}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "secret": "not a secret",
            "tls": {"certificate": str(files.certificate), "key": str(files.key)},
        },
    }
    written = folder / "registry.yml"
    written.write_text(json.dumps(configuration))  # JSON is YAML
    with running(
        [provided("docker-registry"), "serve", written],
        environment={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        log=log,
        ready=lambda: listens(port),
    ):
        yield Mirror(f"127.0.0.1:{port}", folder, files.certificate)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass
class Site:
    """A cluster that the controller runs for, and what is asked of it."""

    cluster: Cluster
    mirror: Mirror
    name: str
    kubeconfig: Path
    folder: Path

    @property
    def namespace(self) -> str:
        return f"{HOME}-{self.name}"

    def apply(self, document: dict[str, Any]) -> Any:
        return self.cluster.apply(document)[0]

    def activate(self, bundle: dict[str, Any], **spec: Any) -> None:
        self.apply(bundle)
        self.apply(self.controller(activeBundle=bundle["metadata"]["name"], **spec))

    def controller(self, **spec: Any) -> dict[str, Any]:
        registries = {"defaultRegistry": self.mirror.registry, "defaultImageRegistry": self.mirror.registry}
        return api_object("PackageBundleController", self.name, HOME, {**registries, "createNamespace": True, **spec})

    def install(self, name: str, package: str, *, config: Any = None, namespace: str | None = None, **spec: Any) -> Any:
        """Apply a Package."""
        target = {"targetNamespace": self.namespace if namespace is None else namespace} if namespace != "" else {}
        given = {"config": config if isinstance(config, str) else json.dumps(config)} if config is not None else {}
        return self.apply(
            api_object("Package", name, self.namespace, {"packageName": package, **target, **given, **spec})
        )

    def path(self, kind: str, name: str, namespace: str | None = None) -> str:
        return path_of(api_object(kind, name, namespace or self.namespace, {}))

    def package(self, name: str) -> Any:
        return self.cluster.get(self.path("Package", name))

    def status(self, name: str) -> Any:
        return self.package(name).get("status") or {}

    def wait(self, name: str, within: float = 40.0, **expected: str) -> Any:
        """Wait until fields of a Package's status begin as expected, and are about what its spec says now."""

        def holds() -> Any:
            package = self.package(name)
            status = package.get("status") or {}
            if status.get("observedGeneration") != package["metadata"]["generation"]:
                return None
            return status if all(str(status.get(k, "")).startswith(v) for k, v in expected.items()) else None

        try:
            return wait_for(holds, f"{name} is {expected}", within)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {json.dumps(self.status(name), indent=1)}") from None

    def wait_gone(self, name: str, within: float = 40.0) -> None:
        def gone() -> bool:
            return not any(
                item["metadata"]["name"] == name
                for item in self.cluster.get(self.path("Package", "x").rpartition("/")[0])["items"]
            )

        wait_for(gone, f"{name} is gone", within)

    def events(self, name: str) -> list[tuple[str, str]]:
        found = self.cluster.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [(item["reason"], item["message"]) for item in found if item["involvedObject"]["name"] == name]

    def deployment(self, name: str, namespace: str | None = None) -> Any:
        return self.cluster.get(f"/apis/apps/v1/namespaces/{namespace or self.namespace}/deployments/{name}")

    @contextmanager
    def running(self, helm: str, *options: str, name: str = "controller") -> Iterator[Controller]:
        """The controller as a process, from the moment it serves."""
        log = self.folder / f"{name}.log"
        if log.exists():
            log.unlink()
        program = bundlectl(self.folder)
        command: list[str | Path] = [
            program.path, "controller", "run", "--cluster-name", self.name, "--kubeconfig", self.kubeconfig,
            "--helm", provided(helm), "--key", self.mirror.key, "--listen", "127.0.0.1:0",
        ]  # fmt: skip
        if not any(option.startswith("--webhook-listen") for option in options):
            command.append("--webhook-listen=")
        ready = lambda: '"message": "serving"' in (log.read_text() if log.exists() else "")  # noqa: E731
        with running([*command, *options], environment=program.variables(), log=log, ready=ready) as process:
            yield Controller(process.pid, log)


@contextmanager
def in_process(site: Site, helm: str, **options: Any) -> Iterator[Service]:
    """The controller in this process, with what no option of the command line says."""
    folder = site.folder / f"in-process-{time.monotonic_ns()}"
    folder.mkdir(mode=0o700)
    key = NamedKey("site.pub", site.mirror.signer.public_key)
    wanted = ServiceOptions(
        cluster=site.name,
        kubeconfig=site.kubeconfig,
        helm=provided(helm),
        folder=folder,
        belief=Belief(mode="key", key=key),
        connection=Connection(),
        listen=("127.0.0.1", 0),
        webhook_listen=None,
        webhook_host="127.0.0.1",
        **options,
    )
    with Service(connect_with_file(site.kubeconfig, site.name), wanted, Log(lambda line: None)) as service:  # noqa: ARG005
        service.start()
        yield service


@dataclass(frozen=True)
class Controller:
    """A running controller."""

    pid: int
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if '"level"' in line]

    @property
    def url(self) -> str:
        return str(next(line["url"] for line in self.lines() if line["message"] == "serving"))

    def helms(self) -> list[int]:
        """The process ids of the helm programs that it runs."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.pid:
                    found.append(int(stat.parent.name))
        return found

    def memory(self) -> int:
        """Bytes of its resident memory, at most."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", text)
        assert found
        return int(found[1]) * 1024


def api_object(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "packages.eks.amazonaws.com/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def prepare(cluster: Cluster, mirror: Mirror, name: str, folder: Path) -> Site:
    """Give a cluster the kinds, the controller's account, and a namespace with an installer that may do all in it."""
    define(cluster, load_definitions())
    wanted = Installation(image="registry.example/bundlectl:v0", clusters=(name,))
    for document in [*installation(wanted), *cluster_objects(name)]:
        if document["kind"] not in (
            "Deployment",
            "Service",
            "ValidatingWebhookConfiguration",
            "CustomResourceDefinition",
        ):
            cluster.apply(document)
    namespace = f"{HOME}-{name}"
    may_do_all_in(cluster, namespace, namespace)
    data = {"ENDPOINT": mirror.host}
    if mirror.certificate:
        data |= {"USERNAME": USER, "PASSWORD": PASSWORD, "CACERTCONTENT": mirror.certificate.read_text()}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": "registry-mirror-secret", "namespace": HOME}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})
    folder.mkdir(parents=True, exist_ok=True)
    path = f"/api/v1/namespaces/{HOME}/serviceaccounts/bundlectl-controller/token"
    token = cluster.call("POST", path, {"spec": {"expirationSeconds": 7200}})[0]["status"]["token"]
    kubeconfig = cluster.write_kubeconfig(folder / "controller.kubeconfig", token)
    return Site(cluster, mirror, name, kubeconfig, folder)


def may_do_all_in(cluster: Cluster, packages: str, target: str) -> None:
    """Let the installer of a namespace of Packages do everything in a target namespace."""
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": "package-installer", "namespace": packages}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"installer-of-{packages}", "namespace": target},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [account],
    }
    cluster.apply(binding)
    user = f"system:serviceaccount:{packages}:package-installer"
    asked = {"user": user, "resourceAttributes": {"namespace": target, "verb": "list", "resource": "secrets"}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    wait_for(lambda: cluster.call("POST", path, {"spec": asked})[0]["status"]["allowed"], f"{user} may install")


def kubeconfig_in_itself(cluster: Cluster) -> dict[str, Any]:
    """A kubeconfig that names no file."""
    given = json.loads(cluster.kubeconfig.read_text())
    authority = base64.b64encode(cluster.authority.read_bytes()).decode()
    given["clusters"][0]["cluster"] = {"server": cluster.url, "certificate-authority-data": authority}
    return dict(given)


def tell_of(site: Site, cluster: str, kubeconfig: dict[str, Any]) -> None:
    """Do what EKS Anywhere does for a workload cluster, and ``controller manifests`` beside it."""
    with_others = Installation(image="registry.example/bundlectl:v0", clusters=(site.name, cluster))
    site.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "eksa-system"}})
    for document in installation(with_others):
        if document["kind"] in ("Namespace", "ServiceAccount", "Role", "RoleBinding"):
            site.cluster.apply(document)
    value = base64.b64encode(json.dumps(kubeconfig).encode()).decode()
    metadata = {"name": f"{cluster}-kubeconfig", "namespace": "eksa-system"}
    site.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"value": value}})
