"""A program that is started with `wait_for_go=True` waits in its namespaces for `go`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

import inside
import rootless
from isolations import DIRECT, PLAIN, STAGES
from needs import needs
from nsenter import BootstrapError, Options, Popen, PythonInit, check_output, presets

SECONDS = 20.0
ROOT = Path(__file__).parent.parent.parent
WAYS = pytest.mark.parametrize(
    "options",
    [None, PLAIN, DIRECT, STAGES, Options(new="user,pid", init=False), presets.sandbox()],
    ids=["none", "plain", "direct", "stages", "no init", "sandbox"],
)


@WAYS
def test_it_runs_when_it_is_told_to(options: Options | None) -> None:
    before = inside.descriptors()
    with Popen(["echo", "runs"], options, stdout=PIPE, wait_for_go=True) as process:
        time.sleep(0.1)
        assert process.poll() is None
        program = Path(f"/proc/{process.program_pid}/exe").readlink()
        assert program.name.startswith("memfd:nsinit")
        process.go()
        with pytest.raises(ValueError, match="was not started with wait_for_go"):
            process.go()
        assert process.communicate(timeout=SECONDS) == (b"runs\n", None)
        assert process.returncode == 0
    assert set(inside.descriptors()) - set(before) <= kept()


def kept() -> set[int]:
    """What every later start has as well."""
    links = inside.descriptors().items()
    return {fd for fd, link in links if link.startswith(("/memfd:ns", "/dev/shm/nsenter-"))}  # type: ignore[misc]


@WAYS
def test_what_cannot_be_executed_is_told_by_go(options: Options | None) -> None:
    with Popen(["no-such-program"], options, wait_for_go=True) as process:
        with pytest.raises(BootstrapError, match="execve no-such-program") as caught:
            process.go()
        assert isinstance(caught.value, FileNotFoundError)
        assert process.returncode is not None


@WAYS
def test_a_signal_ends_it(options: Options | None) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        if number == signal.SIGTERM and options is not None and options.init is False:
            continue  # PID 1
        with Popen(["true"], options, wait_for_go=True) as process:
            process.send_signal(number)
            assert process.wait(SECONDS) == -number
            process_is_gone = not Path(f"/proc/{process.pid}").exists()
            assert process_is_gone


def test_it_ends_when_its_caller_is_killed() -> None:
    script = """
import nsenter, time
options = nsenter.Options(new="user,pid")
held = [nsenter.Popen(["true"], o, wait_for_go=True) for o in (None, options)]
print("ready", flush=True)
time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=PIPE, cwd=ROOT) as caller:
        assert caller.stdout
        caller.stdout.readline()
        caller.kill()
        assert caller.stdout.read() == b""  # nobody has it any more


def test_one_that_is_never_let_go_ends_with_its_block() -> None:
    with Popen(["true"], DIRECT, wait_for_go=True) as process:
        pass
    assert process.returncode == -signal.SIGKILL


def test_a_python_init_cannot_wait_for_go() -> None:
    with pytest.raises(ValueError, match="wait_for_go=True requires a Program"):
        Options().launch(PythonInit("nsenter._inside.pid1:main", ["true"]), wait_for_go=True)


NETWORK = """
import nsenter, os, subprocess, sys
options = nsenter.Options(new="user,net,mnt,pid")
with nsenter.Popen(["ip", "-brief", "address"], options, stdout=-1, text=True,
                   wait_for_go=True) as p:
    reader, writer = os.pipe()
    words = ["slirp4netns", "--configure", "--disable-host-loopback", "-r", str(writer)]
    slirp = subprocess.Popen([*words, str(p.program_pid), "tap0"], pass_fds=[writer],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writer)
    ready = os.read(reader, 1)
    p.go()
    print(ready, p.communicate(timeout=20)[0])
    slirp.terminate()
    slirp.wait(20)
"""


def _who_may_open(device: Path) -> list[str]:
    """Root, and an ordinary user if the machine lets everybody open the device."""
    return ["root", "user"] if device.exists() and device.stat().st_mode & 0o002 else ["root"]


@pytest.mark.parametrize("who", _who_may_open(Path("/dev/net/tun")))
def test_a_network_is_set_up_meanwhile(who: str) -> None:
    needs("slirp4netns", package="slirp4netns")
    if not Path("/dev/net/tun").exists():
        pytest.skip("needs /dev/net/tun: modprobe tun")
    words = [sys.executable, "-c", NETWORK]
    if who == "user":
        done = rootless.as_user(words)
    else:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "tap0" in done.stdout and "10.0.2.100" in done.stdout


def test_check_output_of_a_held_program_has_no_end_of_its_own() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        check_output(["true"], timeout=0.2, wait_for_go=True)  # type: ignore[call-overload]
