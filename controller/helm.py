"""The real helm, 3 or 4, as a process: local chart files, values by standard input, its own folders, no registry."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, ConfigError
from bundles.helm.archive import read_chart_file
from bundles.helm.schemas import refers_elsewhere
from controller.encoding import encode_json
from mirror.filesystem import mapped_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO

__all__ = ["Helm", "HelmError", "HelmTarget", "find_helm"]

_VERSION: Final = re.compile(r"v?([34])\.([0-9]+)")
_SECONDS: Final = 300.0
_MARGIN: Final = 15.0
"""Seconds by which helm gives up before it is killed: killed, it could not write down that it failed."""
_OUTPUT_LIMIT: Final = 32 * 1024 * 1024
_ERROR_LIMIT: Final = 64 * 1024
_KEPT_ERRORS: Final = 2000
_HISTORY: Final = 10
_OLDEST: Final = 13
_GONE_WITHIN: Final = "60s"
_LOOK: Final = 0.02
_NOT_FOUND: Final = "release: not found"
_NOISE: Final = re.compile(r"^(?:WARNING|level=|I[0-9]{4} |W[0-9]{4} |[a-z_]+\.go:[0-9]+: ).*$", re.MULTILINE)
_UNDELETED: Final = re.compile(r'Failed to delete release(?:: |" error=")\[?(.*?)\]?"?$', re.MULTILINE)


class HelmError(BundlectlError):
    """helm said no. ``missing`` says that it knows no such release."""

    code = "helm"

    def __init__(self, message: str, *, artifact: str, missing: bool = False, hint: str | None = None) -> None:
        super().__init__(message, artifact=artifact, hint=hint)
        self.missing = missing


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmTarget:
    """Where helm works.

    Args:
        kubeconfig: of mode 0600.
        namespace: of the release.
        as_user: whom to impersonate; the user of the kubeconfig when empty.
    """

    kubeconfig: Path
    namespace: str
    as_user: str = ""


def find_helm(explicit: Path | None, search: str) -> Path:
    """Find the program.

    Args:
        explicit: as the user named it; None to search.
        search: folders, as in ``PATH``.

    Raises:
        ConfigError: there is none.
    """
    found = which(str(explicit) if explicit else "helm", path=search)
    if found is None:
        raise ConfigError(
            f"{explicit or 'helm'} is no program here", hint="install helm 3 or 4, or name it with --helm FILE"
        )
    return Path(found).absolute()


class Helm:
    """Runs helm. Thread-safe; every process it starts can be killed from another thread.

    Args:
        program: its absolute path.
        folder: of mode 0700, made when it is not there: helm's own homes.
        seconds: that one run may take; hooks of a chart are waited for, pods are not.
        grace: seconds that a helm which is to be killed gets to write down that it was stopped.
        environment: of the user that helm acts for, whose kubeconfig may name programs; nothing of it says how
            helm works.
        may_start: asked before a run for a release: between `kill` and what makes it necessary time may pass, such as
            that for which this process was stopped.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        seconds: float = _SECONDS,
        grace: float = 0.0,
        environment: Mapping[str, str] | None = None,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        self.program = program
        self._folder = folder
        self._seconds = seconds
        self._grace = grace
        self._environment = _environment(folder, environment or {})
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()
        self._may_start = may_start
        with mapped_errors(folder, action="make"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @cached_property
    def major(self) -> int:
        """3 or 4.

        Raises:
            ConfigError: it is another version, or does not run.
        """
        said = self._run(("version", "--template", "{{.Version}}"), self.program.name).decode("utf-8", "replace")
        match = _VERSION.match(said.strip())
        if match is None or (match[1] == "3" and int(match[2]) < _OLDEST):
            raise ConfigError(
                f"says it is version {said.strip()[:50]!r}",
                artifact=str(self.program),
                hint=f"helm 4 is needed, or 3.{_OLDEST} and newer, which can label what it installs",
            )
        return int(match[1])

    def install(
        self,
        target: HelmTarget,
        release: str,
        chart: Path,
        values: Mapping[str, Any],
        *,
        labels: Mapping[str, str] | None = None,
        description: str = "",
    ) -> None:
        """Install a chart, or upgrade the release to it; pods are not waited for. Values replace earlier ones.

        Args:
            target: where.
            release: its name.
            chart: a ``.tgz`` on disk that was verified.
            values: all of them; what they leave out is as the chart has it.
            labels: of the record; ``null`` takes one away that an earlier revision has.
            description: of the revision.

        Raises:
            HelmError: helm failed, took too long, or was killed.
            ContentError: the file is not a chart.
        """
        options = [*_upgrade(release, chart)]
        if labels:
            options += ["--labels", ",".join(f"{name}={value}" for name, value in sorted(labels.items()))]
        if description:
            options += ["--description", description]
        with self._values(values) as given:
            self._act(options, target, release, given)

    def rollback(self, target: HelmTarget, release: str, revision: int) -> None:
        """Go back to a revision, as a new one.

        Raises:
            HelmError: helm failed.
        """
        self._act(("rollback", release, str(revision)), target, release)

    def uninstall(self, target: HelmTarget, release: str) -> None:
        """Take a release away with all that it has, and wait until that is gone; harmless when there is none.

        Raises:
            HelmError: helm failed.
        """
        with contextlib.suppress(_MissingReleaseError):
            # Why something cannot be deleted is told to those alone who debug.
            options = ("uninstall", release, "--ignore-not-found", "--wait", "--timeout", _GONE_WITHIN, "--debug")
            self._ask(options, target, release)

    def history(self, target: HelmTarget, release: str) -> list[dict[str, Any]]:
        """The revisions, the oldest first, as ``helm history --output json`` tells them; empty for no release.

        Raises:
            HelmError: helm failed.
        """
        try:
            found = json.loads(self._ask(("history", release, "--output", "json"), target, release))
        except _MissingReleaseError:
            return []
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []

    def manifest(self, target: HelmTarget, release: str, *, revision: int | None = None) -> str:
        """The documents of a revision, the last by default, as YAML.

        Raises:
            HelmError: helm failed, or there is no such release (``missing``).
        """
        which_one = ("--revision", str(revision)) if revision is not None else ()
        return self._ask(("get", "manifest", release, *which_one), target, release).decode("utf-8", "replace")

    def render(self, target: HelmTarget, release: str, chart: Path, values: Mapping[str, Any]) -> str:
        """What would be applied, as YAML, with what the cluster can do in mind; nothing is changed.

        Raises:
            HelmError: helm failed.
            ContentError: the file is not a chart.
        """
        options = (*_upgrade(release, chart), "--dry-run=server", "--output", "json")
        with self._values(values) as given:
            found = json.loads(self._ask(options, target, release, given))
        return str(found.get("manifest", "")) if isinstance(found, dict) else ""

    def kill(self) -> None:
        """Kill whatever runs, and start nothing any more until `revive`. May be called from any thread."""
        with self._lock:
            self._stopped.set()
            running = list(self._running)
        if self._grace:
            for process in running:
                process.terminate()
            deadline = time.monotonic() + self._grace
            while time.monotonic() < deadline and any(process.returncode is None for process in running):
                time.sleep(_LOOK)
        for process in running:
            _kill(process)

    def revive(self) -> None:
        """Let helm be started again."""
        with self._lock:
            self._stopped.clear()

    def _act(self, options: Sequence[str], target: HelmTarget, release: str, given: IO[bytes] | None = None) -> None:
        timeout = f"{max(1.0, self._seconds - _MARGIN):g}s"
        # helm 4 applies on the server's side, where a field that somebody else changed is a conflict.
        repairing = ("--force-conflicts", "--server-side=true") if self.major >= 4 else ()  # noqa: PLR2004
        kept = ("--history-max", str(_HISTORY), "--timeout", timeout)
        self._ask((*options, *kept, *repairing), target, release, given)

    def _ask(self, options: Sequence[str], target: HelmTarget, release: str, given: IO[bytes] | None = None) -> bytes:
        if not self._may_start():
            raise HelmError("helm is not started: this replica does not lead any more", artifact=release)
        reached = ["--kubeconfig", str(target.kubeconfig), "--namespace", target.namespace]
        if target.as_user:
            reached += ["--kube-as-user", target.as_user]
        return self._run((*options, *reached), f"{target.namespace}/{release}", given)

    @contextlib.contextmanager
    def _values(self, values: Mapping[str, Any]) -> Iterator[IO[bytes]]:
        """An open file with the values. It has no name: nothing of them stays when this is killed."""
        with mapped_errors(self._folder, action="write"):
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 -- closed below, errors of others not mapped
        with file:
            with mapped_errors(self._folder, action="write"):
                file.write(encode_json(dict(values)))
                file.seek(0)
            yield file

    def _run(self, options: Sequence[str], artifact: str, given: IO[bytes] | None = None) -> bytes:
        with self._lock:
            if self._stopped.is_set():
                raise HelmError("helm is not started: it was stopped", artifact=artifact)
            process = self._start(options, given)
            self._running.add(process)
        try:
            output, errors, late = _collect(process, self._seconds)
        finally:
            with self._lock:
                self._running.discard(process)
                stopped = self._stopped.is_set()
        if process.returncode == 0 and not late:
            return output
        said = _said(errors.decode("utf-8", "replace"))
        if _NOT_FOUND in said:
            raise _MissingReleaseError(said, artifact=artifact, missing=True)
        if late:
            said = f"helm {options[0]} took longer than {self._seconds:g} seconds. {said}"
        elif stopped:
            said = f"helm {options[0]} was stopped"
        elif len(output) > _OUTPUT_LIMIT:
            said = f"helm {options[0]} printed more than {_OUTPUT_LIMIT} bytes"
        raise HelmError(said[:_KEPT_ERRORS] or f"helm {options[0]} ended with {process.returncode}", artifact=artifact)

    def _start(self, options: Sequence[str], given: IO[bytes] | None) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 -- the program is the user's, no shell is involved
                [str(self.program), *options],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL if given is None else given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigError(
                f"helm could not be started: {error.strerror}", artifact=str(self.program), hint="check --helm"
            ) from error


def _upgrade(release: str, chart: Path) -> tuple[str, ...]:
    options = ("upgrade", release, str(chart.absolute()), "--install", "--values", "-")
    # helm would fetch what the schema refers to; to the bundle's own schema the configuration was held before.
    return (*options, "--skip-schema-validation") if refers_elsewhere(read_chart_file(chart)) else options


def _said(errors: str) -> str:
    """What helm says went wrong, without what it says besides."""
    if undeleted := _UNDELETED.search(errors):
        return f"failed to delete: {undeleted[1]}".replace('\\"', '"')
    said, _, _ = errors.partition("\nhelm.go:")  # where in its own text it was
    return _NOISE.sub("", said).strip().removeprefix("Error: ")


class _MissingReleaseError(HelmError):
    pass


def _collect(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bytes, bool]:
    """What it printed on both streams, bounded, and whether it took too long; it has ended when this returns."""
    late: list[bool] = []

    def expire() -> None:
        late.append(True)
        _kill(process)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    errors = bytearray()
    out, err = process.stdout, process.stderr
    if out is None or err is None:
        raise ConfigError("helm was started without pipes")

    def drain() -> None:
        while block := err.read(4096):
            errors.extend(block[: max(0, _ERROR_LIMIT - len(errors))])

    reader = threading.Thread(target=drain, name="helm-errors", daemon=True)
    output = bytearray()
    with out, err:
        timer.start()
        reader.start()
        try:
            while len(output) <= _OUTPUT_LIMIT and (block := out.read(65536)):
                output += block
            if len(output) > _OUTPUT_LIMIT:
                _kill(process)
            process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                _kill(process)
                process.wait()
            reader.join()
    return bytes(output), bytes(errors), bool(late)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill helm and whatever it started; one that ended is left alone, for its number may be another's by now."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _environment(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    homes = {f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    return {
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        **{name: value for name, value in given.items() if not name.startswith("HELM_")},
        **homes,
        "HELM_NO_PLUGINS": "1",
        "HELM_PLUGINS": str(folder / "plugins"),
        "HELM_REGISTRY_CONFIG": str(folder / "registry.json"),
        "HELM_REPOSITORY_CONFIG": str(folder / "repositories.yaml"),
        "HELM_REPOSITORY_CACHE": str(folder / "repository"),
        "KUBECACHEDIR": str(folder / "kube"),
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
    }
