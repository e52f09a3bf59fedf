# SPDX-License-Identifier: Apache-2.0
"""Sandbox: run other people's code with limits, and learn what became of it.

A sandbox puts together `nsenter.presets.sandbox`, limits of the whole tree of processes
(`nsenter.Limits`), a deadline, a limit of output, and, if asked for, a workspace and a network.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from nsenter import presets
from nsenter._cgroups.limits import Limits
from nsenter._host.cleanup import undo
from nsenter._host.sizes import in_bytes
from nsenter._launch import limited_start
from nsenter._launch.child import Child
from nsenter._sandbox.parts import Part
from nsenter._sandbox.result import Result, RunFailed, Verdict, verdict_of
from nsenter._sandbox.watch import Order, Streams, Watch
from nsenter.errors import BootstrapError, Naming
from nsenter.launch import Environment, Program, StrOrBytes
from nsenter.mounts import Path
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, Self, TypeVar

    from nsenter._sandbox.changes import Change
    from nsenter._sandbox.explain import Explanation
    from nsenter._sandbox.ladder import Fallback
    from nsenter._sandbox.root import Root
    from nsenter._sandbox.workspace import Workspace
    from nsenter.calling import Caller

    P = ParamSpec("P")
    T = TypeVar("T")
else:
    from nsenter._remote.call_hints import Callable, P, T

    Self = Change = Explanation = Fallback = Root = Workspace = Caller = object

__all__ = ["Result", "RunFailed", "Sandbox", "Verdict"]

_MODES = ("required", "best effort")
_NETWORKS = ("none", "host")
# An error of these stages is about the program and its options, any other about this process.
_STAGES = ("parent", "child", "init")
# What a program has in its environment if nothing else is given: the caller's may hold secrets.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
}


class Sandbox:
    r"""A place to run code that nobody has read.

    As a context manager, it prepares its workspace and network at the start of the block and
    removes them at the end. Each run is a new set of processes; nothing of it is left when `run`
    returns.

    Args:
        options: how the processes are isolated. None means `nsenter.presets.sandbox` with `read`,
            `write`, `tmp_size` and `fields`. A new PID namespace is required.
        memory, swap, pids, cpus: the limits of all processes of a run together, as in `Limits`.
        limits: "required" refuses to run anything if a limit cannot be set for the whole tree of
            processes; "best effort" then limits each process by itself, as far as that is possible,
            and `Result.limited_by` says so.
        timeout: how many seconds a run may take; None means no limit.
        output_limit: how many bytes a run may write to its output and its errors together: a number
            or a string such as "1M".
        root: what the runs have as their root instead of the programs and libraries of the system:
            a directory, or the name of an OCI image such as "oci:directory:tag" or
            "docker://debian:stable", which skopeo(1) and umoci(1) fetch and unpack once into the
            user's cache directory. It is read-only without `overlay`. The variables of the image
            are in the environment.
        workspace: a directory of the caller that the runs work in, as /workspace.
        overlay: keep the changes of the runs apart from the workspace and the root, until `commit`
            or `reset`.
        workspace_size: how many bytes these changes can have, in each; None means 256 MiB.
        network: "none" means a loopback device only; "host" means the network of the caller; or an
            object that makes one, such as `Egress`.
        env: the environment of the processes. None means a short one without anything of the
            caller's.
        read, write, tmp_size: as for `nsenter.presets.sandbox`.
        fallback: what isolates the runs if namespaces are forbidden here. None means nothing: a run
            is then not started, and its error says what is in the way. "landlock" means Landlock
            and a system call filter, with the user of the caller: see docs/sandbox.md for what is
            weaker then. It excludes the arguments that always require namespaces.
        fields: fields of `Options`.

    Attributes:
        refused: a line for each thing that the network refused during the last `call`.
        isolated_by: "namespaces", or "landlock" if an open sandbox had to fall back to it.
        no_namespaces: the error that made it fall back; None if it did not.

    Raises:
        TypeError, ValueError: an argument is not valid.

    Example:
        >>> import nsenter
        >>> with nsenter.Sandbox(timeout=10) as box:
        ...     result = box.run(["echo", "hello"], output_limit="1M")
        >>> result.verdict, result.returncode, result.stdout
        (<Verdict.EXITED: 'exited'>, 0, b'hello\n')
    """

    refused: tuple[str, ...] = ()
    isolated_by = "namespaces"
    no_namespaces: BootstrapError | None = None

    def __init__(
        self,
        options: Options | None = None,
        *,
        memory: int | str | None = None,
        swap: int | str | None = None,
        pids: int | None = None,
        cpus: float | None = None,
        limits: str = "required",
        timeout: float | None = None,
        output_limit: int | str = "64M",
        root: Path | None = None,
        workspace: Path | None = None,
        overlay: bool | str = False,
        workspace_size: int | str | None = None,
        network: str | Part = "none",
        env: Environment | None = None,
        read: Iterable[Path] = (),
        write: Iterable[Path] = (),
        tmp_size: int | str | None = None,
        fallback: str | None = None,
        **fields: Any,
    ) -> None:
        _check_word("limits", limits, _MODES)
        self._limits = Limits(memory, swap, pids, cpus, required=limits == "required")
        self._timeout = _seconds(timeout)
        self._output_limit = _size(output_limit)
        self._env = env
        self._fallback: Fallback | None = None
        if fallback is not None:
            given: dict[str, object] = {
                "options": options,
                "root": root,
                "workspace": workspace,
                "overlay": overlay,
            }
            given |= {"workspace_size": workspace_size, "tmp_size": tmp_size}
            self._fallback = _fallback(fallback, read, write, network, dict(fields), given)
        if network == "host":
            fields["new"] = _without_network(fields.get("new", "all"))
        if options is None:
            options = presets.sandbox(
                read=read, write=write, tmp_size=tmp_size, system=root is None, **fields
            )
        elif fields or read or write or tmp_size is not None:
            words = ", ".join([*fields, *_given(read=read, write=write, tmp_size=tmp_size)])
            raise ValueError(f"{words}: options is given, which says this itself")
        elif not isinstance(options, Options):
            raise TypeError(f"options must be an nsenter.Options, not {options!r}")
        self._options = _checked(options).replace(limits=self._limits)
        if (overlay or workspace_size is not None) and workspace is None and root is None:
            raise ValueError("overlay and workspace_size require a workspace or a root")
        self._root = _root(root, self._options, overlay, workspace_size)
        self._workspace = _workspace(workspace, self._options, overlay, workspace_size)
        parts = (self._root, self._workspace, _network(network))
        self._parts = [part.for_sandbox() for part in parts if part is not None]
        self._opened: ExitStack | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def open(self) -> None:
        """Check the limits, and prepare the workspace and the network.

        Raises:
            BootstrapError: a limit is required and cannot be set here; the error says why.
            OSError, ValueError: the workspace or the network cannot be made.
        """
        if self._opened is not None:
            raise ValueError("the sandbox is open already")
        limited_start.check(self._limits)
        with ExitStack() as stack:
            if self._fallback is not None:
                self._choose(self._fallback, stack)
            for part in self._parts:
                part.open()
                stack.callback(part.close)
            self._opened = stack.pop_all()

    def _choose(self, fallback: Fallback, stack: ExitStack) -> None:
        """Use the fallback if there can be no namespaces."""
        from nsenter._sandbox.ladder import LANDLOCK, NAMESPACES, why_no_namespaces

        self.no_namespaces = why_no_namespaces()
        self.isolated_by = NAMESPACES if self.no_namespaces is None else LANDLOCK
        if self.no_namespaces is not None:
            fallback.open()
            stack.callback(fallback.close)

    def _falls_back(self) -> Fallback | None:
        """Return what is used instead of namespaces; None if these are used.

        Raises:
            ValueError: the sandbox is not open, so it is not known.
        """
        if self._fallback is not None and self._opened is None:
            raise ValueError('fallback="landlock" requires an open sandbox: use it by `with`')
        return None if self.no_namespaces is None else self._fallback

    def close(self) -> None:
        """Remove the workspace and the network. Does nothing if the sandbox is not open."""
        stack, self._opened = self._opened, None
        if stack is not None:
            stack.close()

    def run(
        self,
        args: Iterable[StrOrBytes | os.PathLike[str]],
        *,
        input: bytes = b"",
        timeout: float | None = None,
        output_limit: int | str | None = None,
        env: Environment | None = None,
        cwd: Path | None = None,
        on_output: Callable[[int, bytes], object] | None = None,
        explain: bool = False,
    ) -> Result:
        """Run a program and wait until it has ended, together with everything that it started.

        Args:
            args: the program and its arguments.
            input: what the program reads from its standard input.
            timeout, output_limit, env: instead of those of the sandbox.
            cwd: the working directory.
            on_output: is called with each piece of output as soon as it is read: with 1 for the
                standard output or 2 for the standard error, and the bytes. The result has all of it
                nevertheless.
            explain: list the system calls that the filter denies in `Result.denied`. Each of them
                takes longer: a thread of this process answers it.

        Returns:
            The result. What becomes of the program is no error: see `Result.verdict` and
            `Result.check`.

        Raises:
            TypeError, ValueError: an argument is not valid; nothing was started.
            BootstrapError: a limit is required and cannot be set, or this process lacks something,
                such as descriptors. `stage` is "launcher".

        Example:
            >>> import nsenter
            >>> with nsenter.Sandbox() as box:
            ...     result = box.run(["sh", "-c", "while :; do :; done"], timeout=0.1)
            >>> result.verdict
            <Verdict.TIMEOUT: 'timeout'>
        """
        order = self._order(args, input, timeout, output_limit, env, cwd, on_output, explain)
        with Naming():
            streams = Streams()
            try:
                child = self._start(order, streams)
            except BaseException as error:
                undo(error, streams.close)
                return self._not_started(order, error)
            watch = Watch(child, streams, order)
            try:
                watch.run()
            except BaseException as error:
                undo(error, watch.kill, watch.close)
                raise
            return self._result(order, child, watch)

    async def run_async(
        self,
        args: Iterable[StrOrBytes | os.PathLike[str]],
        *,
        input: bytes = b"",
        timeout: float | None = None,
        output_limit: int | str | None = None,
        env: Environment | None = None,
        cwd: Path | None = None,
        on_output: Callable[[int, bytes], object] | None = None,
        explain: bool = False,
    ) -> Result:
        r"""Run a program as `run` does, in the loop of asyncio.

        No thread waits for the program. If the task is cancelled, everything is killed. The
        arguments, the result and the errors are those of `run`.

        Example:
            >>> import asyncio, nsenter
            >>> async def both():
            ...     runs = [box.run_async(["echo", word]) for word in ("one", "two")]
            ...     return [result.stdout for result in await asyncio.gather(*runs)]
            >>> with nsenter.Sandbox() as box:
            ...     asyncio.run(both())
            [b'one\n', b'two\n']
        """
        from nsenter._sandbox.asynchronous import start_in_thread, watch_in_loop

        order = self._order(args, input, timeout, output_limit, env, cwd, on_output, explain)
        with Naming():
            streams = Streams()
            try:
                child = await start_in_thread(lambda: self._start(order, streams), streams)
            except BaseException as error:
                return self._not_started(order, error)
            watch = Watch(child, streams, order)
            try:
                await watch_in_loop(watch)
            except BaseException as error:
                undo(error, watch.close)
                raise
            return self._result(order, child, watch)

    def _order(
        self,
        args: Any,
        data: bytes,
        timeout: float | None,
        output_limit: int | str | None,
        env: Environment | None,
        cwd: Path | None,
        on_output: Callable[[int, bytes], object] | None,
        explain: bool,
    ) -> Order:
        """Check the arguments of a run."""
        if isinstance(args, (str, bytes, os.PathLike)):
            raise TypeError(f"args must be a sequence of strings, such as [{args!r}], not {args!r}")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"input must be bytes, not {type(data).__name__}")
        if on_output is not None and not callable(on_output):
            raise TypeError(f"on_output must be a function, not {on_output!r}")
        return Order(
            tuple(args),
            bytes(data),
            self._timeout if timeout is None else _seconds(timeout),
            self._output_limit if output_limit is None else _size(output_limit),
            self._env if env is None else env,
            cwd,
            on_output,
            self._explanation() if explain else None,
        )

    def _explanation(self) -> Explanation:
        from nsenter._sandbox.explain import Explanation

        fallback = self._falls_back()
        return Explanation(self._options if fallback is None else fallback.options())

    def _start(self, order: Order, streams: Streams) -> Child:
        options, environment = self._prepared(order.env)
        if order.cwd is not None:
            options = options.replace(cwd=order.cwd)
        explanation = order.explanation
        if explanation is not None:
            options = explanation.changed(options)
        waits = any(part.holds for part in self._parts)
        ends = streams.theirs
        child = options.launch(
            Program(order.args), stdin=ends[0], stdout=ends[1], stderr=ends[2], env=environment,
            default_init=True, wait_for_go=waits,
            listener=explanation is not None and explanation.has_listener,
        )  # fmt: skip
        child.leads_group = self._falls_back() is not None
        try:
            streams.hand_over()
            if explanation is not None:
                explanation.watch(child)
            if waits:
                self._attach(child)
                child.go()
        except BaseException as error:
            undo(error, child.__exit__, lambda: self._refused(child))
            raise
        return child

    def _attach(self, child: Child) -> None:
        for part in self._parts:
            if part.holds:
                part.attach(child)

    def _prepared(self, env: Environment | None) -> tuple[Options, Environment]:
        """Return the options and the environment of the next run."""
        options = self._options
        environment: Environment = ENVIRONMENT if env is None else env
        if self._root is not None:
            environment = self._root.completed(environment, is_given=env is not None)
        fallback = self._falls_back()
        if fallback is not None:
            options = fallback.options().replace(limits=self._limits)
            environment = _with_variables(environment, fallback.environment())
        for part in self._parts:
            changes = part.changes(options)
            options = options.replace(**changes) if changes else options
            if more := part.environment():
                environment = _with_variables(environment, more)
        return options, environment

    def _result(self, order: Order, child: Child, watch: Watch) -> Result:
        watch.close()
        assert watch.returncode is not None and child.usage is not None
        # The kernel counts it for one process, and for an init that was killed as 0.
        usage = child.usage.replace(max_rss=None)
        return Result(
            order.args,
            verdict_of(watch.cause, watch.returncode, usage),
            watch.returncode,
            b"".join(watch.output[1]),
            b"".join(watch.output[2]),
            watch.wall_time,
            usage,
            child.limited_by,
            self._refused(child),
            None,
            () if order.explanation is None else order.explanation.finish(),
            self.isolated_by,
        )

    def _not_started(self, order: Order, error: BaseException) -> Result:
        """Return the result for a program that could not be executed; raise any other error."""
        if not isinstance(error, BootstrapError) or error.stage not in _STAGES:
            raise error
        return Result(
            order.args, Verdict.NOT_STARTED, None, b"", b"", 0.0, None, {}, (), error,
            isolated_by=self.isolated_by,
        )  # fmt: skip

    def _refused(self, child: Child) -> tuple[str, ...]:
        return tuple(line for part in self._parts for line in part.refusals(child))

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the sandbox, as `Caller.call` does, with the limits of the sandbox.

        Args:
            function: the function.
            *args, **kwargs: its arguments.

        Returns:
            The value of the function, which is plain data.

        Raises:
            Exception: as for `Caller.call`. TimeoutError and WorkerDied then have the attributes
                `verdict` and `usage`.

        Example:
            >>> import nsenter
            >>> with nsenter.Sandbox() as box:
            ...     box.call(sum, [1, 2, 3])
            6
        """
        from nsenter.calling import Caller

        if self._falls_back() is not None:
            raise ValueError("a call requires namespaces: with Landlock alone, use run()")
        options, environment = self._prepared(self._env)
        caller = Caller(options, self._timeout, env=environment)
        if not any(part.holds for part in self._parts):
            return caller.call(function, *args, **kwargs)
        value: T = self._call_attached(caller, function, args, kwargs)
        return value

    def _call_attached(self, caller: Caller, function: Any, args: Any, kwargs: Any) -> Any:
        """Call a function in a process that has a network before it gets the function."""
        from nsenter._remote.call_bytes import pack
        from nsenter.calling import Worker

        encoded = pack(function, args, kwargs, as_data=True)
        worker = Worker(caller, encoded.modules)
        try:
            with worker:
                self._attach(worker._child)
                return worker.run(encoded)
        finally:
            self.refused = self._refused(worker._child)

    # ---- the workspace

    @property
    def workspace(self) -> Workspace:
        """The workspace of an open sandbox.

        Raises:
            ValueError: the sandbox has none.
        """
        if self._workspace is None:
            raise ValueError("the sandbox has no workspace: give it a directory, workspace=PATH")
        return self._workspace

    def write(self, path: Path, data: bytes | str, mode: int = 0o644) -> None:
        """Write a file in the workspace: see `Workspace.write`."""
        self.workspace.write(path, data, mode)

    def read(self, path: Path, limit: int | str = "64M") -> bytes:
        """Return the content of a regular file in the workspace: see `Workspace.read`."""
        return self.workspace.read(path, limit)

    def changes(self, only: Path = ".") -> list[Change]:
        """Return what the runs have changed in an overlay: see `Workspace.changed`."""
        return self.workspace.changed(only)

    def diff(self, only: Path = ".") -> str:
        """Return the changes of text files in an overlay: see `Workspace.diff`."""
        return self.workspace.diff(only)

    def commit(self, *paths: Path, limit: int | str = "64M") -> list[Change]:
        """Bring changes of an overlay back to the directory: see `Workspace.commit`."""
        return self.workspace.commit(*paths, limit=limit)

    def reset(self) -> None:
        """Forget all changes of the overlays of the workspace and of the root.

        Raises:
            ValueError: there is no overlay.
        """
        if self._root is not None:
            self._root.reset()
        if self._root is None or self._workspace is not None:
            self.workspace.reset()


def _check_word(name: str, given: object, words: tuple[str, ...]) -> None:
    if given not in words:
        listed = " or ".join(f'"{word}"' for word in words)
        raise ValueError(f"{name} must be {listed}, not {given!r}")


def _seconds(given: object) -> float | None:
    if given is None:
        return None
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise TypeError(f"timeout must be seconds or None, not {given!r}")
    if not given >= 0:
        raise ValueError(f"timeout must be at least 0 seconds, or None, not {given!r}")
    return float(given)


def _size(given: object) -> int:
    number = in_bytes(given)
    if number is None:
        raise TypeError(f'output_limit must be a number of bytes, also as "1M", not {given!r}')
    if number < 0:
        raise ValueError(f"output_limit must be at least 0 bytes, not {given!r}")
    return number


def _workspace(
    path: Path | None, options: Options, overlay: bool | str, size: int | str | None
) -> Workspace | None:
    if path is not None:
        from nsenter._sandbox.workspace import Workspace

        return Workspace(path, options, overlay=overlay, size=size)
    return None


def _root(
    source: Path | None, options: Options, overlay: bool | str, size: int | str | None
) -> Root | None:
    if source is not None:
        from nsenter._sandbox.root import Root

        return Root(source, options, overlay=overlay, size=size)
    return None


def _fallback(
    word: str,
    read: Iterable[Path],
    write: Iterable[Path],
    network: object,
    fields: dict[str, Any],
    given: dict[str, object],
) -> Fallback:
    from nsenter._sandbox.ladder import LANDLOCK, Fallback

    if word != LANDLOCK:
        raise ValueError(f'fallback must be "{LANDLOCK}" or None, not {word!r}')
    return Fallback(read, write, network, fields, given)


def _network(given: str | Part) -> Part | None:
    if isinstance(given, Part):
        return given
    _check_word("network", given, _NETWORKS)
    return None


def _without_network(new: object) -> list[Any]:
    from nsenter.namespaces import NamespaceType, supported_namespaces

    kinds = supported_namespaces() if new == "all" else Options(new=new)._given_kinds()  # type: ignore[arg-type]
    return [kind for kind in kinds if kind is not NamespaceType.NEWNET]


def _given(**arguments: object) -> list[str]:
    return [name for name, value in arguments.items() if value]


def _checked(options: Options) -> Options:
    from nsenter.namespaces import NamespaceType

    if options.limits is not None or options.cgroup is not None:
        raise ValueError("options must have no limits and no cgroup: give them to the sandbox")
    if options.new != "all" and NamespaceType.NEWPID not in options._given_kinds():
        raise ValueError('a sandbox requires a new PID namespace: add "pid" to new')
    if options.init is False:
        raise ValueError("init=False: a sandbox requires the init of its PID namespace")
    if options.terminal:
        raise ValueError("terminal=True: the streams of a sandbox are pipes")
    return options


def _with_variables(environment: Environment, more: Mapping[str, str]) -> Environment:
    merged = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    merged.update({os.fsencode(name): os.fsencode(value) for name, value in more.items()})
    return merged
