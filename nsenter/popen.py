# SPDX-License-Identifier: Apache-2.0
"""subprocess for namespaces: Popen, run, check_call and check_output.

`Popen` is a subprocess.Popen, with its pipes and its `communicate`. How the process is started,
waited for and signalled is ours: by a spawn that never forks the caller, and by a pidfd.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import signal
import subprocess
import sys
import time
import warnings
from _thread import RLock
from functools import partial
from io import FileIO

from nsenter.descriptors import Descriptors, open_fds
from nsenter.errors import Naming
from nsenter.launch import Program
from nsenter.options import Options
from nsenter.suppress import suppress
from nsenter.undo import undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, AnyStr, Literal, Unpack, overload

    from nsenter.child import Child
    from nsenter.launch import Environment
    from nsenter.popen_types import (
        Arguments,
        Command,
        OutputArguments,
        Path,
        Stream,
        TextArguments,
        TextOutputArguments,
    )
    from nsenter.usage import Usage
else:
    AnyStr = "AnyStr"

__all__ = ["CompletedProcess", "Popen", "check_call", "check_output", "run"]

_SHELL = "/bin/sh"
_REAP_SECONDS = 5.0
_PID_MAX = 2**31 - 1
_SIGNALS = tuple(range(1, 65))
_LONGEST_POLL = 1e6  # seconds; poll(2) takes an int of milliseconds
# What subprocess has arguments of its own for, and the fields of Options that they set.
_FIELDS = {
    "cwd": "cwd",
    "user": "uid",
    "group": "gid",
    "extra_groups": "groups",
    "umask": "umask",
    "start_new_session": "new_session",
}
_IDS = ("user", "group", "extra_groups")
_ID_MAX = 2**32 - 2
# What a subprocess is without options: no more isolated than subprocess's own.
_AS_SUBPROCESS = Options(new_session=False)
# Which Python ignores for itself; restore_signals gives them back.
_PYTHONS = frozenset((signal.SIGPIPE, signal.SIGXFSZ))
# What subprocess has and a process in namespaces cannot have: its default, and why.
_REFUSED = {
    "preexec_fn": (
        None,
        "no Python code can run between the start and the program, in a child that has this "
        "process's memory and one of its threads: say what it does with the fields of Options, "
        "or run a function in the namespaces by nsenter.call",
    ),
    "startupinfo": (None, "that is Windows'"),
    "creationflags": (0, "that is Windows'"),
}


class _Streams:
    """The streams of a process: which descriptors it has, and our ends of its pipes.

    Args:
        given: for 0, 1 and 2: None (ours), PIPE, DEVNULL, a descriptor, or a file; for 2 STDOUT.
        pipesize: bytes that a pipe holds; -1: as it comes.
    """

    def __init__(self, given: tuple[Stream, Stream, Stream], pipesize: int) -> None:
        self._given = given
        self._pipesize = pipesize
        self._theirs = Descriptors()
        self._ours = Descriptors()
        self.numbers: list[int] = []

    def open(self) -> tuple[int, ...]:
        """Make the pipes; returns both ends of each, as subprocess wants them, who owns ours."""
        ends: list[int] = []
        try:
            for number, given in enumerate(self._given):
                theirs, ours = self._end(number, given)
                self.numbers.append(theirs)
                ends += (theirs, ours) if number == 0 else (ours, theirs)
        except BaseException:
            self._ours.close()
            raise
        return tuple(ends)

    def _end(self, number: int, given: Stream) -> tuple[int, int]:
        if given is None:
            return self._inherited(number), -1
        if not isinstance(given, int):
            return given.fileno(), -1
        if given == subprocess.PIPE:
            return self._pipe(number)
        if given == subprocess.DEVNULL:
            return self._null(), -1
        if given == subprocess.STDOUT:
            if number != 2:
                raise ValueError("STDOUT is what stderr can be, and no other stream")
            return self.numbers[1], -1
        return given, -1

    def _inherited(self, number: int) -> int:
        """Our own; where that is closed, a file of the program's would take its place."""
        try:
            os.fstat(number)
        except OSError:
            return self._null()
        return number

    def _pipe(self, number: int) -> tuple[int, int]:
        reader, writer = os.pipe()
        theirs, ours = (reader, writer) if number == 0 else (writer, reader)
        theirs, ours = self._theirs.add(theirs), self._ours.add(ours)
        if self._pipesize > 0:
            fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, self._pipesize)
        return theirs, ours

    def _null(self) -> int:
        return self._theirs.add(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))

    def __enter__(self) -> _Streams:
        return self

    def let_go(self) -> None:
        """Close the ends of the process, which has them now."""
        self._theirs.let_go()

    def __exit__(self, *exc_info: object) -> None:
        self._theirs.close()


class CompletedProcess(subprocess.CompletedProcess[AnyStr]):
    """As subprocess has it.

    Attributes:
        usage: what the process has used, as `Popen.usage` says it.
    """

    usage: Usage | None = None


class Popen(subprocess.Popen[AnyStr]):
    """A process in namespaces; in all else a subprocess.Popen.

    Args:
        args: the program and its arguments; with `shell` a command of the shell.
        options: how it is isolated; None: not at all, as subprocess's own. (`Options()` gives it
            a session of its own.)
        stdin, stdout, stderr: as for subprocess; one that is None and closed here is /dev/null.
        executable: the program where args[0] is another name for it; with `shell`, the shell.
        env: its environment; None: ours.
        pass_fds: the only descriptors that it has besides its streams.
        cwd, user, group, extra_groups, umask, start_new_session: as for subprocess; they take
            the place of the fields of `options`, and are ids and paths inside. None leaves what
            `options` say; False and a umask of -1 are what they are for subprocess.
        close_fds: if it is false, the process has each inheritable descriptor of ours.
        restore_signals: if it is true, SIGPIPE and SIGXFSZ have their default disposition. Other
            signals that are ignored here stay so without `options`; with them, every signal has
            its default disposition, unless this is false.
        held: whether the program waits in its namespaces until `go` is called: meanwhile others can
            set them up by `program_pid`, as slirp4netns(1) does with the network.
        The others are subprocess's own. There is no preexec_fn.

    Attributes:
        pid: as seen from here.
        pidfd: its descriptor, for poll(2) and as a namespace to join; -1 once it was waited for.
        returncode: its exit status, minus the signal that killed it; None while it may run.
        terminal: our side of its terminal, a raw file; None where it was not given one.
        The others are subprocess's own.

    Raises:
        BootstrapError: it could not be started: a FileNotFoundError, PermissionError …, as its
            errno says.
        ValueError, TypeError: an argument is bad; nothing was started.
        ChildProcessError: (`wait` and its kin) the status is lost: see `Child.wait`.
    """

    terminal: FileIO | None = None
    _child: Child
    # Of subprocess, which typeshed leaves out.
    _communication_started: bool
    _input: Any

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Popen[str],
            args: Command,
            options: Options | None = None,
            *,
            text: Literal[True],
            **others: Unpack[TextArguments],
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[str],
            args: Command,
            options: Options | None = None,
            *,
            encoding: str,
            **others: Unpack[Arguments],
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[bytes],
            args: Command,
            options: Options | None = None,
            **others: Unpack[Arguments],
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[Any],
            args: Command,
            options: Options | None = None,
            *,
            text: bool | None = None,
            **others: Unpack[TextArguments],
        ) -> None: ...

    def __init__(
        self,
        args: Command,
        options: Options | None = None,
        *,
        bufsize: int = -1,
        executable: Path | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        shell: bool = False,
        env: Environment | None = None,
        pass_fds: Iterable[int] = (),
        close_fds: bool = True,
        restore_signals: bool = True,
        process_group: int | None = None,
        held: bool = False,
        text: bool | None = None,
        universal_newlines: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        pipesize: int = -1,
        **others: Any,
    ) -> None:
        _check_text(encoding, errors)
        program = _program(args, executable, shell)
        has_options = options is not None
        options = _with(options, others)
        sys.audit("subprocess.Popen", program.executable or program.argv[0], args, options.cwd, env)
        self._lock = RLock()
        self._waiting = 0  # calls that use the pidfd
        with Naming(), _Streams((stdin, stdout, stderr), pipesize) as streams:
            self._streams = streams
            self._launch = partial(
                options.launch, program, env=env, default_init=True,
                pass_fds=_passed(tuple(pass_fds), close_fds),
                process_group=_group(process_group), held=held,
                ignored_signals=_ignored(restore_signals, has_options),
            )  # fmt: skip
            super().__init__(
                args, bufsize, text=text, universal_newlines=universal_newlines,
                encoding=encoding, errors=errors,
            )  # fmt: skip
            self.pipesize = pipesize
            del self._streams, self._launch

    @property
    def usage(self) -> Usage | None:
        """What it has used; None until it was waited for, and if somebody else did that."""
        return self._child.usage

    # ---- what subprocess.Popen calls: the same since Python 3.11

    def _get_handles(self, *_: object) -> tuple[int, ...]:
        return self._streams.open()

    def _execute_child(self, *_: object) -> None:
        stdin, stdout, stderr = self._streams.numbers
        self._child = self._launch(stdin=stdin, stdout=stdout, stderr=stderr)
        try:
            self._streams.let_go()
        except BaseException as error:
            undo(error, self._child.__exit__)
            raise
        self.pid = self._child.pid
        self._child_created = True
        self._take_the_terminal()

    def _take_the_terminal(self) -> None:
        # Ours to close, not the child's: what it last said is read after its end.
        if self._child.terminal_fd >= 0:
            self.terminal = FileIO(self._child.terminal_fd, "r+")
            self._child.terminal_fd = -1

    def communicate(self, input: Any = None, timeout: float | None = None) -> Any:
        with Naming():
            return super().communicate(input, timeout)

    def _communicate(self, input: Any, endtime: float | None, orig_timeout: float | None) -> Any:
        # subprocess forgets what is left of the input when its time was over once.
        if self._communication_started and self.stdin and not self.stdin.closed:
            input = self._input
        return super()._communicate(input, endtime, orig_timeout)  # type: ignore[misc]

    def _wait(self, timeout: float | None) -> int:
        left = timeout
        started = time.monotonic()
        while not self._ended_within(left):
            assert timeout is not None
            left = started + timeout - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _internal_poll(self, _deadstate: int | None = None, **_: object) -> int | None:
        """Called by `__del__` too."""
        try:
            self._ended_within(0)
        except ChildProcessError:
            if _deadstate is None:
                raise
            self.returncode = _deadstate
            self._child.close()
        return self.returncode

    def _ended_within(self, timeout: float | None) -> bool:
        """Whether it ends in about that time; then its status is known, and its pidfd closed.

        Raises:
            ChildProcessError: its status is lost.
        """
        with self._lock:
            if self.returncode is not None:
                return True
            self._waiting += 1
        try:
            with suppress(TimeoutError):
                longest = None if timeout is None else min(timeout, _LONGEST_POLL)
                self.returncode = self._child.wait(longest)
        finally:
            with self._lock:
                self._waiting -= 1
                # A number that is closed may be anything's: not while another call waits by it.
                if self.returncode is not None and not self._waiting:
                    self._child.close()
        return self.returncode is not None

    def __exit__(self, *exc_info: Any) -> None:
        if self._child.gate_fd >= 0:  # nobody will let it go: it would be waited for without end
            self.kill()
        if self.terminal:
            self.terminal.close()
        super().__exit__(*exc_info)

    # ---- by its pidfd

    @property
    def pidfd(self) -> int:
        return self._child.pidfd

    @property
    def program_pid(self) -> int:
        """The pid of the program itself, as seen from here: another than `pid` if a PID 1 stays.

        Tools that join namespaces by a pid, such as slirp4netns(1) and nsenter(1), need this one if
        they are not root's: they may not look into that PID 1. Once it has ended, it is `pid`.
        """
        from nsenter.targets import program_of

        return program_of(self.pid) or self.pid

    def go(self) -> None:
        """Have a program that is `held` executed.

        Raises:
            BootstrapError: it could not be; it is gone then.
            ValueError: it is not held, or not any more.
        """
        try:
            self._child.go()
        except OSError:
            self.kill()
            self.wait()
            raise

    def fileno(self) -> int:
        """The pidfd: readable when it has ended. Raises ValueError once it was waited for."""
        if self.pidfd < 0:
            raise ValueError(f"process {self.pid} was waited for: its pidfd is closed")
        return self.pidfd

    def send_signal(self, sig: int) -> None:
        """Send it a signal; nothing happens if it has ended."""
        with suppress(ChildProcessError):  # its status is lost
            self.poll()
        if self.returncode is None:
            self._child.send_signal(sig)


def _check_text(encoding: str | None, errors: str | None) -> None:
    """Before there are pipes, which subprocess would leave open."""
    if encoding is not None:
        codecs.lookup(encoding)
    if errors is not None:
        codecs.lookup_error(errors)


def _program(args: Command, executable: Path | None, shell: bool) -> Program:
    words: list[Path] = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
    if not words:
        raise ValueError("args is empty: there is no program to execute")
    if not shell:
        return Program(words, executable)
    if isinstance(args, os.PathLike):
        raise TypeError(f"args {args!r}: a shell takes a command, which is no path")
    return Program([executable or _SHELL, "-c", *words])


def _with(options: Options | None, arguments: dict[str, Any]) -> Options:
    """The options, with what subprocess has arguments of its own for."""
    if options is None:
        options = _AS_SUBPROCESS
    elif not isinstance(options, Options):
        raise TypeError(f"options {options!r}: expected nsenter.Options")
    changes = {}
    for name, value in arguments.items():
        if name in _REFUSED:
            default, why = _REFUSED[name]
            if value != default:
                raise ValueError(f"{name}={value!r}: {why}")
        elif name in Options._fields and name not in _FIELDS:
            raise TypeError(f"{name}: this is a field of options: nsenter.Options({name}=…)")
        elif name not in _FIELDS:
            raise TypeError(f"Popen has no argument {name}")
        # None says nothing: handed on as a default, it must not take the user of a sandbox away.
        elif value is not None:
            changes[_FIELDS[name]] = _converted(name, value)
    return options.replace(**changes) if changes else options


def _converted(name: str, value: Any) -> Any:
    """An argument of subprocess as the field of Options."""
    if name == "extra_groups":
        if isinstance(value, (str, bytes)):
            raise TypeError(f"extra_groups={value!r}: expected a sequence of groups")
        return tuple(_id(name, group) for group in value)
    if name in _IDS:
        return _id(name, value)
    if name == "umask":
        return None if isinstance(value, int) and value < 0 else value
    return bool(value) if name == "start_new_session" else value


def _id(name: str, value: Any) -> int:
    """Of a number, or of a name of our user database. Errors are subprocess's."""
    if isinstance(value, str):
        import grp
        import pwd

        try:
            return pwd.getpwnam(value).pw_uid if name == "user" else grp.getgrnam(value).gr_gid
        except KeyError:
            raise KeyError(f"{name}={value!r}: there is no such {name} here") from None
    if not isinstance(value, int):
        raise TypeError(f"{name}={value!r}: must be a number or a name")
    if value > _ID_MAX:
        kind = ValueError if name == "extra_groups" else OverflowError  # as subprocess
        raise kind(f"{name}={value!r}: must be 0 … {_ID_MAX}")
    return value


def _group(number: int | None) -> int | None:
    """What setpgid(2) takes; subprocess has -1 for no group as well."""
    if number is None or number == -1:
        return None
    if not isinstance(number, int):
        raise TypeError(f"process_group={number!r}: must be a number or None")
    if not 0 <= number <= _PID_MAX:
        kind = OverflowError if number > _PID_MAX else ValueError
        raise kind(f"process_group={number!r}: must be 0 … {_PID_MAX}")
    return number


def _passed(pass_fds: tuple[int, ...], close_fds: bool) -> tuple[int, ...]:
    """The descriptors that the process has besides its streams."""
    if close_fds:
        return pass_fds
    if pass_fds:
        warnings.warn("pass_fds overriding close_fds.", RuntimeWarning, stacklevel=3)
        return pass_fds
    return tuple(fd for fd in open_fds() if fd > 2 and _is_inheritable(fd))


def _is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # closed meanwhile
        return False


def _ignored(restore_signals: bool, has_options: bool) -> tuple[int, ...]:
    """Signals that the process ignores if this one does."""
    if not restore_signals:
        return _SIGNALS
    return () if has_options else tuple(n for n in _SIGNALS if n not in _PYTHONS)


if TYPE_CHECKING:

    @overload
    def run(
        args: Command,
        options: Options | None = None,
        *,
        input: str | None = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        text: Literal[True],
        **popen: Unpack[TextArguments],
    ) -> CompletedProcess[str]: ...
    @overload
    def run(
        args: Command,
        options: Options | None = None,
        *,
        input: str | None = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        encoding: str,
        **popen: Unpack[Arguments],
    ) -> CompletedProcess[str]: ...
    @overload
    def run(
        args: Command,
        options: Options | None = None,
        *,
        input: bytes | None = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **popen: Unpack[Arguments],
    ) -> CompletedProcess[bytes]: ...
    @overload
    def run(
        args: Command,
        options: Options | None = None,
        *,
        input: Any = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        text: bool | None = None,
        **popen: Unpack[TextArguments],
    ) -> CompletedProcess[Any]: ...


def run(
    args: Command,
    options: Options | None = None,
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **popen: Any,
) -> CompletedProcess[Any]:
    """Run a program in namespaces to its end.

    Args:
        input: what it reads from stdin.
        capture_output: keep its stdout and its stderr.
        timeout: seconds, after which it is killed; in a new pid namespace, with all in it.
        check: that its exit status is 0.
        The others are those of `Popen`.

    Raises:
        subprocess.TimeoutExpired, subprocess.CalledProcessError: as subprocess.run does.
        BootstrapError: it could not be started.
    """
    if input is not None:
        _take_over(popen, "input", stdin=subprocess.PIPE)
    if capture_output:
        _take_over(popen, "capture_output", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with Popen(args, options, **popen) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException as error:
            # It is reaped even if ^C ends the wait for it: it may not have seen the signal.
            undo(error, process.kill, lambda: _reap(process))
            raise
        status = process.wait()
    done = CompletedProcess(process.args, status, stdout, stderr)
    done.usage = process.usage
    if check:
        done.check_returncode()
    return done


def _reap(process: Popen[Any]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process._wait(timeout=_REAP_SECONDS)


def _take_over(popen: dict[str, Any], by: str, **streams: int) -> None:
    for name, stream in streams.items():
        if popen.get(name) is not None:
            raise ValueError(f"{name}={popen[name]!r}: {by} is given, which takes it over")
        popen[name] = stream


def check_call(
    args: Command,
    options: Options | None = None,
    *,
    timeout: float | None = None,
    **popen: Unpack[TextArguments],
) -> int:
    """Run a program in namespaces; returns 0. Arguments and errors are those of `run`."""
    return run(args, options, timeout=timeout, check=True, **popen).returncode


if TYPE_CHECKING:

    @overload
    def check_output(
        args: Command,
        options: Options | None = None,
        *,
        input: str | None = None,
        timeout: float | None = None,
        text: Literal[True],
        **popen: Unpack[TextOutputArguments],
    ) -> str: ...
    @overload
    def check_output(
        args: Command,
        options: Options | None = None,
        *,
        input: str | None = None,
        timeout: float | None = None,
        encoding: str,
        **popen: Unpack[OutputArguments],
    ) -> str: ...
    @overload
    def check_output(
        args: Command,
        options: Options | None = None,
        *,
        input: bytes | None = None,
        timeout: float | None = None,
        **popen: Unpack[OutputArguments],
    ) -> bytes: ...
    @overload
    def check_output(
        args: Command,
        options: Options | None = None,
        *,
        input: Any = None,
        timeout: float | None = None,
        text: bool | None = None,
        **popen: Unpack[TextOutputArguments],
    ) -> Any: ...


def check_output(
    args: Command,
    options: Options | None = None,
    *,
    input: Any = None,
    timeout: float | None = None,
    **popen: Any,
) -> Any:
    """Run a program in namespaces; returns its stdout. The rest is as for `run`."""
    for name in ("stdout", "check", "capture_output"):
        if name in popen:
            what = f"{name} argument not allowed, it will be overridden"  # subprocess's words
            raise ValueError(f"{what}: check_output sees to it itself")
    popen["stdout"] = subprocess.PIPE
    return run(args, options, input=input, timeout=timeout, check=True, **popen).stdout
