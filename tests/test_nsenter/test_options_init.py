"""An init that stays as PID 1 reaps, forwards signals and reports the status; a terminal is one."""

from __future__ import annotations

import ast
import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import launching
import rootless
from launching import SECONDS
from nsenter import Dev, Options, Program, PythonInit, Tmpfs
from nsenter._launch.child import Child
from processes import children_of, links_of
from system_root import box, output

INIT = Options(new="user,pid,mnt", init=True)


@contextlib.contextmanager
def started(script: str, options: Options = INIT, *words: str) -> Iterator[tuple[Child, int]]:
    """A shell script, once it has said a line, and where it says more."""
    with contextlib.ExitStack() as stack:
        said, stdout = launching.pipe(stack)
        argv = ["/bin/sh", "-c", script, "sh", *words]
        child = stack.enter_context(options.launch(Program(argv), stdout=stdout))
        os.close(stdout)
        launching.read_line(said)
        yield child, said


@pytest.mark.parametrize("code", [0, 1, 7, 127, 137, 255])
def test_the_programs_exit_status_is_told(code: int) -> None:
    with INIT.launch(Program(["sh", "-c", f"exit {code}"])) as child:
        assert child.wait(SECONDS) == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, 64])
def test_the_signal_that_killed_the_program_is_told(number: int) -> None:
    with INIT.launch(Program(["sh", "-c", f"kill -{int(number)} $$"])) as child:
        assert child.wait(SECONDS) == -number


def test_a_killed_init_is_told_as_killed_and_takes_all_along() -> None:
    with started("echo; exec sleep 1000") as (child, said):
        child.kill()
        assert child.wait(SECONDS) == -signal.SIGKILL
        assert os.read(said, 1) == b""  # nobody has the other end any more


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, 40],
)
def test_a_signal_is_sent_on_to_the_program(number: int) -> None:
    script = f"trap 'echo got; exit 3' {int(number)}; echo; while :; do sleep 0.01; done"
    with started(script) as (child, said):
        child.send_signal(number)
        assert launching.read_line(said) == "got\n"
        assert child.wait(SECONDS) == 3


def test_a_signal_without_a_handler_kills_the_program_as_it_would_alone() -> None:
    with started("echo; exec sleep 1000") as (child, _):
        child.terminate()
        assert child.wait(SECONDS) == -signal.SIGTERM


def test_orphans_are_reaped() -> None:
    script = """
for n in 1 2 3 4 5 6 7 8; do sh -c 'sleep 0.01 & exec true'; done
while :; do
    sleep 0.05; ps -o pid= -A | wc -l > /tmp/count; read count < /tmp/count
    [ "$count" -le 4 ] && exit 0
done
"""
    with INIT.replace(mounts=[Tmpfs("/tmp")]).launch(Program(["sh", "-c", script])) as child:
        assert child.wait(SECONDS) == 0


def test_what_the_program_leaves_ends_with_it() -> None:
    with started("echo; sleep 1000 & sleep 1000 & exit 5") as (child, said):
        assert child.wait(SECONDS) == 5
        assert os.read(said, 1) == b""


def test_a_stream_that_the_program_closes_is_closed() -> None:
    with started("echo; exec >&-; sleep 1000") as (_, said):
        ready, _, _ = select.select([said], [], [], SECONDS)
        assert ready
        assert os.read(said, 1) == b""


def test_the_init_holds_nothing_and_has_no_rights_but_to_send_signals() -> None:
    with started("echo; exec sleep 1000") as (child, _):
        status = Path(f"/proc/{child.pid}/status").read_text()
        held = links_of(child.pid).values()
        assert [link.partition(":")[0] for link in held] == ["pipe"]
        assert f"CapEff:\t{1 << 5:016x}" in status
        assert Path(f"/proc/{child.pid}/cwd").readlink() == Path("/")


def test_the_program_cannot_look_into_its_init() -> None:
    script = """
no readlink /proc/1/fd/*; no readlink /proc/1/exe
no cat /proc/1/environ; no sh -c ": > /proc/1/mem"
echo nothing
"""
    assert output(box(init=True), script) == ["nothing"]


def test_a_program_that_sends_bytes_down_every_descriptor_changes_no_verdict() -> None:
    script = "for n in 3 4 5 6 7 8 9; do printf '\\011' >&$n; done 2>/dev/null; exit 137"
    with INIT.launch(Program(["sh", "-c", script])) as child:
        assert child.wait(SECONDS) == 137


def test_its_session_is_not_the_inits() -> None:
    with started("echo; exec sleep 1000") as (child, _):
        (program,) = children_of(child.pid)
        assert os.getsid(program) == program


JOIN_AS_USER = """
import nsenter, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
with nsenter.Popen(["cat"], nsenter.Options(new="user,net,pid,mnt"), stdin=subprocess.PIPE) as p:
    theirs = os.readlink(f"/proc/{p.program_pid}/ns/net")
    assert p.program_pid != p.pid and theirs != os.readlink("/proc/self/ns/net")
    for join in p, p.pid, {"user": p, "net": p}, {"user": p.pid, "net": p.pid}:
        seen = nsenter.check_output(["readlink", "/proc/self/ns/net"], nsenter.Options(join=join))
        assert seen.decode().strip() == theirs, (join, seen, theirs)
    p.stdin.close()
assert p.program_pid == p.pid
"""


def test_an_ordinary_user_joins_what_it_has_started_with_an_init() -> None:
    words = [sys.executable, "-c", JOIN_AS_USER, str(rootless.ROOT)]
    done = rootless.as_user(words)
    assert (done.returncode, done.stderr) == (0, "")


# --- terminals ------------------------------------------------------------------------------------


def talk(child: Child, said: bytes = b"") -> str:
    """Say something to a terminal, and read all that comes of it until it is hung up."""
    text = b""
    os.write(child.terminal_fd, said)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        ready, _, _ = select.select([child.terminal_fd], [], [], 0.1)
        try:
            text += os.read(child.terminal_fd, 4096) if ready else b""
        except OSError:  # EIO: nobody has the other side
            break
    return text.decode().replace("\r\n", "\n")


BY_ALL = pytest.mark.parametrize(
    "options",
    [Options(terminal=True), Options(new="user,pid,mnt", terminal=True),
     INIT.replace(terminal=True)],
    ids=["alone", "namespaces", "init"],
)  # fmt: skip


@BY_ALL
def test_the_three_streams_are_a_controlling_terminal(options: Options) -> None:
    script = "for n in 0 1 2; do [ -t $n ] && echo $n; done; echo x > /dev/tty; read a; echo $a $a"
    with options.launch(Program(["sh", "-c", script])) as child:
        # What is typed is echoed, at once or when it is read.
        assert sorted(talk(child, b"hey\n").split()) == ["0", "1", "2", "hey", "hey", "hey", "x"]
        assert child.wait(SECONDS) == 0


@pytest.mark.parametrize("options", [Options(terminal=True), INIT.replace(terminal=True)])
def test_its_interrupt_key_interrupts_the_program(options: Options) -> None:
    with options.launch(Program(["sh", "-c", "echo ready; exec sleep 1000"])) as child:
        assert os.read(child.terminal_fd, 100)
        os.write(child.terminal_fd, b"\x03")
        assert child.wait(SECONDS) == -signal.SIGINT


def test_a_python_init_has_one_as_well() -> None:
    with Options(new="user", terminal=True).launch(PythonInit("report_status:tell")) as child:
        assert ast.literal_eval(talk(child))["leads"] == [True, True]
        assert child.wait(SECONDS) == 0


def test_its_size_is_set_from_outside() -> None:
    import fcntl
    import termios

    with Options(terminal=True).launch(Program(["sh", "-c", "read x; stty size"])) as child:
        fcntl.ioctl(child.terminal_fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
        assert "33 99" in talk(child, b"\n")
        assert child.wait(SECONDS) == 0


def test_a_minimal_dev_has_it_as_console() -> None:
    options = box(init=True, terminal=True, mounts=[Dev()])
    with options.launch(Program(["sh", "-c", "tty; echo said > /dev/console"])) as child:
        assert talk(child).split() == ["/dev/console", "said"]
        assert child.wait(SECONDS) == 0


def test_a_start_that_fails_leaves_no_terminal_and_no_verdict_open() -> None:
    for _ in range(3):
        with pytest.raises(OSError, match="no-such-program"):
            INIT.replace(terminal=True).launch(Program(["no-such-program"]))


@pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")
def test_its_user_owns_the_terminal() -> None:
    options = Options(terminal=True, uid=65534, gid=65534)
    with options.launch(Program(["sh", "-c", "echo x > $(tty); id -u"])) as child:
        assert talk(child).split() == ["x", "65534"]
        assert child.wait(SECONDS) == 0


# --- a PID 1 that cannot wait ---------------------------------------------------------------------

# PID 1 alone waits with __WALL.
NO_WAIT = """
import errno, sys
import nsenter
from nsenter import seccomp
from nsenter._host import syscalls
number = {"x86_64": 247, "aarch64": 95}[sys.argv[1]]
denied = seccomp._step(seccomp._ANY_BIT, 0x40000000, no=1) + seccomp._error(errno.EIO)
code = seccomp._step(seccomp._LOAD, seccomp._NUMBER_AT)
code += seccomp._if_equal(number, seccomp._load_argument(3) + denied)
code += seccomp._step(seccomp._RETURN, seccomp._ALLOW)
syscalls.prctl("no_new_privs", syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.seccomp(code, 0)
try:
    print(nsenter.run(["sleep", "1"], nsenter.Options(new="user,pid", init=True)).returncode)
except nsenter.BootstrapError as error:
    print(error.operation)
"""


def test_a_pid_1_that_cannot_wait_ends() -> None:
    """It would wait for ever, and everybody for it."""
    words = [sys.executable, "-c", NO_WAIT, os.uname().machine]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert done.stdout in ("255\n", "run\n", "wait\n"), done.stderr
