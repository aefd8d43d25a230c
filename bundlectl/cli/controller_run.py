"""``bundlectl controller run``."""

import logging
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.options import Format, FormatOptions, TransportOptions, TrustOptions
from bundlectl.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.api import Api
    from controller.logs import Log
    from controller.service import Service

__all__ = ["register_run"]

_LOOK: Final = 0.5
"""Seconds between two looks for a signal."""

_ClusterName = Annotated[
    str,
    option(
        "--cluster-name",
        metavar="NAME",
        show_default=False,
        help="The name of the cluster that it runs in; else CLUSTER_NAME.",
    ),
]
_OwnKubeconfig = Annotated[
    Path | None,
    option(
        "--kubeconfig",
        metavar="FILE",
        show_default=False,
        help="How that cluster is reached; without it this is a pod, and its account is used.",
    ),
]
_Helm = Annotated[
    Path | None,
    option("--helm", metavar="FILE", show_default=False, help="The program helm, 3 or 4; else looked for in PATH."),
]
_Key = Annotated[
    str,
    option(
        "--key",
        metavar="KEY",
        show_default=False,
        help="Whose signature bundles need; else EKSA_PUBLIC_KEY, else AWS's.",
    ),
]
_AutoActivate = Annotated[
    bool, option("--auto-activate", help="Set the newest bundle active where none is set; never a newer one.")
]
_ReadyWithin = Annotated[
    int,
    option(
        "--ready-within",
        metavar="SECONDS",
        min=1,
        max=86400,
        help="How long an upgrade may take to become ready before it is rolled back.",
    ),
]
_Listen = Annotated[
    str,
    option("--listen", metavar="HOST:PORT", help="Where /metrics, /healthz and /readyz are; port 0: a free one."),
]
_WebhookListen = Annotated[
    str,
    option("--webhook-listen", metavar="HOST:PORT", help="Where admission is served over TLS; empty: nowhere."),
]
_WebhookHost = Annotated[
    str, option("--webhook-host", metavar="NAME", help="By which name the API server calls the webhook.")
]


def register_run(noun: typer.Typer) -> None:
    """Add the command."""

    @command(
        noun,
        "run",
        path="controller",
        examples=(
            "bundlectl controller run --cluster-name site --key site.key.pub",
            "bundlectl controller run --cluster-name site --kubeconfig site.kubeconfig --helm /usr/local/bin/helm",
        ),
    )
    def run(
        invocation: Invocation,
        *,
        cluster_name: _ClusterName = "",
        kubeconfig: _OwnKubeconfig = None,
        helm: _Helm = None,
        key: _Key = "",
        auto_activate: _AutoActivate = False,
        ready_within: _ReadyWithin = 300,
        listen: _Listen = "0.0.0.0:8080",
        webhook_listen: _WebhookListen = "0.0.0.0:9443",
        webhook_host: _WebhookHost = "bundlectl-controller.eksa-packages.svc",
        transport: TransportOptions,
        form: FormatOptions,
    ) -> int:
        """Run the package controller until stopped, beside as many replicas as there are.

        It makes the cluster hold what its Package objects say, from the mirror, and from nothing that a signed
        PackageBundle does not pin. Lines on standard error are JSON. Ctrl-C or SIGTERM ends it with exit code 0.
        """
        from bundlectl.cli.believing import build_trust  # noqa: PLC0415 -- not for --help
        from bundlectl.cli.connection import build_connection  # noqa: PLC0415
        from controller.helm import find_helm  # noqa: PLC0415
        from controller.service import Service, ServiceOptions  # noqa: PLC0415
        from controller.serving import parse_listen  # noqa: PLC0415
        from controller.workspace import workspace  # noqa: PLC0415

        environment = invocation.start.environment
        cluster = cluster_name or environment.cluster_name
        with suppress(KeyboardInterrupt), _json_lines(invocation) as log, workspace() as folder:
            if not cluster:
                raise UsageError("the cluster has no name", hint="name it with --cluster-name NAME, or in CLUSTER_NAME")
            belief = build_trust(invocation, TrustOptions(), key=key).belief
            if belief.mode == "off":
                raise UsageError(
                    "no controller installs what nobody signed",
                    hint="--key says whose signature bundles need; else AWS's",
                )
            api = _connected(kubeconfig, cluster)
            options = ServiceOptions(
                cluster=cluster,
                kubeconfig=_for_helm(kubeconfig, api, folder),
                helm=find_helm(helm, environment.search_path),
                folder=folder,
                belief=belief,
                connection=build_connection(invocation, transport),
                listen=parse_listen(listen, "--listen"),
                webhook_listen=parse_listen(webhook_listen, "--webhook-listen") if webhook_listen else None,
                webhook_host=webhook_host,
                auto_activate=auto_activate,
                ready_within=float(ready_within),
            )
            with Service(api, options, log) as service:
                _run(invocation, service, log, form)
        return 0


@contextmanager
def _json_lines(invocation: Invocation) -> "Iterator[Log]":
    """Have everything that goes to standard error be a JSON object a line, also why it ended."""
    from controller.logs import Log  # noqa: PLC0415 -- not for --help

    lock = threading.Lock()

    def write(line: str) -> None:
        with lock, suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    log = Log(write, debug=invocation.start.debug)
    invocation.console.divert(lambda line: log("info", line))
    records, ended, unraised = _Records(log), threading.excepthook, sys.unraisablehook

    def broke(found: threading.ExceptHookArgs) -> None:
        name = found.thread.name if found.thread else ""
        log("error", "a thread ended", thread=name, error=f"{found.exc_type.__name__}: {found.exc_value}")

    def ignored(found: "sys.UnraisableHookArgs") -> None:
        log("error", "an error was ignored", error=f"{found.exc_type.__name__}: {found.exc_value}")

    threading.excepthook, sys.unraisablehook = broke, ignored
    logging.captureWarnings(capture=True)
    logging.getLogger().addHandler(records)
    try:
        yield log
    except BaseException:
        # What is raised is told by who called this.
        invocation.console.divert(lambda line: log("error", line))
        raise
    else:
        invocation.console.divert(None)
    finally:
        logging.getLogger().removeHandler(records)
        logging.captureWarnings(capture=False)
        threading.excepthook, sys.unraisablehook = ended, unraised


class _Records(logging.Handler):
    """Writes what libraries warn of. Without its arguments: they may quote a whole URL, with what is secret in it."""

    def __init__(self, log: "Log") -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        # What Python itself warns of is all argument, and quotes nothing.
        told = record.getMessage() if record.name == "py.warnings" else str(record.msg)
        self._log("warning", "a library warns", logger=record.name, warning=told[:500])


def _run(invocation: Invocation, service: "Service", log: "Log", form: FormatOptions) -> None:
    """Run until somebody stops it."""
    try:
        service.start()
        log("info", "serving", url=service.url, webhook_port=service.webhook_port)
        _tell(invocation, service, form)
        # In short waits: a signal may reach another thread first, which does not wake this one.
        while True:
            time.sleep(_LOOK)
    except KeyboardInterrupt:
        log("info", "stopping")


def _tell(invocation: Invocation, service: "Service", form: FormatOptions) -> None:
    if form.output is Format.JSON:
        told: dict[str, Any] = {"url": service.url, "webhookPort": service.webhook_port}
        invocation.console.document(told)
    else:
        invocation.console.text(f"listening on {service.url}")


def _for_helm(kubeconfig: Path | None, api: "Api", folder: Path) -> Path:
    """A kubeconfig for helm: the one that was given, or one that says what a pod's account is."""
    if kubeconfig is not None:
        return kubeconfig.absolute()
    from controller.clusters import write_private  # noqa: PLC0415
    from controller.connecting import in_cluster_kubeconfig  # noqa: PLC0415 -- not for --help

    own = folder / "own.kubeconfig"
    write_private(own, in_cluster_kubeconfig(api))
    return own


def _connected(kubeconfig: Path | None, cluster: str) -> "Api":
    """The API server of the own cluster."""
    try:
        from controller.connecting import connect_in_cluster, connect_with_file  # noqa: PLC0415 -- an extra

        return connect_in_cluster(cluster) if kubeconfig is None else connect_with_file(kubeconfig, cluster)
    except ImportError as error:
        raise ConfigError(
            "the controller needs the Python package kubernetes, which is not installed",
            hint="pip install 'bundlectl[controller]'",
        ) from error
