"""A process in the foreground gets pipes instead of its caller's streams.

What goes through the pipes is what would go through the streams.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from processes import links_of, wait_until
from pyrunc import Runtime, make_bundle, open_the_way
from sweeps import every

SECONDS = 20.0
# Other runs on this machine have the same cgroups.
NAME = f"streams-{os.urandom(4).hex()}"
SIGPIPE_STATUS = 128 + signal.SIGPIPE
# What its three streams are, on whichever of them is not the one in question.
KINDS = "for n in 0 1 2; do busybox stat -L -c %F /proc/self/fd/$n; done"
MUCH = os.urandom(1 << 20) * 3

Start = Callable[..., "subprocess.Popen[bytes]"]


def swept(*values: str) -> list[Any]:
    """Further values, which the quick run leaves out."""
    return [pytest.param(value, marks=pytest.mark.sweep) for value in values]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    yield from pyrunc.runtimes(tmp_path)


@pytest.fixture(params=["run", "exec"])
def start(request: pytest.FixtureRequest, runtime: Runtime, tmp_path: Path) -> Iterator[Start]:
    """Starts pyrunc, in the foreground, with a script of a container's shell."""
    if request.param == "exec":
        bundle = make_bundle(tmp_path / "bundle")
        runtime.good("run", "-d", "-b", bundle, NAME, **pyrunc.NO_STREAMS)

    with contextlib.ExitStack() as stack:

        def start(script: str, *options: str, **streams: Any) -> subprocess.Popen[bytes]:
            command = ["sh", "-c", script]
            if request.param == "exec":
                words = ["exec", *options, NAME, *command]
            else:
                bundle = make_bundle(tmp_path / "bundle", command)
                words = ["run", *options, "-b", str(bundle), NAME]
            given = {"stdin": subprocess.DEVNULL} | streams
            process = subprocess.Popen([*runtime.argv, *words], **given)
            stack.callback(_end, process)
            return process  # type: ignore[return-value]

        yield start


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def output(process: subprocess.Popen[bytes], given: bytes | None = None) -> bytes:
    """Of one that ends well."""
    said, _ = process.communicate(given, timeout=SECONDS)
    assert process.returncode == 0
    return said


# --- none of the caller's ------------------------------------------------------------------------


@contextlib.contextmanager
def opened(kind: str, folder: Path) -> Iterator[int]:
    """Something that a caller may have as a stream."""
    if kind == "terminal":
        master, slave = pty.openpty()
        fds = [slave, master]
    elif kind == "socket":
        ours, theirs = socket.socketpair()
        fds = [theirs.detach(), ours.detach()]
    elif kind == "pipe":
        reader, writer = os.pipe()
        fds = [reader, writer]
    elif kind == "device":
        fds = [os.open("/dev/null", os.O_RDWR)]
    else:
        flags = {"read": os.O_RDONLY, "write": os.O_WRONLY, "append": os.O_WRONLY | os.O_APPEND,
                 "both": os.O_RDWR}[kind]  # fmt: skip
        (folder / "file").write_text("original\n")
        (folder / "file").chmod(0o600)
        fds = [os.open(folder / "file", flags)]
    try:
        yield fds[0]
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize(
    "kind", ["read", "terminal", *swept("write", "append", "both", "socket", "pipe", "device")]
)
def test_no_stream_is_the_callers(start: Start, tmp_path: Path, stream: str, kind: str) -> None:
    with opened(kind, tmp_path) as fd:
        told = "stderr" if stream == "stdout" else "stdout"
        streams = {"stdout": subprocess.DEVNULL, told: subprocess.PIPE, stream: fd}
        script = f"({KINDS}) >&2" if told == "stderr" else KINDS
        process = start(f"exec 3>&{1 + (told == 'stderr')}; {script} 2>&3", **streams)
        pipe = process.stdout or process.stderr
        assert pipe is not None
        assert pipe.read() == b"fifo\n" * 3
        assert process.wait(SECONDS) == 0


@pytest.mark.parametrize(
    ("stream", "kind", "left"),
    every(
        2,
        [
            ("stdin", "read", "original\n"),
            ("stdin", "both", "original\n"),
            ("stdout", "append", "original\nout\n"),
            ("stderr", "append", "original\nerr\n"),
            ("stderr", "both", "err\ninal\n"),
            ("stdout", "write", "out\ninal\n"),
        ],
    ),
)
def test_a_file_is_used_for_what_it_was_opened_for_alone(
    start: Start, tmp_path: Path, stream: str, kind: str, left: str
) -> None:
    """Opened anew, it would be truncated, and written to from its beginning."""
    number = ["stdin", "stdout", "stderr"].index(stream)
    attack = f": >/proc/self/fd/{number}" if number else "echo new 1<>/proc/self/fd/0"
    script = f"{attack}; echo out; echo err >&2; :"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with opened(kind, tmp_path) as fd:
        assert start(script, **{**quiet, stream: fd}).wait(SECONDS) == 0
    assert (tmp_path / "file").read_text() == left


def test_no_other_descriptor_reaches_the_process(start: Start) -> None:
    seen = output(start("ls /proc/self/fd", stdout=subprocess.PIPE)).split()
    assert seen == [b"0", b"1", b"2", b"3"]  # of which ls has the last


def test_descriptors_that_are_kept_are_the_callers(start: Start, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept\n")
    plain = start("cat <&3", "--preserve-fds", "1", stderr=subprocess.PIPE)
    assert b"file descriptor 3 is not open" in plain.communicate(timeout=SECONDS)[1]
    words = ["sh", "-c", 'exec 3<"$0" "$@"', tmp_path / "kept", *plain.args]  # type: ignore[misc]
    done = subprocess.run(words, capture_output=True, timeout=SECONDS, check=False)
    assert done.stdout == b"kept\n", done.stderr


def test_a_process_in_the_background_has_what_its_caller_has_made_for_it(
    runtime: Runtime, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "bundle", ["sh", "-c", f"({KINDS}); sleep 1000"])
    with (tmp_path / "out").open("wb") as file:
        streams = {"stdout": file, "stderr": file, "capture_output": False}
        runtime.good("run", "-d", "-b", bundle, NAME, **streams)
    wait_until(lambda: (tmp_path / "out").read_text().count("\n") == 3)
    assert "regular file" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize("mapped", [False, True])
def test_the_process_can_open_its_streams_by_their_names(
    runtime: Runtime, tmp_path: Path, user: int, mapped: bool
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["process"]["user"] = {"uid": user, "gid": user}
        if mapped:
            line = [{"containerID": 0, "hostID": 300_000, "size": 65536}]
            spec["linux"] |= {"uidMappings": line, "gidMappings": line}
            spec["linux"]["namespaces"].append({"type": "user"})

    script = "cat /dev/stdin >/dev/stdout; echo e >/dev/stderr"
    bundle = make_bundle(tmp_path / "bundle", ["sh", "-c", script], change=change)
    if mapped:  # mount points are made by the container's root
        os.chown(bundle / "rootfs", 300_000, 300_000)
    open_the_way(bundle)
    done = runtime("run", "-b", bundle, NAME, input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "in\n", "e\n")


# --- what goes through ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "pipe", "socket"])
def test_input_arrives_whole_and_ends(start: Start, tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "input").write_bytes(MUCH)
        with (tmp_path / "input").open("rb") as file:
            assert output(start("cat", stdin=file, stdout=subprocess.PIPE)) == MUCH
    elif kind == "pipe":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        assert output(start("cat", **pipes), MUCH) == MUCH
    else:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = start("cat", stdin=theirs, stdout=theirs)
            theirs.close()
            ours.sendall(b"small")
            ours.shutdown(socket.SHUT_WR)
            assert ours.makefile("rb").read() == b"small"
            assert process.wait(SECONDS) == 0


def test_a_large_output_on_a_socket_waits_for_its_reader(start: Start) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = start("busybox head -c 3000000 /dev/zero", stdout=theirs)
        theirs.close()
        assert len(ours.makefile("rb").read()) == 3_000_000
        assert process.wait(SECONDS) == 0


def test_both_outputs_arrive_whole(start: Start) -> None:
    much = "busybox head -c 1000000 /dev/zero"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(f"{much} & {much} >&2; wait", **pipes)
    out, errors = process.communicate(timeout=SECONDS)
    assert (len(out), len(errors), process.returncode) == (1_000_000, 1_000_000, 0)


def test_output_to_a_terminal_arrives_whole(start: Start) -> None:
    master, slave = pty.openpty()
    lines = 5000
    process = start(f"busybox seq {lines}", stdout=slave)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the command has ended
        while data := os.read(master, 65536):
            shown += data
    os.close(master)
    assert shown.split() == [b"%d" % n for n in range(1, lines + 1)]
    assert process.wait(SECONDS) == 0


def test_input_that_never_ends_does_not_keep_the_command(start: Start) -> None:
    reader, writer = os.pipe()
    try:
        assert start("exit 7", stdin=reader).wait(SECONDS) == 7
    finally:
        os.close(reader)
        os.close(writer)


def test_input_that_nobody_reads_is_left_to_others(start: Start) -> None:
    reader, writer = os.pipe()
    pipes = {"stdin": reader, "stdout": subprocess.PIPE}
    process = start("readlink /proc/self/fd/0; exec <&-; echo closed; sleep 1000", **pipes)
    assert process.stdout
    pipe, closed = process.stdout.readline().decode().strip(), process.stdout.readline()
    assert pipe.startswith("pipe:") and closed == b"closed\n"
    wait_until(lambda: pipe not in links_of(process.pid).values())
    os.write(writer, b"for the next")
    time.sleep(0.2)  # within which a command that reads on would read
    assert os.read(reader, 100) == b"for the next"
    os.close(reader)
    os.close(writer)
    process.terminate()


@pytest.mark.parametrize("stream", ["stdout", *swept("stderr")])
@pytest.mark.parametrize("end", ["full", *swept("gone", "read-only")])
def test_a_writer_whose_output_nobody_takes_is_told(start: Start, stream: str, end: str) -> None:
    """By SIGPIPE, which the first process of a PID namespace does not get, and by EPIPE."""
    to = 1 + (stream == "stderr")
    script = f"while busybox echo line >&{to}; do :; done; exit {SIGPIPE_STATUS}"
    reader, writer = os.pipe()
    flags = os.O_WRONLY if end == "full" else os.O_RDONLY
    fd = (
        writer
        if end == "gone"
        else os.open("/dev/full" if end == "full" else "/etc/hostname", flags)
    )
    os.close(reader)
    assert start(script, **{stream: fd}).wait(SECONDS) == SIGPIPE_STATUS
    for each in {fd, writer}:
        os.close(each)


def test_what_was_left_behind_may_write_until_it_ends(
    start: Start, request: pytest.FixtureRequest
) -> None:
    """In a container that goes on (`exec`); with its first process all others end (`run`)."""
    goes_on = "exec" in request.node.callspec.id
    seconds = 1 if goes_on else 1000
    said = output(start(f"(sleep {seconds}; echo late) & echo soon", stdout=subprocess.PIPE))
    assert said == (b"soon\nlate\n" if goes_on else b"soon\n")


def test_a_signal_ends_the_wait_for_what_was_left_behind(start: Start) -> None:
    process = start("trap '' TERM; sleep 1000 & echo $!; exit 5", stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    with contextlib.suppress(subprocess.TimeoutExpired):  # `run` does not wait
        process.wait(0.5)
    assert _terminated(process) == 5


def _terminated(process: subprocess.Popen[bytes]) -> int:
    """The status of a command that a signal ends, unless it comes so early that it is passed on."""

    def has_ended() -> bool:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        return process.returncode is not None

    wait_until(has_ended)
    return process.returncode


def test_signals_are_passed_on_while_nobody_reads_the_output(start: Start) -> None:
    reader, writer = os.pipe()
    full = start("trap 'exit 9' TERM; busybox yes & wait", stdout=writer)
    wait_until(lambda: not select.select([], [writer], [], 0)[1])
    os.close(writer)
    time.sleep(0.5)  # within which more is written, that waits for room
    full.terminate()
    time.sleep(0.5)
    assert full.poll() is None  # what was written is still to be read
    assert _terminated(full) == 9
    os.close(reader)


def test_the_callers_streams_stay_as_they_are(start: Start) -> None:
    """O_NONBLOCK would be set for everybody who has the pipe."""
    reader, writer = os.pipe()
    assert start("echo x", stdin=reader, stdout=writer, stderr=writer).wait(SECONDS) == 0
    for fd in (reader, writer):
        assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
        os.close(fd)


def test_an_error_waits_for_room_in_a_stream_that_does_not_block(runtime: Runtime) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filling = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filling += os.write(writer, b"x")
    process = subprocess.Popen([*runtime.argv, "state", "nope"], stderr=writer)
    os.close(writer)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)  # it waits
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    assert process.wait(SECONDS) == 1
    assert b"container does not exist" in said[filling:]
