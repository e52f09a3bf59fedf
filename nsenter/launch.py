# SPDX-License-Identifier: Apache-2.0
"""Start a process in namespaces.

The caller may be of any size and have any number of threads, because it is never forked and never
changes its own namespaces. It spawns a small program instead. That program receives a bootstrap
message and becomes the process (see docs/how-it-works.md).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import ECANCELED, ENOENT

from nsenter._host.cleanup import close
from nsenter._host.records import Value
from nsenter._host.syscalls import socketpair
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
    # These are what typing.get_type_hints finds. Importing typing takes 4 ms, and the modules that
    # define these classes are imported only when they are needed.
    Any = T = ModuleArchive = Confinement = PrebootedInit = object

StrOrBytes = str | bytes
Environment = Mapping[str, str] | Mapping[bytes, bytes]

__all__ = ["Child", "Program", "PythonInit", "TracePoint", "launch", "nsinit_path"]


# The variables that environment.c and image_stages.c (csrc/stages), shim.c and detach.c
# (csrc/products) read.
_OWN_VARIABLES = (
    *(b"_LIBCONTAINER_INITPIPE", b"_LIBCONTAINER_LOGPIPE", b"_LIBCONTAINER_LOGLEVEL"),
    *(b"_LIBCONTAINER_INITTYPE", b"_NSENTER_STATUS", b"_NSENTER_ARCHIVE", b"_NSENTER_IMAGE"),
    *(b"_NSENTER_LOADS", b"_NSENTER_DETACH", b"_NSENTER_REAPER"),
)


class Program(Value):
    """A program to execute in the namespaces.

    Args:
        argv: the program and its arguments. If the name of the program has no slash, it is looked
            for in PATH of the program's environment.
        executable: the program to execute instead of argv[0]. The program still receives argv[0]
            as its first argument. None (the default) means argv[0].

    Example:
        >>> Program(["echo", "hello"])
        Program(argv=('echo', 'hello'))

    The semantics are those of `args` and `executable` of subprocess.Popen.
    """

    argv: Sequence[StrOrBytes | os.PathLike[str]]
    executable: StrOrBytes | os.PathLike[str] | None = None

    # An init in the PID namespace is another process: the program does not need the init's pipe.
    keeps_init_pipe = False
    # The steps that require rights in a joined mount namespace before this runs.
    steps_in_root = ()

    def start(self, job: _Job) -> Child:
        """Start the program directly if it needs no stages, otherwise by nsinit."""
        return job.direct(self) or job.program(self)

    def needs_reaper(self) -> bool:
        """Return whether an init in the PID namespace must be nsinit, given as a descriptor."""
        return False

    def check_can_wait(self) -> None:
        """Raise ValueError if this cannot wait for `Child.go`."""


class PythonInit(Value):
    """Python code to run as the init, in an interpreter that boots from memory.

    Args:
        target: "package.module:function" names a function. It is called with the descriptor of the
            channel (an int) and `args`, and its result is the exit status, as for sys.exit.
            "package.module" names a module. It is run as __main__, with `args` in sys.argv and the
            descriptor in the global variable `nsenter_channel`.
        args: plain data: None, numbers, str, bytes, and tuples, lists, sets and dicts of them.
        modules: modules to send that the code of the target does not import by a statement.
        extensions: the C extension modules to send, such as "_socket". None means those that
            `target` and `modules` import.
        prebooted: a prebooted interpreter, which has a target of its own; `target` is not used.
            None (the default) means that an interpreter boots in the namespaces.
        image: the kind of memory image to start from if there is one: "payload" (the default), or
            the name of a package that has an image of its own.
        boots: boot an interpreter if there is no image. If this is false and there is no image,
            the start fails with a BootstrapError whose stage is "image".

    Example:
        >>> PythonInit("package.module:main", (1, "two")).target
        'package.module:main'
    """

    target: str
    args: Sequence[object] = ()
    modules: Sequence[str] = ()
    extensions: Sequence[str] | None = ()
    prebooted: PrebootedInit | None = None
    image: str = "payload"
    boots: bool = True

    # PID 1 is a fork of the interpreter, which closes all other descriptors before it forks.
    keeps_init_pipe = True
    steps_in_root = ("root",)

    def start(self, job: _Job) -> Child:
        """Send the init config to the prebooted interpreter, or start an interpreter."""
        return job.prebooted(self, self.prebooted) if self.prebooted else job.python(self)

    def needs_reaper(self) -> bool:
        """Return whether an init in the PID namespace must be nsinit, given as a descriptor."""
        return self.prebooted is not None

    def check_can_wait(self) -> None:
        """Raise ValueError: this cannot wait for `Child.go`."""
        raise ValueError("wait_for_go=True requires a Program: a PythonInit waits for its channel")

    def archive(self) -> ModuleArchive:
        """Return the archive of the modules to send; it is made once for each list of modules.

        Raises:
            ModuleNotFoundError: a module is not found.
            ValueError: a module cannot be sent.
        """
        from nsenter._interpreter.module_archive import archive_for

        return archive_for((self.target.partition(":")[0], *self.modules), self.extensions)


def _encode_environment(env: Environment | None) -> dict[bytes, bytes]:
    if env is None:
        # The private dict is used because os.environb's methods take a tenth of a launch.
        encoded = dict(os.environb._data)  # type: ignore[attr-defined]
    else:
        encoded = {os.fsencode(k): os.fsencode(v) for k, v in env.items()}
        for name, value in encoded.items():
            if b"=" in name or not name or b"\0" in name + value:
                raise ValueError(f"env: {name!r} must have no '=', and neither part a NUL")
    # The caller may be a payload itself. The variables of its own start are not for the child.
    for name in _OWN_VARIABLES:
        encoded.pop(name, None)
    return encoded


def _checked_words(program: Program) -> tuple[bytes, list[bytes]]:
    """Return the name of the file to execute, and argv."""
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
    """Raise ValueError if an option would change a namespace that is the caller's, too."""
    joined = any(ns.type == kind for ns in data.namespace_paths)
    if not joined and not data.clone_flags & kind.clone_flag:
        raise ValueError(f"{what} requires a new or joined {kind.ns_name()} namespace")


def _here(function: Callable[[], T]) -> T:
    return function()


class _Job(Value):
    """One launch: its arguments are checked, and encoded where all ways to start need the same."""

    blob: bytes
    settings: Settings
    environment: dict[bytes, bytes]
    stdio: tuple[int, int, int]
    payload_fds: set[int]  # descriptors that the payload gets
    stage_fds: set[int]  # descriptors that only the stages get
    start: Callable[[Callable[[], Any]], Any] = _here  # calls its argument, which spawns
    ignored_signals: Iterable[int] = ()
    wait_for_go: bool = False  # the payload waits for Child.go

    def run(self, target: Program | PythonInit) -> Child:
        """Start the target in the shortest way that its options allow."""
        return target.start(self)

    def direct(self, program: Program) -> Child | None:
        """Start a program without stages; return None if it requires the stages."""
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
        # Until its execve the child shared the caller's memory, so its peak is the caller's.
        child.has_own_peak = False
        return child

    def program(self, program: Program) -> Child:
        """Start a program by nsinit, which goes through the stages."""
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
        """Start the target of an interpreter that has booted already."""
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
                # "start" would mean that the shim could not be loaded, but here there is no shim.
                # The interpreter has written its error to standard error.
                why = "it ended before it got its init config"
                raise BootstrapError("init", "run", why, ECANCELED) from None
            finally:
                for own in unstarted:
                    end_unstarted(*own, prebooted.parent)

    def python(self, init: PythonInit) -> Child:
        """Start an interpreter from a memory image, or boot one if no image can be used."""
        from nsenter._interpreter import image

        # To make a module archive takes longer than the start, so it is made only if needed.
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
        """Start an interpreter from an image: nsinit goes through the stages and becomes it.

        Args:
            init: what to run.
            archive: the modules to send. None means that the image has all of them.
            kind: the kind of the image.
            path: the file of the image.

        Raises:
            BootstrapError: a stage failed. The stage is "image" if the image cannot be used.
        """
        from nsenter._interpreter import command, image

        with Descriptors() as owner, Pipes(owner) as pipes:
            environment = {b"_NSENTER_IMAGE": os.fsencode(path), **pipes.environment()}
            payload_fds = self.payload_fds | pipes.child_fds()
            keep = payload_fds | self.stage_fds
            if archive:
                environment[b"_NSENTER_ARCHIVE"] = b"%d" % archive.fd
                keep |= {archive.fd}
                if image.lacks(archive, kind):
                    environment |= {b"_NSENTER_LOADS": b"1", **command.ONE_THREAD}
            spawn = Spawn([b"nsenter-init"], environment, self.stdio, keep, nsinit_fd())
            body = self._init_config(init, archive)
            child = self._handshake(spawn.run, pipes, self.settings.encode(payload_fds) + body)
            child.channel_fd = pipes.detach_channel()
            return child

    def _booted(self, init: PythonInit, archive: ModuleArchive) -> Child:
        """Boot an interpreter; its shim goes through the stages before Python starts."""
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
        # Write as much as the socket takes before stage 0 is spawned: it then finds its message
        # there and does not wait.
        outgoing = self.blob + outgoing
        os.set_blocking(pipes.channel, False)
        try:
            sent = os.write(pipes.channel, outgoing)
        except (BrokenPipeError, ConnectionResetError):  # a prebooted interpreter has ended
            sent = len(outgoing)  # the status pipe says why
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

    This function returns when the program has been executed, or when the target of a PythonInit is
    about to be called. `nsenter.Options.launch` is the usual way to call it.

    Args:
        data: the namespaces and the id maps. A path ``/proc/self/fd/N`` in it means descriptor N of
            this process, which refers to a namespace or is a pidfd.
        target: what to run in the namespaces.
        stdin, stdout, stderr: the descriptors that the process gets as 0, 1 and 2.
        pass_fds: further descriptors for the process, which keep their numbers. It gets no others.
        env: the environment; None (the default) means the caller's. The code of a PythonInit finds
            it in os.environ.
        cwd: the working directory, a path in the root of the process. None leaves the directory
            that results from the namespaces.
        hostname: the host name to set; requires a new or joined UTS namespace.
        mount_proc: mount a new /proc; requires a new or joined mount namespace.
        cgroup: a descriptor of a cgroup v2 directory to start in (CLONE_INTO_CGROUP).
        tasks_fds: descriptors, above 2, of `tasks` files of cgroup v1. Stage 1 enters these cgroups
            before it creates the process. The process does not get the descriptors.
        timeout: how many seconds the start may take, with the mapping tools. If a program needs no
            stages, its execve is not subject to this, as in subprocess.
        trace: record the times of the stages in `Child.trace`.
        confinement: what the process gives up in the namespaces; `nsenter.Options` describes it.
        ignored_signals: signals that a Program ignores if this process ignores them. All other
            signals have their default disposition.
        stage_fds: descriptors, above 2, that `confinement` names. The stages get and close them.

    Returns:
        The process that runs in the namespaces. The caller must wait for it and close it, as a
        context manager does.

    Raises:
        BootstrapError: a stage failed. The error names the stage, the operation, its subject and
            the errno. No process is left.
        ValueError: an argument is not valid; nothing was started.
        TypeError: an argument has the wrong type; nothing was started.
        ModuleNotFoundError: a module of a PythonInit is not found or cannot be sent.

    Example:
        >>> from nsenter.bootstrap import BootstrapData
        >>> with launch(BootstrapData(), Program(["true"])) as child:
        ...     child.wait()
        0
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
    """Run a job with a confinement.

    The confinement may require a terminal, a pipe for the verdict of an init and a pipe on which
    the payload waits. Their ends that stay in this process become attributes of the child.
    """
    changes: dict[str, Any] = {}
    attributes, ours = confinement.attributes, Descriptors()
    terminal = verdict = gate = listener = -1
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
        if confinement.listener:
            near, far = socketpair()
            listener, far = ours.add(near), owner.add(far)
            changes["stage_fds"] = changes.get("stage_fds", job.stage_fds) | {far}
            attributes += ((LaunchAttribute.LISTENER_FD, far),)
        if confinement.die_with_parent:
            from nsenter._launch.spawner_thread import on_spawner_thread

            changes["start"] = on_spawner_thread
        settings = job.settings.replace(confinement=attributes)
        child = job.replace(settings=settings, **changes).run(target)
    except BaseException:
        ours.close()
        raise
    child.terminal_fd, child.verdict_fd = terminal, verdict
    child.gate_fd, child.listener_fd = gate, listener
    return child
