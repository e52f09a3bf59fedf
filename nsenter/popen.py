# SPDX-License-Identifier: Apache-2.0
"""subprocess for namespaces: Popen, run, check_call and check_output.

`Popen` is a subclass of subprocess.Popen, and uses its pipes and its `communicate`. It starts the
process without forking the caller, and waits for it and signals it through a pidfd.
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
from collections.abc import Iterable
from functools import partial
from io import FileIO
from typing import Any, AnyStr, Literal, Unpack, overload

from nsenter._host.cleanup import undo
from nsenter._host.suppress import suppress
from nsenter._launch.child import Child
from nsenter._launch.descriptors import Descriptors, open_fds
from nsenter._launch.popen_types import (
    Arguments,
    Command,
    OutputArguments,
    Path,
    Stream,
    TextArguments,
    TextOutputArguments,
)
from nsenter._launch.usage import Usage
from nsenter.errors import Naming
from nsenter.launch import Environment, Program
from nsenter.options import Options

TYPE_CHECKING = False

__all__ = ["CompletedProcess", "Popen", "check_call", "check_output", "run"]

_SHELL = "/bin/sh"
_REAP_SECONDS = 5.0
_INT_MAX = 2**31 - 1
_SIGNALS = tuple(range(1, 65))
_LONGEST_POLL = 1e6  # seconds; poll(2) takes an int of milliseconds
# The arguments of subprocess.Popen that set a field of Options, and those fields.
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
# Without options the process is isolated no more than a process of subprocess.
_AS_SUBPROCESS = Options(new_session=False)
# Signals that Python ignores in its own process; restore_signals restores their default.
_PYTHONS = frozenset((signal.SIGPIPE, signal.SIGXFSZ))
# Arguments of subprocess.Popen that cannot be supported: their default, and the reason.
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
    """The standard streams of a process, and the caller's ends of its pipes.

    Args:
        given: for descriptors 0, 1 and 2: None (the caller's), PIPE, DEVNULL, a descriptor, or a
            file object; STDOUT for 2.
        pipesize: the capacity of a pipe in bytes; -1 means the kernel's default.
    """

    def __init__(self, given: tuple[Stream, Stream, Stream], pipesize: int) -> None:
        self._given = given
        self._pipesize = pipesize
        self._theirs = Descriptors()
        self._ours = Descriptors()
        self.numbers: list[int] = []

    def open(self) -> tuple[int, ...]:
        """Make the pipes. Return both ends of each for subprocess, which then owns the caller's."""
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
        """Return the caller's stream, or /dev/null if it is closed.

        Otherwise the first file that the program opens would get the number of the stream.
        """
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
        """Close the ends of the process, which has its own copies now."""
        self._theirs.let_go()

    def __exit__(self, *exc_info: object) -> None:
        self._theirs.close()


class CompletedProcess(subprocess.CompletedProcess[AnyStr]):
    """The result of `run`, as in subprocess.

    Attributes:
        usage: the resources that the process used: see `Popen.usage`.
    """

    usage: Usage | None = None


class Popen(subprocess.Popen[AnyStr]):
    """A process in namespaces. Everything that is not described here is as in subprocess.Popen.

    Args:
        args: the program and its arguments; if `shell` is true, a shell command.
        options: how the process is isolated. None means not at all, as in subprocess. (`Options()`
            starts it in a new session.)
        stdin, stdout, stderr: as in subprocess. If a stream is None and the caller's is closed, the
            process gets /dev/null.
        executable: the program to execute if args[0] is another name for it; if `shell` is true,
            the shell.
        env: the environment; None means the caller's.
        pass_fds: the only descriptors that the process gets besides its standard streams.
        cwd, user, group, extra_groups, umask, start_new_session: as in subprocess. They replace the
            corresponding fields of `options`; paths and ids are those inside. None leaves the field
            of `options` unchanged. False and a umask of -1 mean what they mean in subprocess.
        close_fds: if false, the process gets every inheritable descriptor of the caller.
        restore_signals: if true, SIGPIPE and SIGXFSZ get their default disposition. Without
            `options`, other signals that the caller ignores stay ignored. With `options`, every
            signal gets its default disposition, unless this is false.
        wait_for_go: make the program wait in its namespaces until `go` is called. Meanwhile other
            programs can set up the namespaces through `program_pid`, as slirp4netns(1) does.
        **others: every other argument of subprocess.Popen, except preexec_fn.

    Attributes:
        pid: the pid of the process in the caller's PID namespace.
        pidfd: a descriptor of the process, for poll(2) and for `Options.join`; -1 after the process
            was waited for.
        returncode: the exit status, or the negative number of the signal that killed the process;
            None as long as the process may be running.
        terminal: the caller's side of the terminal, a raw file; None without `Options.terminal`.

    Raises:
        BootstrapError: the process could not be started. It is also a FileNotFoundError,
            PermissionError, and so on, according to its errno.
        ValueError, TypeError: an argument is not valid; nothing was started.
        ChildProcessError: `wait` and `poll` cannot get the status: see `Child.wait`.
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
        wait_for_go: bool = False,
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
                process_group=_group(process_group), wait_for_go=wait_for_go,
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
        """The resources that the process used; None until this object has waited for it."""
        return self._child.usage

    # ---- the methods that subprocess.Popen calls, unchanged since Python 3.11

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
        # This object closes it, because the last output is read after the end of the child.
        if self._child.terminal_fd >= 0:
            self.terminal = FileIO(self._child.terminal_fd, "r+")
            self._child.terminal_fd = -1

    def communicate(self, input: Any = None, timeout: float | None = None) -> Any:
        """Send input, read the output, and wait: see subprocess.Popen.communicate."""
        with Naming():
            return super().communicate(input, timeout)

    def _communicate(self, input: Any, endtime: float | None, orig_timeout: float | None) -> Any:
        # subprocess loses the rest of the input if an earlier call timed out.
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
        """Poll; `__del__` calls this as well."""
        try:
            self._ended_within(0)
        except ChildProcessError:
            if _deadstate is None:
                raise
            self.returncode = _deadstate
            self._child.close()
        return self.returncode

    def _ended_within(self, timeout: float | None) -> bool:
        """Return whether the process ends within about `timeout` seconds.

        If it does, its status is stored and its pidfd is closed.

        Raises:
            ChildProcessError: the status is lost.
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
                # Another call may still use the pidfd, and a closed number can be reused.
                if self.returncode is not None and not self._waiting:
                    self._child.close()
        return self.returncode is not None

    def __exit__(self, *exc_info: Any) -> None:
        if self._child.gate_fd >= 0:  # nobody can call go() any more: the wait would never end
            self.kill()
        if self.terminal:
            self.terminal.close()
        super().__exit__(*exc_info)

    # ---- the pidfd

    @property
    def pidfd(self) -> int:
        """The pidfd of the process; -1 after the process was waited for."""
        return self._child.pidfd

    @property
    def program_pid(self) -> int:
        """The pid of the program itself, in the caller's PID namespace.

        It differs from `pid` if there is an init.

        Tools that join namespaces by a pid, such as slirp4netns(1) and nsenter(1), require this pid
        if they do not run as root, because they may not access the init. After the program has
        ended, this is `pid`.
        """
        return self._child.program_pid

    def go(self) -> None:
        """Execute a program that was started with `wait_for_go=True`.

        Raises:
            BootstrapError: the program could not be executed; the process has ended.
            ValueError: the program was not started with `wait_for_go=True`.
        """
        try:
            self._child.go()
        except OSError:
            self.kill()
            self.wait()
            raise

    def fileno(self) -> int:
        """Return the pidfd, which is readable when the process has ended.

        Raises:
            ValueError: the process was waited for already.
        """
        if self.pidfd < 0:
            raise ValueError(f"process {self.pid} was waited for: its pidfd is closed")
        return self.pidfd

    def send_signal(self, sig: int) -> None:
        """Send a signal to the process; do nothing if it has ended."""
        with suppress(ChildProcessError):  # its status is lost
            self.poll()
        if self.returncode is None:
            self._child.send_signal(sig)


def _check_text(encoding: str | None, errors: str | None) -> None:
    """Raise LookupError before there are pipes, which subprocess would leave open."""
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
    """Return the options, changed by the arguments of subprocess."""
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
        # None changes nothing: wrappers pass it as a default, and a sandbox must keep its user.
        elif value is not None:
            changes[_FIELDS[name]] = _converted(name, value)
    return options.replace(**changes) if changes else options


def _converted(name: str, value: Any) -> Any:
    """Return the value of the field of Options for an argument of subprocess."""
    if name == "extra_groups":
        if isinstance(value, (str, bytes)):
            raise TypeError(f"extra_groups={value!r}: expected a sequence of groups")
        return tuple(_id(name, group) for group in value)
    if name in _IDS:
        return _id(name, value)
    if name == "umask":
        return _mask(value)
    return bool(value) if name == "start_new_session" else value


def _id(name: str, value: Any) -> int:
    """Return the id for a number or for a name of the caller's user database.

    The types of the errors are those of subprocess.
    """
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


def _mask(umask: Any) -> Any:
    """Return the umask.

    As in subprocess, a negative umask changes nothing, and only the bits of 0o777 count.
    """
    if not isinstance(umask, int):
        return umask
    if umask > _INT_MAX:
        raise OverflowError(f"umask={umask!r}: must be 0 … 0o777")
    return None if umask < 0 else umask & 0o777


def _group(number: int | None) -> int | None:
    """Return the argument for setpgid(2). In subprocess, one below 0 means no group as well."""
    if number is None:
        return None
    if not isinstance(number, int):
        raise TypeError(f"process_group={number!r}: must be a number or None")
    if number > _INT_MAX:
        raise OverflowError(f"process_group={number!r}: must be 0 … {_INT_MAX}")
    return None if number < 0 else number


def _passed(pass_fds: tuple[int, ...], close_fds: bool) -> tuple[int, ...]:
    """Return the descriptors that the process gets besides its streams."""
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
    """Return the signals that the process ignores if the caller does."""
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
    """Run a program in namespaces and wait until it ends.

    Args:
        input: the data that the program reads from stdin.
        capture_output: capture stdout and stderr.
        timeout: seconds after which the process is killed; in a new PID namespace, every process
            in it is killed.
        check: raise CalledProcessError if the exit status is not 0.
        **popen: every other argument of `Popen`.

    Returns:
        The result, with the arguments, the exit status and the captured output.

    Raises:
        subprocess.TimeoutExpired, subprocess.CalledProcessError: as in subprocess.run. They have
            `verdict`, a `Verdict`, and `usage`, as `Popen.usage`.
        BootstrapError: the process could not be started.
    """
    if input is not None:
        _take_over(popen, "input", stdin=subprocess.PIPE)
    if capture_output:
        _take_over(popen, "capture_output", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with Popen(args, options, **popen) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException as error:
            # Reap it even if ^C ends the wait: the process may not have got that signal.
            undo(error, process.kill, lambda: _reap(process))
            _add_end(error, process)
            raise
        status = process.wait()
    done = CompletedProcess(process.args, status, stdout, stderr)
    done.usage = process.usage
    if check and status:
        try:
            done.check_returncode()
        except subprocess.CalledProcessError as error:
            _add_end(error, process)
            raise
    return done


def _add_end(error: BaseException, process: Popen[Any]) -> None:
    """Add why the process ended, and what it used, to an exception about its end."""
    if isinstance(error, subprocess.SubprocessError):
        from nsenter._sandbox.result import add_end  # only errors need it

        add_end(error, process.returncode, process.usage)


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
    """Run a program in namespaces and return 0. Arguments and errors are those of `run`."""
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
    """Run a program in namespaces and return its stdout. The rest is as for `run`."""
    for name in ("stdout", "check", "capture_output"):
        if name in popen:
            what = f"{name} argument not allowed, it will be overridden"  # subprocess's words
            raise ValueError(f"{what}: check_output sees to it itself")
    popen["stdout"] = subprocess.PIPE
    return run(args, options, input=input, timeout=timeout, check=True, **popen).stdout
