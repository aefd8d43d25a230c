"""Installs bundlectl from the file that this is in, and from nothing else.

python3 bundlectl-VERSION-offline.pyz [--prefix DIR]
"""

# Read by whatever python3 is there, also by one too old to run bundlectl, which must say so: Python 3.6 reads this.

import argparse
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ARCHIVE = Path(__file__).resolve().parent
PYTHONS = ((3, 11), (3, 12), (3, 13))
MACHINES = ("x86_64", "aarch64")
GLIBC = (2, 28)
BLOCK = 1024 * 1024
FAILED, DAMAGED, INTERRUPTED = 1, 3, 130
UNLISTED = {"__main__.py", "SHA256SUMS"}
AGAIN = "copy it once more, and compare its SHA-256 with what the sender tells"


class RefusedError(Exception):
    """Why nothing was installed, and what to do."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def main() -> int:
    """Install, and say what to type next; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python3 {ARCHIVE.name}", description="Install bundlectl, without a network."
    )
    parser.add_argument("--prefix", metavar="DIR", help="where to (for root /usr/local, for others ~/.local)")
    prefix = parser.parse_args().prefix or ("/usr/local" if os.geteuid() == 0 else "~/.local")
    for one in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(one, signal.default_int_handler)  # so that nothing is left behind
    try:
        choose_python()
        check_machine()
        install(Path(os.path.abspath(os.path.expanduser(prefix))))  # noqa: PTH100, PTH111 - links in it are kept
    except RefusedError as error:
        said, code = str(error), error.code
    except OSError as error:
        said, code = f"{error}; choose another place with --prefix DIR, or free some space", FAILED
    except KeyboardInterrupt:
        said, code = "interrupted", INTERRUPTED
    else:
        return 0
    sys.stderr.write(f"error: {said}\nnothing was installed\n")
    return code


def choose_python() -> None:
    """Go on with a Python that bundlectl runs on.

    Raises:
        RefusedError: there is none.
    """
    if sys.version_info[:2] in PYTHONS:
        return
    for version in reversed(PYTHONS):
        other = shutil.which("python{}.{}".format(*version))
        # What has the name may be a stand-in that only says where to get one.
        if other and subprocess.call([other, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(other, [other, str(ARCHIVE), *sys.argv[1:]])  # noqa: S606 - no shell is wanted
    raise RefusedError(
        f"bundlectl needs Python 3.11, 3.12 or 3.13, and {sys.executable} is {platform.python_version()}"
    )


def check_machine() -> None:
    """Stop where no wheel in here can run.

    Raises:
        RefusedError: why none can.
    """
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise RefusedError(f"this is for Linux on amd64 and arm64, and here is {sys.platform} on {platform.machine()}")
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(int(number) for number in version.split(".")[:2]) < GLIBC:
        found = f"{name} {version}".strip() or "another C library"
        raise RefusedError(f"this needs glibc 2.28 or newer, and here is {found}; the container image brings its own")


def install(prefix: Path) -> None:
    """Put a new environment into its place, and the program that starts it into the path.

    Raises:
        RefusedError: why not. What was there is as it was.
    """
    os.umask(0o022)
    home, program = prefix / "lib" / "bundlectl", prefix / "bin" / "bundlectl"
    leads = os.readlink(str(program)) if program.is_symlink() else ""  # noqa: PTH115 - newer than 3.6
    if os.path.lexists(str(program)) and "lib/bundlectl/" not in leads:
        raise RefusedError(f"{program} is there and not from here; remove it, or choose another --prefix")
    home.mkdir(parents=True, exist_ok=True)
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".installing-", dir=str(home)) as folder:
        work = Path(folder)
        unpack(work)
        version = next(work.glob("wheelhouse/bundlectl-*.whl")).name.split("-")[1]
        # What the program leads to is not touched before it leads elsewhere: this may be killed at any moment.
        places = [home / version, home / (version + "-again")]
        place = next(one for one in places if one.name not in Path(leads).parts)
        try:
            shutil.rmtree(str(place), ignore_errors=True)  # of a run that was killed
            told = fill(place, work)
            link = work / "link"
            link.symlink_to(Path("..", "lib", "bundlectl", place.name, "bin", "bundlectl"))
            link.replace(program)
        except BaseException:
            shutil.rmtree(str(place), ignore_errors=True)
            raise
        places.remove(place)
        shutil.rmtree(str(places[0]), ignore_errors=True)
        tell(told, program)


def unpack(work: Path) -> None:
    """Unpack everything, and check it.

    Raises:
        RefusedError: something is not what SHA256SUMS says.
    """
    try:
        with zipfile.ZipFile(str(ARCHIVE)) as archive:
            lines = (line.partition("  ") for line in archive.read("SHA256SUMS").decode().splitlines())
            sums = {name: digest for digest, _, name in lines}
            if set(archive.namelist()) - UNLISTED != set(sums):
                raise RefusedError(f"{ARCHIVE} does not hold what its SHA256SUMS lists; {AGAIN}", DAMAGED)
            for name in sorted(sums):
                target = work / name
                target.parent.mkdir(exist_ok=True)
                with archive.open(name) as source, target.open("wb") as out:
                    digest = copy(source, out)
                if digest != sums[name]:
                    raise RefusedError(f"{name} in {ARCHIVE} was changed; {AGAIN}", DAMAGED)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise RefusedError(f"{ARCHIVE} is damaged ({error}); {AGAIN}", DAMAGED) from error


def copy(source, out) -> str:  # noqa: ANN001 - streams of bytes
    """Copy a stream; returns the SHA-256 of what passed."""
    hasher = hashlib.sha256()
    for block in iter(lambda: source.read(BLOCK), b""):
        hasher.update(block)
        out.write(block)
    return hasher.hexdigest()


def fill(place: Path, work: Path) -> str:
    """Make the environment, try it, and put this file into it; returns what the program says of its version.

    Raises:
        RefusedError: why it cannot be made.
    """
    run([sys.executable, "-I", "-m", "venv", "--without-pip", place], "this Python makes no environments")
    pip = next(work.glob("pip/pip-*.whl")) / "pip"
    command = [place / "bin" / "python", "-I", pip, "--isolated", "--disable-pip-version-check", "--no-input"]
    command += ["install", "--quiet", "--no-index", "--find-links", work / "wheelhouse", "--only-binary", ":all:"]
    command += ["--no-deps", "--no-cache-dir", "--no-warn-script-location", "--root-user-action", "ignore"]
    run([*command, "--require-hashes", "-r", work / "requirements.txt"], "the wheels cannot be installed")
    told = run([place / "bin" / "bundlectl", "--version"], "what was installed does not run")
    # An installed bundlectl can be carried on (`export --with-tool`).
    kept = place / "share" / "bundlectl" / "dist" / ARCHIVE.name
    kept.parent.mkdir(parents=True)
    with ARCHIVE.open("rb") as source, kept.open("wb") as out:
        digest = copy(source, out)
    kept.with_name("SHA256SUMS").write_text(f"{digest}  {ARCHIVE.name}\n")
    return told.strip()


def run(command: list, failure: str) -> str:
    """Run a program without this user's settings of Python and pip; returns what it printed.

    Raises:
        RefusedError: it failed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with subprocess.Popen(
        [str(part) for part in command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        printed, said = (text.decode(errors="replace") for text in process.communicate())
    if process.returncode != 0:
        raise RefusedError(f"{failure}: {said.strip()[-2000:]}")
    return printed


def tell(told: str, program: Path) -> None:
    """Say what is there now, and what to type next."""
    found = str(program.parent) in os.environ.get("PATH", "").split(os.pathsep)
    print(f"installed {told} as {program}")
    print("next:")
    if not found:
        print(f'  export PATH="{program.parent}:$PATH"')
    print("  bundlectl quickstart      # try it, on this machine alone")
    print("  bundlectl import --help   # put an archive into a store or a registry")


if __name__ == "__main__":
    sys.exit(main())
