"""The controller as a whole: what is watched, who works, who leads, what is served."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError
from controller.acting import Actor
from controller.activation import BundleReconciler, ControllerReconciler
from controller.certificates import LOOK_INTERVAL, Certificate, Certificates, Rotation
from controller.clusters import Clusters, write_private
from controller.events import COMPONENT, Events
from controller.fairness import Fair, Turns
from controller.helm import Helm
from controller.lease import Leadership
from controller.metrics import CONTENT_TYPE, Metrics
from controller.mirrors import Mirrors
from controller.observing import Memories, Observer
from controller.packages import PackageReconciler
from controller.queue import KeyedQueue
from controller.serving import HttpServer, server_context, text_answer
from controller.trust import Judge
from controller.values import HOME_NAMESPACE, Package, cluster_of, namespace_of
from controller.watching import Objects
from controller.webhook import ROUTES, Admission
from controller.working import Key, Workers
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundlectl.operations.session import Connection
    from bundles.belief import Belief
    from controller.api import Api
    from controller.logs import Log
    from controller.serving import Answer

__all__ = ["Service", "ServiceOptions"]

_WORKERS: Final = 4
_GRACE: Final = 10.0
_IDENTITY: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_LISTED_WITHIN: Final = 60.0
_LINGERS: Final = 3.0
"""Seconds for which admission is still served at the end: it takes so long until nobody is sent here any more."""
_ELECTION: Final = 2.5
"""Seconds that an answer about the Lease may take: before a leader gives up there is time for two that never come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """How the controller runs.

    Args:
        cluster: the name of the cluster that it runs in.
        kubeconfig: that helm reaches this cluster with.
        helm: the program.
        folder: private to this process.
        belief: whose signature of bundles counts.
        connection: how the mirror is reached, beside what its Secret says.
        listen: health and metrics.
        webhook_listen: admission; None for none.
        webhook_host: by which the API server calls it.
        auto_activate: set the newest bundle active where none is.
        ready_within: seconds that a package may take to become ready.
        drift_interval: seconds between two looks for drift, by default as AWS's controller compares values.
    """

    cluster: str
    kubeconfig: Path
    helm: Path
    folder: Path
    belief: Belief
    connection: Connection = field(repr=False)
    listen: tuple[str, int]
    webhook_listen: tuple[str, int] | None
    webhook_host: str
    auto_activate: bool = False
    ready_within: float = 300.0
    drift_interval: float = 180.0


class Service(Closing):
    """A running controller; to be closed.

    Args:
        api: of the cluster that it runs in.
        options: how it runs.
        log: gets lines.

    Raises:
        ConfigError: an address cannot be listened on, or helm does not run.
        StoreError: the folder cannot be used.
    """

    def __init__(self, api: Api, options: ServiceOptions, log: Log) -> None:
        self._api = api
        self._options = options
        self._log = log
        # Each start is another holder: what an earlier one left half done is known by its name.
        self.identity = f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}"
        self.metrics = Metrics()
        self._queue: KeyedQueue[Key] = KeyedQueue()
        self._packages = Objects(api, "Package", self._package_changed)
        self._bundles = Objects(api, "PackageBundle", self._bundle_changed)
        self._controllers = Objects(api, "PackageBundleController", self._controller_changed)
        self._all = (self._controllers, self._bundles, self._packages)
        self._clusters = Clusters(api, options.cluster, options.kubeconfig, options.folder / "clusters")
        self._mirrors = Mirrors(api, options.cluster, options.connection, options.folder)
        self._helm = Helm(options.helm, options.folder / "helm", may_start=self._may_write)
        self._memories = Memories(options.drift_interval)
        self._observer = Observer(
            packages=self._packages,
            bundles=self._bundles,
            controllers=self._controllers,
            clusters=self._clusters,
            mirrors=self._mirrors,
            judge=Judge(options.belief),
            holder=self.identity,
            ready_within=options.ready_within,
            drift_interval=options.drift_interval,
        )
        self._lead = Leadership(
            api.within(_ELECTION),
            f"{HOME_NAMESPACE}/{COMPONENT}",
            self.identity,
            gained=self._gained,
            lost=self._lost,
            failed=self._not_elected,
        )
        self._workers = Workers(
            self._queue,
            self._reconcilers(),
            _WORKERS,
            may_write=self._may_write,
            metrics=self.metrics,
            log=log,
        )
        self._stopped = threading.Event()
        self._cut_off = threading.Event()
        self._web: HttpServer | None = None
        self._admission: HttpServer | None = None

    @property
    def url(self) -> str:
        """Where health and metrics are."""
        host = self._options.listen[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{self._web.port if self._web else 0}"

    @property
    def webhook_port(self) -> int:
        """Where admission is served; 0 when it is not."""
        return self._admission.port if self._admission else 0

    def start(self) -> None:
        """Begin to serve, to watch, and to take part in the election.

        Raises:
            ConfigError: see the class; or the cluster does not know the kinds.
            ClusterError: the API server does not answer.
        """
        self._log("info", "starting", identity=self.identity, helm=f"helm {self._helm.major}")
        for name, read in (("leader", self._leader), ("queue_depth", self._depth), ("packages", self._states)):
            self.metrics.gauge(name, read)
        reads = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        self._web = HttpServer(self._options.listen, reads=reads, broken=self._broken)
        self._web.start()
        for objects in self._all:
            objects.start()
        for objects in self._all:
            if not objects.listed.wait(_LISTED_WITHIN):
                raise ConfigError(
                    f"the cluster does not list its objects: {objects.trouble or 'no answer'}",
                    artifact=self._api.name,
                    hint="apply the definitions first: "
                    "bundlectl controller manifests | kubectl apply --server-side -f -",
                )
        if self._options.webhook_listen is not None:
            # Not before the objects are known that it judges by.
            self._serve_admission(self._options.webhook_listen)
        self._lead.start()
        self._workers.start()

    def close(self) -> None:
        """End what is under way, then let go of the Lease, so that another replica leads at once; last, admission."""
        self._stopped.set()
        began = time.monotonic()
        if self._admission is not None:
            self._admission.drain()
        try:
            self._workers.stop(_GRACE)
        finally:
            # What is cut off by this did not fail, and is not to be told as if it had.
            self._cut_off.set()
            self._helm.kill()
        self._lead.resign()
        if self._admission is not None:
            time.sleep(max(0.0, began + _LINGERS - time.monotonic()))
        for server in (self._web, self._admission):
            if server is not None:
                server.stop()
        for objects in self._all:
            objects.stop()
        self._mirrors.close()
        self._clusters.close()
        self._api.close()

    def _may_write(self) -> bool:
        return self._lead.holds and not self._cut_off.is_set()

    def _reconcilers(self) -> Mapping[str, Any]:
        events = Events(self._api, self.identity, self._log)
        packages = PackageReconciler(
            api=self._api,
            observer=self._observer,
            actor=Actor(self._api, self._observer, self._helm),
            memories=self._memories,
            events=events,
            metrics=self.metrics,
            log=self._log,
            may_write=self._may_write,
        )
        controllers = ControllerReconciler(
            self._api,
            self._observer,
            events,
            self.metrics,
            auto_activate=self._options.auto_activate,
            may_write=self._may_write,
        )
        own = self._options.cluster
        turns = Turns(own, _WORKERS)
        return {
            "Package": Fair(packages, lambda key: cluster_of(key.partition("/")[0], own) or "", turns),
            "PackageBundle": BundleReconciler(self._api, self._observer, events, self.metrics),
            "PackageBundleController": Fair(controllers, lambda key: key.partition("/")[2], turns),
        }

    def _package_changed(self, key: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        if _matters(before, after):
            self._queue.put(("Package", key))
        state = [(item or {}).get("status", {}).get("state") for item in (before, after)]
        if state[0] != state[1] or after is None:
            # Others of its namespace may wait for it.
            for item in self._packages.all(key.partition("/")[0]):
                other = Package.from_json(item)
                if other.metadata.key != key and other.status.state == "installing dependencies":
                    self._queue.put(("Package", other.metadata.key))

    def _bundle_changed(self, key: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        self._queue.put(("PackageBundle", key))
        if not _matters(before, after):
            return
        name = key.partition("/")[2]
        for item in self._controllers.all(HOME_NAMESPACE):
            if (item.get("spec") or {}).get("activeBundle") == name:
                self._queue.put(("PackageBundleController", f"{HOME_NAMESPACE}/{item['metadata']['name']}"))
                self._put_cluster(item["metadata"]["name"])
        if after is None:
            self._put_all("PackageBundleController", self._controllers)

    def _controller_changed(self, key: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        if _matters(before, after):
            self._queue.put(("PackageBundleController", key))
            self._put_cluster(key.partition("/")[2])

    def _put_cluster(self, cluster: str) -> None:
        """Have all Packages of a cluster looked at."""
        namespaces = [namespace_of(cluster), *([HOME_NAMESPACE] if cluster == self._options.cluster else [])]
        for namespace in namespaces:
            for item in self._packages.all(namespace):
                self._queue.put(("Package", f"{namespace}/{item['metadata']['name']}"))

    def _put_all(self, kind: str, objects: Objects) -> None:
        for item in objects.all():
            metadata = item["metadata"]
            self._queue.put((kind, f"{metadata.get('namespace', '')}/{metadata['name']}"))

    def _gained(self) -> None:
        self._log("info", "this replica leads", identity=self.identity)
        self._helm.revive()
        self._memories.forget_all()
        for kind, objects in (
            ("PackageBundle", self._bundles),
            ("PackageBundleController", self._controllers),
            ("Package", self._packages),
        ):
            self._put_all(kind, objects)

    def _lost(self) -> None:
        self._log("warning", "this replica does not lead any more", identity=self.identity)
        self._helm.kill()

    def _not_elected(self, trouble: str) -> None:
        self._log("warning", "the Lease was not read or written", error=trouble)

    def _serve_admission(self, listen: tuple[str, int]) -> None:
        certificates = Certificates(self._api, self._options.webhook_host, COMPONENT)
        crt, key = self._options.folder / "webhook.crt", self._options.folder / "webhook.key"

        def write(shown: Certificate) -> None:
            write_private(crt, shown.certificate)
            write_private(key, shown.key)

        def show(shown: Certificate) -> None:
            write(shown)
            context.load_cert_chain(crt, key)

        current = certificates.current()
        write(current)
        context = server_context(crt, key)
        admission = Admission(self._observer, self._whoami(), self.metrics)

        def route(kind: str) -> Any:  # noqa: ANN401 -- a route
            return lambda review: admission.review(kind, review)

        reviews = {path: route(kind) for path, kind in ROUTES.items()}
        self._admission = HttpServer(listen, reviews=reviews, context=context, broken=self._broken)
        self._admission.start()
        certificates.announce(current)
        rotation = Rotation(certificates, current, show)

        def keep() -> None:
            trouble = ""
            while not self._stopped.wait(LOOK_INTERVAL):
                before, trouble = trouble, ""
                try:
                    rotation.turn()
                except Exception as error:  # noqa: BLE001 -- unseen, it would end with the certificate, a year later
                    trouble = f"{type(error).__name__}: {error}"
                if trouble not in ("", before):
                    self._log("warning", "the webhook's certificate was not looked after", error=trouble)

        threading.Thread(target=keep, name="certificates", daemon=True).start()

    def _whoami(self) -> str:
        """The controller's own user, as the API server calls it."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        found = self._api.create(_IDENTITY, body)
        return str(((found.get("status") or {}).get("userInfo") or {}).get("username", ""))

    def _leader(self) -> dict[str, float]:
        return {"": float(self._lead.holds)}

    def _depth(self) -> dict[str, float]:
        return {"": float(len(self._queue))}

    def _states(self) -> dict[str, float]:
        states = Counter((item.get("status") or {}).get("state") or "none" for item in self._packages.all())
        return {state: float(count) for state, count in states.items()}

    def _broken(self, error: Exception) -> None:
        self._log("error", "a request was not answered", error=f"{type(error).__name__}: {error}")

    def _healthz(self) -> Answer:
        """Whether everything that was started still goes on: what ended by a fault of ours takes a new process."""
        dead = [thread.name for thread in (*self._all, self._lead, *self._workers.threads) if _has_ended(thread)]
        if dead and not self._stopped.is_set():
            return text_answer(500, f"ended: {', '.join(dead)}\n")
        return text_answer(200, "ok\n")

    def _readyz(self) -> Answer:
        if self._stopped.is_set():
            return text_answer(503, "not ready: it stops\n")
        unknown = [objects.trouble for objects in self._all if not objects.listed.is_set()]
        if unknown:
            return text_answer(503, f"not ready: {unknown[0] or 'objects are being listed'}\n")
        if self._options.webhook_listen is not None and self._admission is None:
            return text_answer(503, "not ready: admission is not served yet\n")
        # An API server that was away would else find nobody to ask, when it is back, until all is listed again.
        troubles = [part.trouble for part in (*self._all, self._lead) if part.trouble]
        return text_answer(200, f"ok, but: {troubles[0]}\n" if troubles else "ok\n")

    def _metrics(self) -> Answer:
        return text_answer(200, self.metrics.render(), CONTENT_TYPE)


def _has_ended(thread: threading.Thread) -> bool:
    return thread.ident is not None and not thread.is_alive()


def _matters(before: dict[str, Any] | None, after: dict[str, Any] | None) -> bool:
    """Whether more than the status of an object changed."""
    if before is None or after is None:
        return True

    def wanted(item: dict[str, Any]) -> str:
        metadata = item.get("metadata", {})
        kept = {name: metadata.get(name) for name in ("annotations", "labels", "deletionTimestamp", "finalizers")}
        return json.dumps([kept, item.get("spec")], sort_keys=True)

    return wanted(before) != wanted(after)
