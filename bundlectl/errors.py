"""The one tree of errors that bundlectl raises.

Libraries raise these and nothing else: errors of the network, of TLS, of AWS or of the
operating system are mapped where they arise. Only the command line prints them and exits.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BundlectlError",
    "ConfigError",
    "ContentError",
    "InterruptError",
    "KeyProviderError",
    "MissingError",
    "RegistryError",
    "StoreError",
    "TransportError",
    "UsageError",
    "VerificationError",
]


class BundlectlError(Exception):
    """Something that bundlectl could not do, told to a person.

    Args:
        message: what failed and why, one sentence without a full stop.
        artifact: the reference, URL or path it failed on.
        hint: what the user can do next.
        retryable: whether the very same attempt may succeed a moment later.
    """

    code: ClassVar[str] = "error"
    """A stable word for programs, shown as ``error.code`` with ``--output json``."""

    exit_code: ClassVar[int] = 1
    """The exit code when this error ends a command (the table of ``cli.md``)."""

    def __init__(
        self,
        message: str,
        *,
        artifact: str | None = None,
        hint: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.artifact = artifact
        self.hint = hint
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.artifact}: {self.message}" if self.artifact else self.message


class UsageError(BundlectlError):
    """The caller asked for something that makes no sense."""

    code = "usage"
    exit_code = 2


class ConfigError(BundlectlError):
    """A configuration file, an environment variable or the machine is not as it must be."""

    code = "config"


class TransportError(BundlectlError):
    """A host could not be reached, or a connection broke (DNS, TCP, TLS, HTTP framing)."""

    code = "transport"


class RegistryError(BundlectlError):
    """A server answered, and the answer was no.

    Args:
        status: the HTTP status code.
        error_code: the server's own word (``DENIED``, ``TOOMANYREQUESTS``), empty when it gave none.
        retry_after: seconds the server asked to wait before another try.
    """

    code = "registry"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_code: str = "",
        retry_after: float | None = None,
        artifact: str | None = None,
        hint: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, artifact=artifact, hint=hint, retryable=retryable)
        self.status = status
        self.error_code = error_code
        self.retry_after = retry_after


class MissingError(BundlectlError):
    """Nothing is wrong with it, it is not there (a manifest, a blob, a file, a volume)."""

    code = "missing"
    exit_code = 4


class ContentError(BundlectlError):
    """Content is not what it should be: digest, size, limit, type or shape."""

    code = "content"
    exit_code = 3


class VerificationError(BundlectlError):
    """A signature or a policy did not hold."""

    code = "verification"
    exit_code = 3


class KeyProviderError(BundlectlError):
    """A key could not be read, opened or used."""

    code = "key"


class StoreError(BundlectlError):
    """The store on disk cannot be used: no space, no permission, damaged, of another version."""

    code = "store"


class InterruptError(BundlectlError):
    """The user stopped the command."""

    code = "interrupted"
    exit_code = 130
