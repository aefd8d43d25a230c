"""Amazon's KMS on loopback: moto, taught the one thing that it does not do.

moto hashes what it signs though ``MessageType`` says that it is a digest already (its own documentation says
so). AWS's does not: API reference of KMS, Sign, "MessageType".
"""

from __future__ import annotations

import base64
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.interop.programs import ROOT, amazon_environment, answers, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def kms_server(folder: Path) -> Iterator[dict[str, str]]:
    """Start it; yields the environment in which boto3 finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(
        [sys.executable, Path(__file__), str(port)],
        environment={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)},
        log=folder / "kms.log",
        ready=lambda: answers(f"{url}/moto-api/"),
    ):
        yield amazon_environment(url)


def _serve(port: str) -> None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 -- in the server's process only
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed  # noqa: PLC0415
    from moto.kms.responses import KmsResponse  # noqa: PLC0415
    from moto.server import main  # noqa: PLC0415

    by_moto = KmsResponse.sign

    def sign(self: Any) -> str:
        answer: str = by_moto(self)
        if self._get_param("MessageType") != "DIGEST":
            return answer
        message = self._get_param("Message")
        digest = base64.b64decode(message) if isinstance(message, str) else message
        key = self.kms_backend.describe_key(self._get_param("KeyId")).private_key.private_key
        signature = key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))  # refuses what is not 32 bytes long
        return json.dumps({**json.loads(answer), "Signature": base64.b64encode(signature).decode()})

    KmsResponse.sign = sign
    main(["-H", "127.0.0.1", "-p", port])


if __name__ == "__main__":
    _serve(sys.argv[1])
