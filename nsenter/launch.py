# SPDX-License-Identifier: Apache-2.0
"""Starting a process in namespaces.

The caller may be of any size and have any number of threads: it is never forked and never
changes namespaces itself. A small program is spawned in its place, gets a bootstrap message,
and becomes the process (see docs/how-it-works.md).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import ECANCELED, ENOENT

from nsenter._host.cleanup import close
from nsenter._host.records import Value
from nsenter._launch.child import Child, TracePoint
from nsenter._launch.descriptors import (
    Descriptors,
    Pipes,
    above_the_streams,
    borrowed_fds,
    checked_fds,
)
from nsenter._launch.handshake import Handshake
from nsenter._launch.nsinit import nsinit_fd, nsinit_path
from nsenter._launch.process_parent import THIS_PROCESS, Parent, end_unstarted
from nsenter._launch.spawn import Spawn
from nsenter._message.launch import LaunchAttribute, Settings
from nsenter.bootstrap import BootstrapData
from nsenter.errors import BootstrapError, Naming
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from nsenter._interpreter.module_archive import ModuleArchive
    from nsenter._interpreter.prebooted import PrebootedInit
    from nsenter._launch.confinement import Confinement

    T = TypeVar("T")
else:
    # What typing.get_type_hints finds. Importing typing takes 4 ms, and the modules with these
    # classes are imported when they are needed.
    Any = T = ModuleArchive = Confinement = PrebootedInit = object

StrOrBytes = str | bytes
Environment = Mapping[str, str] | Mapping[bytes, bytes]

__all__ = ["Child", "Program", "PythonInit", "TracePoint", "launch", "nsinit_path"]


# What environment.c and image_stages.c (csrc/stages), shim.c and detach.c (csrc/products) read.
_OWN_VARIABLES = (
    *(b"_LIBCONTAINER_INITPIPE", b"_LIBCONTAINER_LOGPIPE", b"_LIBCONTAINER_LOGLEVEL"),
    *(b"_LIBCONTAINER_INITTYPE", b"_NSENTER_STATUS", b"_NSENTER_BUNDLE", b"_NSENTER_IMAGE"),
    *(b"_NSENTER_LOADS", b"_NSENTER_DETACH", b"_NSENTER_REAPER"),
)


class Program(Value):
    """A program to execute in the namespaces.

    Args:
        argv: the program, looked for in PATH of its environment unless it has a slash, and its
            arguments.
        executable: the program in the place of argv[0], which it only is told.
    """

    argv: Sequence[StrOrBytes | os.PathLike[str]]
    executable: StrOrBytes | os.PathLike[str] | None = None

    # An init in the PID namespace stays in another process, so the program does not keep its pipe.
    keeps_init_pipe = False
    # What a joiner must be able to do in a mount namespace before this runs.
    steps_in_root = ()

    def start(self, job: _Job) -> Child:
        """Start it directly if no stage is needed, and by nsinit otherwise."""
        return job.direct(self) or job.program(self)

    def needs_reaper(self) -> bool:
        """Return whether an init in the PID namespace must be nsinit, given as a descriptor."""
        return False

    def check_can_wait(self) -> None:
        """Raise ValueError if this cannot wait for `Child.go`."""


class PythonInit(Value):
    """Python code to run as the init, in an interpreter that boots from memory.

    Args:
        target: "package.module:function" is called with the channel's descriptor (an int) and
            `args`; what it returns is the exit status, as for sys.exit. "package.module" is run
            as __main__, with `args` in sys.argv and the descriptor in `nsenter_channel`.
        args: plain data: None, numbers, str, bytes, and tuples, lists, sets and dicts of them.
        modules: more modules to take along than the imports in the target's code tell of.
        extensions: C extension modules to take along, such as "_socket"; None: those that
            `target` and `modules` import, as far as `archive_for` says.
        prebooted: an init that was started before and has imported what it needs; `target` is its
            own then. None: an interpreter boots in the namespaces.
        image: which memory image it may start from, where there is one: "payload", or a package
            that has one of its own.
        boots: whether an interpreter boots if there is no image; if not, that is an error whose
            stage is "image".
    """

    target: str
    args: Sequence[object] = ()
    modules: Sequence[str] = ()
    extensions: Sequence[str] | None = ()
    prebooted: PrebootedInit | None = None
    image: str = "payload"
    boots: bool = True

    # An interpreter closes what it does not keep before it has a PID 1, a fork of it.
    keeps_init_pipe = True
    steps_in_root = ("root",)

    def start(self, job: _Job) -> Child:
        """Give an init that waits its config, or start an interpreter."""
        return job.prebooted(self, self.prebooted) if self.prebooted else job.python(self)

    def needs_reaper(self) -> bool:
        """Return whether an init in the PID namespace must be nsinit, given as a descriptor."""
        return self.prebooted is not None

    def check_can_wait(self) -> None:
        """Raise ValueError: this cannot wait for `Child.go`."""
        raise ValueError("held: a PythonInit waits for what its channel says, by itself")

    def archive(self) -> ModuleArchive:
        """Raises ModuleNotFoundError or ValueError where a module cannot travel."""
        from nsenter._interpreter.module_archive import archive_for

        return archive_for((self.target.partition(":")[0], *self.modules), self.extensions)


def _encode_environment(env: Environment | None) -> dict[bytes, bytes]:
    if env is None:
        # Its own dict: item by item through its methods takes a tenth of a launch.
        encoded = dict(os.environb._data)  # type: ignore[attr-defined]
    else:
        encoded = {os.fsencode(k): os.fsencode(v) for k, v in env.items()}
        for name, value in encoded.items():
            if b"=" in name or not name or b"\0" in name + value:
                raise ValueError(f"env: {name!r} must have no '=', and neither part a NUL")
    # The caller may be a payload itself: what it was started with is not for another.
    for name in _OWN_VARIABLES:
        encoded.pop(name, None)
    return encoded


def _checked_words(program: Program) -> tuple[bytes, list[bytes]]:
    """The name of what is executed, and its argv."""
    argv = program.argv
    if isinstance(argv, (str, bytes)):
        raise TypeError(f"argv must be a sequence of strings, not the string {argv!r}")
    words = [os.fsencode(word) for word in argv]
    if not words:
        raise ValueError("argv is empty: there is no program to execute")
    name = words[0] if program.executable is None else os.fsencode(program.executable)
    if not name:
        raise ValueError(f"argv {argv!r}: there is no program to execute: its name is empty")
    if any(b"\0" in word for word in [name, *words]):
        raise ValueError(f"argv {argv!r}: a word has a NUL")
    return name, words


def _check_owned(data: BootstrapData, kind: NamespaceType, what: str) -> None:
    """Refuse what would change a namespace of the caller."""
    joined = any(ns.type == kind for ns in data.namespace_paths)
    if not joined and not data.clone_flags & kind.clone_flag:
        raise ValueError(f"{what} requires a new or joined {kind.ns_name()} namespace")


def _here(function: Callable[[], T]) -> T:
    return function()


class _Job(Value):
    """One launch, checked and encoded as far as it does not depend on which way it goes."""

    blob: bytes
    settings: Settings
    environment: dict[bytes, bytes]
    stdio: tuple[int, int, int]
    payload_fds: set[int]  # descriptors for the payload
    stage_fds: set[int]  # descriptors for the stages
    start: Callable[[Callable[[], Any]], Any] = _here  # calls what spawns
    ignored_signals: Iterable[int] = ()
    wait_for_go: bool = False  # the payload waits for Child.go

    def run(self, target: Program | PythonInit) -> Child:
        """By the shortest way there is."""
        return target.start(self)

    def direct(self, program: Program) -> Child | None:
        """The short way; None where it takes the stages."""
        name, argv = _checked_words(program)
        spawn = Spawn(
            argv, self.environment, self.stdio, self.payload_fds, name, self.ignored_signals
        )  # fmt: skip
        settings = self.settings.encode(self.payload_fds)
        started = self.start(lambda: spawn.run_direct(self.blob, settings))
        if not started:
            return None
        pid, pidfd = started
        child = Child(pid, pidfd, [])
        child.has_own_peak = False  # it shared the caller's memory until it was executed
        return child

    def program(self, program: Program) -> Child:
        """By nsinit and its stages."""
        name, argv = _checked_words(program)
        argv = [name, *argv]
        with Descriptors() as owner, Pipes(owner) as pipes:
            environment = {**self.environment, **pipes.environment()}
            keep = self.payload_fds | self.stage_fds | pipes.child_fds()
            spawn = Spawn(
                argv, environment, self.stdio, keep, nsinit_fd(), self.ignored_signals
            )  # fmt: skip
            return self._handshake(spawn.run, pipes, self.settings.encode(self.payload_fds))

    def prebooted(self, init: PythonInit, prebooted: PrebootedInit) -> Child:
        """By an interpreter that runs already."""
        from nsenter._inside.boot import pack

        ends = prebooted.send_descriptors(self.stdio, self.payload_fds | self.stage_fds)
        config = pack({"args": tuple(init.args), "environment": self.environment})
        with Descriptors() as owner:
            pidfd = prebooted.open_pidfd()
            pid, *ours = prebooted.taken()
            unstarted = [(pid, pidfd)]
            try:
                with Pipes(owner, ours) as pipes:
                    outgoing = self.settings.encode({*self.payload_fds, *ends}) + config
                    child = self._handshake(
                        unstarted.pop, pipes, outgoing, prebooted.meanwhile, prebooted.parent
                    )
                    child.channel_fd = pipes.detach_channel()
                    return child
            except BootstrapError as error:
                if error.operation != "start":
                    raise
                # It is no shim that has not been loaded. What it said is on standard error.
                why = "it ended before it got its init config"
                raise BootstrapError("init", "run", why, ECANCELED) from None
            finally:
                for own in unstarted:
                    end_unstarted(*own, prebooted.parent)

    def python(self, init: PythonInit) -> Child:
        """By an interpreter: from a memory image of one, or else one that boots."""
        from nsenter._interpreter import image

        # Making a module archive takes longer than the start.
        archive = None if image.has_all(init) else init.archive()
        missed = []
        child = None
        reason = ""
        needs_running_python = archive is not None and archive.needs_running_python
        if needs_running_python:
            image.note("there are C extensions that can be loaded only when Python has booted")
        for kind in () if needs_running_python else image.usable(init.image):
            path, reason = image.find(kind, self.environment)
            is_missed = reason == image.ABSENT
            if path:
                try:
                    child = self.from_image(init, archive, kind, path)
                    break
                except BootstrapError as error:
                    if error.stage != "image":
                        raise
                    is_missed = image.refuse(path, error.errno or 0)
                    reason = str(error)
            if is_missed:
                missed.append(kind)
            image.note(reason)
        if child is None and init.boots:
            child = self._booted(init, archive or init.archive())
        if missed:
            image.make_later(missed[0], self.environment)
        if child is None:
            raise BootstrapError("image", "use", reason, ENOENT)
        return child

    def from_image(
        self, init: PythonInit, archive: ModuleArchive | None, kind: str, path: str
    ) -> Child:
        """By nsinit and its stages, which becomes the interpreter.

        Args:
            archive: None: the image has all.
            kind: of the image at `path`.

        Raises:
            BootstrapError: also, with the stage "image", if the image cannot be used.
        """
        from nsenter._interpreter import command, image

        with Descriptors() as owner, Pipes(owner) as pipes:
            environment = {b"_NSENTER_IMAGE": os.fsencode(path), **pipes.environment()}
            payload_fds = self.payload_fds | pipes.child_fds()
            keep = payload_fds | self.stage_fds
            if archive:
                environment[b"_NSENTER_BUNDLE"] = b"%d" % archive.fd
                keep |= {archive.fd}
                if image.lacks(archive, kind):
                    environment |= {b"_NSENTER_LOADS": b"1", **command.ONE_THREAD}
            spawn = Spawn([b"nsenter-init"], environment, self.stdio, keep, nsinit_fd())
            body = self._init_config(init, archive)
            child = self._handshake(spawn.run, pipes, self.settings.encode(payload_fds) + body)
            child.channel_fd = pipes.detach_channel()
            return child

    def _booted(self, init: PythonInit, archive: ModuleArchive) -> Child:
        """By the interpreter, with the shim going through the stages."""
        from nsenter._interpreter import command

        with Descriptors() as owner, Pipes(owner) as pipes:
            shim = owner.add(command.open_shim())
            fds = command.BootFds(pipes.child_channel, pipes.child_status, archive.fd, shim)
            environment = {
                **command.boot_environment(fds, self.environment),
                **pipes.environment(),
            }
            payload_fds = self.payload_fds | pipes.child_fds()
            keep = payload_fds | self.stage_fds | set(fds.__dict__.values())
            executable = command.open_interpreter(owner)
            spawn = Spawn(command.boot_argv(), environment, self.stdio, keep, executable)
            body = self._init_config(init, archive)
            child = self._handshake(spawn.run, pipes, self.settings.encode(payload_fds) + body)
            child.channel_fd = pipes.detach_channel()
            return child

    def _init_config(self, init: PythonInit, archive: ModuleArchive | None) -> bytes:
        from nsenter._interpreter.command import encode_init_config

        words = [init.target, *map(str, init.args)]
        return encode_init_config(init.target, words, init.args, self.environment, archive)

    def _handshake(
        self,
        start: Callable[[], tuple[int, int]],
        pipes: Pipes,
        outgoing: bytes,
        meanwhile: Callable[[int], None] = lambda channel: None,
        parent: Parent = THIS_PROCESS,
    ) -> Child:
        # What fits into the socket is there before stage 0 is, which then need not wait for it.
        outgoing = self.blob + outgoing
        os.set_blocking(pipes.channel, False)
        try:
            sent = os.write(pipes.channel, outgoing)
        except (BrokenPipeError, ConnectionResetError):  # one that waited has ended
            sent = len(outgoing)  # why, the status pipe tells
        spawned_ns = time.time_ns()
        pid, pidfd = self.start(start)
        try:
            handshake = Handshake(pid, pidfd, pipes, parent)
            rest = memoryview(outgoing)[sent:]
            timeout = self.settings.timeout
            return handshake.run(
                rest, timeout, spawned_ns, lambda: meanwhile(pipes.channel),
                wait_for_go=self.wait_for_go,
            )  # fmt: skip
        finally:
            close(pidfd)


def launch(
    data: BootstrapData,
    target: Program | PythonInit,
    *,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
    pass_fds: Iterable[int] = (),
    env: Environment | None = None,
    cwd: StrOrBytes | os.PathLike[str] | None = None,
    hostname: StrOrBytes | None = None,
    mount_proc: bool = False,
    cgroup: int | None = None,
    tasks_fds: Iterable[int] = (),
    timeout: float = 30.0,
    trace: bool = False,
    confinement: Confinement | None = None,
    ignored_signals: Iterable[int] = (),
    stage_fds: Iterable[int] = (),
) -> Child:
    """Start a process in the namespaces of a bootstrap message.

    Returns when the program is executed, or the target of a PythonInit is about to be called.

    Args:
        data: the namespaces and ids; a path ``/proc/self/fd/N`` in it is descriptor N of this
            process, of a namespace or a pidfd.
        target: what takes over in them.
        stdin, stdout, stderr: descriptors that the process has as 0, 1 and 2.
        pass_fds: descriptors that it has besides, under their own numbers; no others.
        env: its environment; None: the caller's. A PythonInit sees it in os.environ.
        cwd: its working directory, a path in its root; None: as it comes.
        hostname: of a new or joined UTS namespace.
        mount_proc: mount a new /proc, in a new or joined mount namespace.
        cgroup: a descriptor of a cgroup v2 directory to start in (CLONE_INTO_CGROUP).
        tasks_fds: descriptors of `tasks` files of cgroup v1, above 2, by which stage 1 enters these
            cgroups before it makes the process, which does not get them.
        timeout: seconds that the start may take, mapping tools included. The execve of a program
            that takes no stages is waited for as long as it takes, as subprocess does.
        trace: note the times of the stages in the child's `trace`.
        confinement: what else is done in the namespaces, of which `nsenter.Options` is the public
        face. ignored_signals: those that a Program ignores if this process does; every other signal
        has
            its default disposition in it.
        stage_fds: descriptors that `confinement` names, above 2, which the stages get and close.

    Raises:
        BootstrapError: a stage failed; names the stage, the operation, its subject and errno.
            Nothing is left of the process then.
        ValueError, TypeError: an argument is bad; nothing was started.
        ModuleNotFoundError: a module of a PythonInit cannot travel.
    """
    if hostname is not None:
        _check_owned(data, NamespaceType.NEWUTS, f"hostname {hostname!r}")
    if mount_proc:
        _check_owned(data, NamespaceType.NEWNS, "mount_proc")
    if not timeout >= 0:
        raise ValueError(f"timeout must be at least 0 seconds, not {timeout!r}")
    with Naming(), Descriptors() as owner:
        data = above_the_streams(data, owner)
        if cgroup is not None:
            cgroup = owner.add(os.dup(cgroup))
        tasks_fds = tuple(tasks_fds)
        job = _Job(
            blob=data.encode(),
            settings=Settings(cwd, hostname, mount_proc, cgroup, timeout, trace, tasks_fds),
            environment=_encode_environment(env),
            stdio=(stdin, stdout, stderr),
            payload_fds={0, 1, 2} | checked_fds(pass_fds),
            stage_fds=borrowed_fds(data)
            | {*tasks_fds, *stage_fds}
            | ({cgroup} if cgroup is not None else set()),
            ignored_signals=tuple(ignored_signals),
        )
        return (
            job.run(target)
            if confinement is None
            else _run_confined(job, target, confinement, owner)
        )


def _run_confined(
    job: _Job, target: Program | PythonInit, confinement: Confinement, owner: Descriptors
) -> Child:
    """The child gets our ends of what the confinement makes."""
    changes: dict[str, Any] = {}
    attributes, ours = confinement.attributes, Descriptors()
    terminal = verdict = gate = -1
    try:
        if confinement.terminal:
            terminal, slave = os.openpty()
            terminal = ours.add(terminal)
            changes["stdio"] = (owner.add(slave),) * 3
            attributes = confinement.with_console(os.ttyname(slave))
        if confinement.init:
            reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            verdict = ours.add(reader)
            writer = owner.add(writer)
            who = "payload_fds" if target.keeps_init_pipe else "stage_fds"
            changes[who] = getattr(job, who) | {writer}
            attributes += ((LaunchAttribute.INIT_FD, writer),)
            if target.needs_reaper():
                reaper = nsinit_fd()
                changes[who] |= {reaper}
                attributes += ((LaunchAttribute.REAPER_FD, reaper),)
        if confinement.wait_for_go:
            target.check_can_wait()
            reader, writer = os.pipe2(os.O_CLOEXEC)
            gate = ours.add(writer)
            reader = owner.add(reader)
            changes["stage_fds"] = changes.get("stage_fds", job.stage_fds) | {reader}
            changes["wait_for_go"] = True
            attributes += ((LaunchAttribute.GATE_FD, reader),)
        if confinement.die_with_parent:
            from nsenter._launch.spawner_thread import on_spawner_thread

            changes["start"] = on_spawner_thread
        settings = job.settings.replace(confinement=attributes)
        child = job.replace(settings=settings, **changes).run(target)
    except BaseException:
        ours.close()
        raise
    child.terminal_fd, child.verdict_fd, child.gate_fd = terminal, verdict, gate
    return child
