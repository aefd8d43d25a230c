"""SoftHSM2: tokens in a folder, reached by a PKCS#11 module like those of hardware."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.interop.programs import Program, find_program

PIN = "4711-bundlectl"
OFFICER = "12345678"
PLACES = ("/usr/lib", "/usr/local/lib")


def find_module() -> Path | None:
    """The module, by the package's own list of files; otherwise where makers of packages put it."""
    if dpkg := shutil.which("dpkg"):
        listed = subprocess.run([dpkg, "-L", "libsofthsm2"], capture_output=True, text=True, check=False).stdout
        found = [Path(line) for line in listed.splitlines() if line.endswith("/libsofthsm2.so")]
        if found:
            return found[0]
    return next((path for place in PLACES for path in sorted(Path(place).glob("**/libsofthsm2.so"))), None)


@dataclass(frozen=True)
class SoftHsm:
    """A folder of tokens of its own."""

    module: Path
    util: Program
    configuration: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which the module finds the tokens."""
        return {"SOFTHSM2_CONF": str(self.configuration)}

    def token(self, label: str, pin: str = PIN) -> None:
        self.util.run("--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", OFFICER)

    def pair(self, token: str, key: Path, *, label: str, own_id: str, pin: str = PIN) -> None:
        """Bring a PKCS#8 key into a token: the private and the public object."""
        self.util.run("--import", key, "--token", token, "--label", label, "--id", own_id, "--pin", pin)


def make_softhsm(folder: Path) -> SoftHsm | None:
    """An empty folder of tokens; None where SoftHSM2 is not installed."""
    program, module = find_program("softhsm2-util"), find_module()
    if program is None or module is None:
        return None
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    return SoftHsm(module, Program(program, folder, (), {"SOFTHSM2_CONF": str(configuration)}), configuration)
