"""Plays runc's parent: starts a stub as runc starts `runc init`, and talks its protocol to it.

The protocol, as runc 1.1.5 speaks it (read off `strace -f runc --debug run`): the stub gets one
end of a stream socket pair and the write end of a pipe, named by number in its environment. It
writes one zero byte when it has cloned its own binary; reads the bootstrap message; answers
`{"stage1_pid":N,"stage2_pid":N}` and a newline. Stage 1 and stage 2 are cloned with CLONE_PARENT,
so all three are children of this very process, and it must reap them all. Stage 0 exits when
stage 2 has finished in C: from then on stage 2 is in every namespace and session it will be in.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from processes import children_of, content, runs

TIMEOUT = 20.0  # seconds; for anything that a working stub does in milliseconds
LOG_LEVEL_INFO = 4  # logrus numbers: 0 panic, 1 fatal, 2 error, 3 warning, 4 info, 5 debug, 6 trace

_CLOCKS = (b"monotonic ", b"boottime ")
_MARK = "_RUNC_PARENT_MARK"  # in the environment of all that a stub becomes, to find it again


class StubError(Exception):
    """The stub did not do its part: what was awaited, its exit status, and what it logged."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the stub answered, and the very bytes of it."""

    stage1_pid: int
    stage2_pid: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class StageExits:
    """How the two stages that do not stay ended: exit code, or minus the signal."""

    stage0: int
    stage1: int


class RuncParent:
    """A stub, from start to grave. A context manager: on exit nothing of it is left.

    `argv` is the stub and its arguments. `environment` is added to the few variables that runc
    sets; nothing else is inherited but PATH. `newer`: as runc from 1.2 on. `at_once` is in the
    init pipe before the stub starts.
    """

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        inittype: str = "standard",
        loglevel: int = LOG_LEVEL_INFO,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        newer: bool = False,
        at_once: bytes = b"",
    ) -> None:
        self._newer = newer
        self.reply: Reply | None = None
        self._mark = secrets.token_hex(8)
        self._received = b""
        self._log = b""
        self._exits: dict[int, int] = {}
        self._pipe, stub_pipe = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._log_read, log_write = os.pipe()
        os.set_blocking(self._log_read, False)
        try:
            self._pipe.sendall(at_once)
            self._stage0 = subprocess.Popen(
                [os.fspath(word) for word in argv],
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "_LIBCONTAINER_INITPIPE": str(stub_pipe.fileno()),
                    "_LIBCONTAINER_LOGPIPE": str(log_write),
                    "_LIBCONTAINER_LOGLEVEL": str(loglevel),
                    "_LIBCONTAINER_INITTYPE": inittype,
                    # runc's Go half of a "standard" init exits when this is not a number. It
                    # opens it only when the whole configuration has come, and ours never does.
                    "_LIBCONTAINER_FIFOFD": "-1",
                    **({"_LIBCONTAINER_SYNCPIPE": "-1"} if newer else {}),
                    _MARK: self._mark,
                    **(environment or {}),
                },
                pass_fds=(stub_pipe.fileno(), log_write, *pass_fds),
                stdin=subprocess.DEVNULL,
            )
        except BaseException:
            self._pipe.close()
            os.close(self._log_read)
            raise
        finally:
            stub_pipe.close()
            os.close(log_write)

    def __enter__(self) -> RuncParent:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- the conversation, in its order --------------------------------------------------------

    def await_hello(self) -> None:
        """Read the zero byte that says the stub is past its own start; none from 1.2 on."""
        if self._newer:
            return
        hello = self._receive("the hello byte", 1)
        if hello != b"\0":
            raise self._failure(f"the hello byte is {hello!r}")

    def send(self, blob: bytes, sizes: Iterable[int] | None = None) -> None:
        """Send the bootstrap message, in writes of these sizes; in one, when none are given.

        A write waits until the one before it was read: else they would arrive as one.
        """
        at = 0
        for size in sizes or [len(blob)]:
            self.write(blob[at : at + size])
            self._await_taken()
            at += size
        if at < len(blob):
            self.write(blob[at:])

    def write(self, data: bytes) -> None:
        """Write to the init pipe. What has not been taken after TIMEOUT is an error."""
        self._pipe.settimeout(TIMEOUT)
        try:
            self._pipe.sendall(data)
        except OSError as error:
            raise self._failure(f"the init pipe does not take what it is sent: {error}") from error

    def finish_sending(self) -> None:
        """Shut our direction of the init pipe: the stub reads end of file."""
        self._pipe.shutdown(socket.SHUT_WR)

    def await_reply(self) -> Reply:
        """Read the JSON object with the two pids."""
        line = b""
        while not line.endswith(b"}"):
            line += self._receive("the reply", 1)
        if self._receive("the end of the reply", 1) != b"\n":
            raise self._failure("the reply does not end in a newline")
        pids = json.loads(line)
        if sorted(pids) != ["stage1_pid", "stage2_pid"]:
            raise self._failure(f"the reply is {line!r}")
        self.reply = Reply(pids["stage1_pid"], pids["stage2_pid"], line + b"\n")
        return self.reply

    def await_stages(self) -> StageExits:
        """Reap stage 0 and stage 1. After this, stage 2 has done all that nsexec does."""
        reply = self._answered()
        return StageExits(self.await_exit(self._stage0.pid), self.await_exit(reply.stage1_pid))

    def read(self, count: int) -> bytes:
        """Read exactly so many bytes that stage 2 wrote to the init pipe."""
        return self._receive(f"{count} bytes of stage 2", count)

    def await_stage2(self) -> int:
        """Reap stage 2: exit code, or minus the signal."""
        return self.await_exit(self.stage2_pid)

    # --- what is known -------------------------------------------------------------------------

    @property
    def stage0_pid(self) -> int:
        return self._stage0.pid

    @property
    def stage2_pid(self) -> int:
        return self._answered().stage2_pid

    @property
    def log_lines(self) -> list[dict[str, str]]:
        """What came down the log pipe up to now, each line as the JSON object that it is."""
        self._drain_log()
        return [json.loads(line) for line in self._log.decode().splitlines()]

    @property
    def log_bytes(self) -> bytes:
        """The same, as it was written."""
        self._drain_log()
        return self._log

    def descendants(self) -> set[int]:
        """The children of this process that this stub is or made, zombies left out."""
        return {pid for pid in children() if pid in self._known() or _marked(pid, self._mark)}

    # --- the end -------------------------------------------------------------------------------

    def await_exit(self, pid: int) -> int:
        """Reap a child: exit code, or minus the signal. StubError if it lives on past TIMEOUT."""
        if pid not in self._exits and not self._reap(pid, TIMEOUT):
            raise self._failure(f"process {pid} does not exit")
        return self._exits[pid]

    def close(self) -> None:
        """Kill and reap every stage; close the pipes. Can be called twice."""
        # A stage that is just now cloning another can leave one behind: look until none is left.
        deadline = time.monotonic() + TIMEOUT
        while (left := self._unreaped()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self._reap(pid, TIMEOUT)
        with contextlib.suppress(OSError):
            self._drain_log()
            os.close(self._log_read)
            self._log_read = -1
        self._pipe.close()

    def _known(self) -> set[int]:
        stages = {self._stage0.pid}
        return stages | {self.reply.stage1_pid, self.reply.stage2_pid} if self.reply else stages

    def _unreaped(self) -> set[int]:
        return (self._known() | self.descendants()) - self._exits.keys()

    def _reap(self, pid: int, seconds: float) -> bool:
        """Wait for one child; the pid cannot be another's, as nobody else reaps it."""
        if pid == self._stage0.pid:
            return self._reap_stage0(seconds)
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            self._exits[pid] = -1
            return True
        try:
            if not select.select([watched], [], [], seconds)[0]:
                return False
            self._exits[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError as error:
            self._exits[pid] = -1
            raise StubError(f"process {pid} is not our child") from error
        finally:
            os.close(watched)
        return True

    def _reap_stage0(self, seconds: float) -> bool:
        try:
            self._exits[self._stage0.pid] = self._stage0.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    # --- below -----------------------------------------------------------------------

    def _answered(self) -> Reply:
        if self.reply is None:
            raise StubError("no reply has been read yet")
        return self.reply

    def _await_taken(self) -> None:
        """Until the stub has read all that was written; whether it lives is for others to say."""
        deadline = time.monotonic() + TIMEOUT
        unread = bytearray(4)
        while time.monotonic() < deadline:
            fcntl.ioctl(self._pipe, termios.TIOCOUTQ, unread)
            if not any(unread):
                return
            time.sleep(0.0001)
        raise self._failure("the init pipe is not read")

    def _receive(self, what: str, count: int) -> bytes:
        deadline = time.monotonic() + TIMEOUT
        data = b""
        while len(data) < count:
            self._pipe.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                more = self._pipe.recv(count - len(data))
            except OSError as error:
                raise self._failure(f"{what} does not come: {error}") from error
            if not more:
                raise self._failure(f"end of file instead of {what}, after {data!r}")
            data += more
        return data

    def _failure(self, why: str) -> StubError:
        # The log's last words may be a moment behind the pipe's end.
        self._reap_stage0(0.2)
        status = self._exits.get(self._stage0.pid, "still running")
        return StubError(f"{why}; stage 0: {status}; log: {self.log_bytes.decode() or 'empty'}")

    def _drain_log(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._log_read >= 0 and (more := os.read(self._log_read, 65536)):
                self._log += more


@contextlib.contextmanager
def driven(
    argv: Sequence[str | os.PathLike[str]],
    blob: bytes,
    *,
    sizes: Iterable[int] | None = None,
    inittype: str = "standard",
    loglevel: int = LOG_LEVEL_INFO,
) -> Iterator[tuple[RuncParent, StageExits]]:
    """A stub that was sent `blob` and whose stage 2 is where it should be."""
    newer = any(clock in blob for clock in _CLOCKS)  # a message of 1.1 has no time offsets
    with RuncParent(argv, inittype=inittype, loglevel=loglevel, newer=newer) as parent:
        parent.await_hello()
        parent.send(blob, sizes)
        parent.await_reply()
        yield parent, parent.await_stages()


def children() -> set[int]:
    """The children of this process, whichever thread started them; zombies left out."""
    return {pid for pid in children_of() if runs(pid)}


def _marked(pid: int, mark: str) -> bool:
    try:
        return f"{_MARK}={mark}".encode() in content(pid, "environ").split(b"\0")
    except PermissionError:  # it may not be looked into just now
        return False


# --- where a process is, by /proc ----------------------------------------------------------

NAMESPACE_KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What /proc says of a process, seen from this one's namespaces."""

    namespaces: dict[str, str]  # kind → "net:[4026531840]"
    uid_map: list[tuple[int, ...]]
    gid_map: list[tuple[int, ...]]
    setgroups: str
    oom_score_adj: int
    uids: tuple[int, ...]  # real, effective, saved, file system; host ids
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    pids: tuple[int, ...]  # in each PID namespace from ours inwards
    sessions: tuple[int, ...]
    process_groups: tuple[int, ...]
    capabilities: dict[str, str]


def read_state(pid: int | str = "self") -> ProcessState:
    """The state of a process that stands still."""
    proc = Path(f"/proc/{pid}")
    status = _status(proc)
    return ProcessState(
        namespaces={kind: str((proc / "ns" / kind).readlink()) for kind in NAMESPACE_KINDS},
        uid_map=_rows(proc / "uid_map"),
        gid_map=_rows(proc / "gid_map"),
        setgroups=(proc / "setgroups").read_text().strip(),
        oom_score_adj=int((proc / "oom_score_adj").read_text()),
        uids=_numbers(status["Uid"]),
        gids=_numbers(status["Gid"]),
        groups=_numbers(status["Groups"]),
        pids=_numbers(status["NSpid"]),
        sessions=_numbers(status["NSsid"]),
        process_groups=_numbers(status["NSpgid"]),
        capabilities={name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")},
    )


def _status(proc: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in (proc / "status").read_text().splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _rows(path: Path) -> list[tuple[int, ...]]:
    return [_numbers(line) for line in path.read_text().splitlines()]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split())
