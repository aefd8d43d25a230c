import time, signal, pytest
from tests.faults.test_interrupted import *
from tests.faults.conftest import *
@pytest.mark.parametrize("command", ["download", "mirror"])
def test_x(program, upstream_served, locked, registry, tmp_path, command):
    upstream_served.faults.add(Fault(SlowBody(chunk=64, seconds=0.1), method="GET", path="*/blobs/*|/distro*"))
    where = ("--store", tmp_path / "store") if command == "download" else ("--to", f"{registry.host}/eks")
    arguments = (command, locked, *where, "-v", *origins(upstream_served))
    t=time.monotonic()
    with program.start(*arguments) as process:
        for line in process.stderr:
            if line.startswith(("downloading", "mirroring")):
                break
        print("started", time.monotonic()-t); t=time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    print("ended", time.monotonic()-t, err); t=time.monotonic()
    upstream_served.faults.clear()
    print(program.run(*arguments)[0], time.monotonic()-t); t=time.monotonic()
    print(program.run(*arguments)[0], time.monotonic()-t)
