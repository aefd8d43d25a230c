"""Where the commands of ``packages`` find bundles, and how they reach registry, cluster and helm."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from bundlectl.cli.command import option
from bundlectl.cli.connection import build_connection, build_request
from bundlectl.cli.options import SelectionOptions, SourceOptions
from bundlectl.cli.running import run_session
from bundlectl.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bundlectl.cli.command import Invocation
    from bundlectl.cli.options import TransportOptions, TrustOptions
    from bundlectl.operations.packages import FoundBundle
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.plan import Naming
    from controller.charts import ChartFetcher
    from controller.helm import Helm
    from controller.packages_cluster import ClusterAccess
    from controller.packages_state import Wait
    from controller.values import Package

__all__ = [
    "BundlePlace",
    "Found",
    "KubeVersion",
    "Registry",
    "Store",
    "find_bundles",
    "installing",
    "open_cluster",
    "run_packages",
    "waiting",
]

_Result = TypeVar("_Result")

_LOOK: Final = 0.1
"""Seconds between two looks whether helm is to be stopped."""
_GRACE: Final = 0.5
"""Seconds that helm gets then to write down that its operation failed, so that the next can begin at once."""

Registry = Annotated[
    str,
    option(
        "--registry",
        metavar="HOST[:PORT][/PREFIX]",
        show_default=False,
        help="The mirror, as in mirror --to; also where bundles lie right below, as eksctl anywhere takes it.",
    ),
]
Store = Annotated[
    str, option("--store", metavar="DIR[#NAME]", show_default=False, help="A store, or one collection in it.")
]
KubeVersion = Annotated[
    str,
    option(
        "--kube-version",
        metavar="VERSION",
        show_default=False,
        help="The newest bundle for this version, such as 1.33, or the bundle of this name.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePlace:
    """Where bundles are read: exactly one of a registry, a store, or the cluster itself."""

    registry: str = ""
    store: str = ""
    cluster: str = ""
    kubeconfig: Path | None = None
    wanted: str = ""
    """A version of Kubernetes, or the name of a bundle."""

    @property
    def target(self) -> Naming:
        """The registry, as ``mirror --to`` reads it.

        Raises:
            UsageError: it is malformed.
        """
        from bundles.plan import Naming  # noqa: PLC0415 -- not for --help

        return Naming.parse(self.registry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Bundles, and the Packages of the cluster where they came out of one."""

    bundles: tuple[FoundBundle, ...]
    packages: list[Package] | None = field(default=None)


def run_packages(
    invocation: Invocation,
    transport: TransportOptions,
    trust: TrustOptions,
    registry: str,
    work: Callable[[SourceRequest, Session], _Result],
) -> _Result:
    """Run ``work`` with connections, and with how bundles are believed.

    Raises:
        BundlectlError: whatever ``work`` raises, or an option is malformed.
    """
    request = build_request(invocation, (), selection=SelectionOptions(), origin=SourceOptions(), trust=trust)
    connection = build_connection(invocation, transport, trust=trust, target=registry.partition("/")[0])
    return run_session(invocation, connection, lambda session: work(request, session))


def find_bundles(invocation: Invocation, place: BundlePlace, request: SourceRequest, session: Session) -> Found:
    """Read the bundles of a place.

    Raises:
        UsageError: no place is named, or two.
        BundlectlError: what is there cannot be had, or not be believed.
    """
    from bundlectl.operations.packages import bundles_in_registry, bundles_in_store  # noqa: PLC0415 -- not for --help

    if place.registry and place.store:
        raise UsageError("--registry and --store name two places", hint="give one of them")
    if place.registry:
        return Found(bundles=bundles_in_registry(request, place.target, wanted=place.wanted, session=session))
    if place.store:
        return Found(bundles=bundles_in_store(request, place.store, wanted=place.wanted, session=session))
    if not place.cluster:
        raise UsageError(
            "nothing says where packages are", hint="name a --registry, a --store, or the --cluster that has them"
        )
    return _in_cluster(invocation, place, request, session)


def _in_cluster(invocation: Invocation, place: BundlePlace, request: SourceRequest, session: Session) -> Found:
    from bundlectl.operations.packages import FoundBundle, hold_to_policies, is_wanted  # noqa: PLC0415 -- not for --help
    from controller.packages_state import active_bundle, packages_of  # noqa: PLC0415 -- not for --help

    with open_cluster(invocation, place.kubeconfig) as access:
        active = active_bundle(access, place.cluster, belief=request.belief, listener=session.listener)
        packages = packages_of(access, place.cluster)
    document = active.bundle.document
    hold_to_policies(request, document.raw, name=active.bundle.metadata.name, session=session)
    if place.wanted and not is_wanted(active.bundle.metadata.name, place.wanted):
        raise MissingError(
            f"the active bundle is not for {place.wanted}",
            artifact=active.bundle.metadata.name,
            hint="leave out --kube-version, or activate another: bundlectl packages upgrade --bundle-version NAME",
        )
    found = FoundBundle(
        bundle=active.bundle.model,
        raw=document.raw,
        digest=document.digest,
        trust="off" if request.belief.mode == "off" else "signed",
        verified_by=None if request.belief.mode == "off" else active.verified_by,
        origin=f"the cluster {place.cluster}",
    )
    return Found(bundles=(found,), packages=packages)


def open_cluster(invocation: Invocation, kubeconfig: Path | None) -> ClusterAccess:
    """Connect to the cluster of a kubeconfig.

    Raises:
        BundlectlError: there is none, it cannot be used, or the package for that is absent.
    """
    from controller.packages_cluster import ClusterAccess  # noqa: PLC0415 -- kubernetes
    from mirror.http.transport import Transport  # noqa: PLC0415 -- not for --help

    environment = invocation.start.environment
    # As helm, which goes by the same variables.
    transport = Transport(https_proxy=environment.https_proxy, no_proxy=environment.no_proxy)
    return ClusterAccess(kubeconfig or environment.kubeconfig, transport)


@contextmanager
def installing(invocation: Invocation, helm: Path | None, session: Session) -> Iterator[tuple[Helm, ChartFetcher]]:
    """Helm, and what fetches charts for it, with folders of their own as long as this is open.

    Raises:
        ConfigError: there is no helm.
    """
    from controller.charts import ChartFetcher  # noqa: PLC0415 -- not for --help
    from controller.helm import Helm, find_helm  # noqa: PLC0415 -- not for --help

    environment = invocation.start.environment
    program = find_helm(helm, environment.search_path)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bundlectl-packages-")))
        found = Helm(program, folder / "helm", grace=_GRACE, environment=environment.for_programs)
        # A process of its own session would outlive this one.
        ended = threading.Event()
        stack.callback(ended.set)
        threading.Thread(target=_kill_when_cancelled, args=(found, session.cancelled, ended), daemon=True).start()
        yield found, ChartFetcher(session, folder / "charts")


def _kill_when_cancelled(helm: Helm, cancelled: threading.Event, ended: threading.Event) -> None:
    while not ended.wait(_LOOK):
        if cancelled.is_set():
            helm.kill()
            return


def waiting(invocation: Invocation, session: Session, seconds: int) -> Wait:
    """Wait for something, and say on standard error what becomes of it."""
    from controller.packages_state import Wait  # noqa: PLC0415 -- not for --help

    return Wait(float(seconds), invocation.console.note, session.cancelled)
