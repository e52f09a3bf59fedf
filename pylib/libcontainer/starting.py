# SPDX-License-Identifier: Apache-2.0
"""Starting a process of a container: the parent's part, beside libcontainer.init.

The init boots while its cgroup is made ready; then both work in step (libcontainer.init.sync).
"""

from __future__ import annotations

import os
import time
from errno import EAGAIN, ECANCELED, EINVAL, EPERM, EPROTO, ESRCH, ETIMEDOUT

from libcontainer.cgroups import FROZEN
from libcontainer.errors import ContainerError
from libcontainer.init import frames, sync
from libcontainer.init.config import InitConfig, LateJoin, pack
from libcontainer.init.image_contents import EXTENSIONS, IMAGE
from libcontainer.record import namespace_paths
from libcontainer.runc_messages import errno_text
from nsenter._host import json_text
from nsenter._host.cleanup import close, undo
from nsenter._host.procfs import has_executed, parent_of, start_time_of, state_letter_of
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import Failure, get_rlimit, prlimit, send_fds
from nsenter._launch.descriptors import Descriptors
from nsenter._message.limits import rlimit_name
from nsenter.errors import BootstrapError
from nsenter.launch import PythonInit, launch
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.cgroups import Manager
    from libcontainer.configs import Rlimit
    from libcontainer.container import Container
    from libcontainer.net_devices import NetDevices
    from libcontainer.process import Process
    from nsenter._interpreter.prebooted import PrebootedInit
    from nsenter._launch.child import Child
    from nsenter._launch.confinement import Confinement
    from nsenter.bootstrap import BootstrapData
else:
    PrebootedInit = object  # at run time: its module is imported when it is needed

__all__ = ["init_config", "prebooted_init", "start_further", "start_init"]

# Seconds that a process that is killed, or has closed its end of the channel, may take to be dead.
_AFTERMATH = 5.0
_NO_TIMEOUT = 1e9
_DOING = {"T": "it is stopped", "t": "it is traced", "D": "it waits in the kernel"}

# What of config.json asks for a system call, as far as the call does not show it.
_FIELDS = {"sched_setattr": "process.scheduler", "ioprio_set": "process.ioPriority"}
_REAL_TIME = (1, 2)  # SCHED_FIFO, SCHED_RR
_NODES = "/sys/devices/system/node/has_memory"
# The messages that are believed of a process that others can see, and could speak for.
_OF_WHO_IS_SEEN = (sync.Successor, sync.Ready, sync.Listener)
_TARGET = "libcontainer.init.main:main"


def prebooted_init() -> PrebootedInit:
    """Start a prebooted init, which can become a process of any container.

    Pass it as `Process(prebooted=…)`. The start of the process then takes a third of the time,
    because the interpreter has already booted and imported its modules. The init can be used once.
    If it is not used, call its `discard`. It ends when the calling process ends.

    Returns:
        The prebooted init.

    Raises:
        BootstrapError: the init could not be started.
    """
    from nsenter._interpreter.prebooted import start

    return start(_TARGET, EXTENSIONS, IMAGE)


def _compiled_filter(container: Container) -> tuple[tuple[bytes, int] | None, bool]:
    config = container.config
    if config.seccomp is None:
        return None, False
    from libcontainer.seccomp import compile
    from libcontainer.seccomp.cache import folder

    program = compile(config.seccomp, cache_dir=folder())
    return (program.code, program.flags), program.has_listener


def init_config(container: Container, process: Process) -> InitConfig:
    """Return what the init is told, except for what is known only when it is started."""
    program, has_listener = _compiled_filter(container)
    namespaces = container.config.namespaces
    states = {status: container.oci_state(status, 0) for status in ("creating", "created")}
    return InitConfig(
        type="standard" if process.init else "setns",
        id=container.id,
        config=container.config,
        process=process.config,
        preserve_fds=process.preserve_fds,
        new_namespaces=tuple(ns.type.value for ns in namespaces if ns.is_new),
        joined_namespaces=tuple(ns.type.value for ns in namespaces if not ns.is_new),
        in_userns=namespaces.contains(NamespaceType.NEWUSER),
        seccomp=program,
        has_listener=has_listener,
        hook_state={name: json_text.dumps(state).encode() for name, state in states.items()},
    )


def _connected(path: str) -> int:
    """A socket connected to who listens at `path`."""
    import _socket

    from nsenter._host.socket_addresses import connect_to

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
    try:
        connect_to(sock, path)
    except OSError as error:
        close(sock.detach())
        raise ContainerError(f"socket {path}: {errno_text(error.errno or 0)}") from None
    return sock.detach()


def _send_pidfd(path: str, pidfd: int) -> None:
    fd = _connected(path)
    try:
        send_fds(fd, b"pidfd", (pidfd,))
    finally:
        close(fd)


def _console(process: Process, fds: Descriptors) -> int:
    where = process.console_socket
    if where is None:
        return -1
    return fds.add(os.dup(where) if isinstance(where, int) else _connected(where))


def _not_due(word: str) -> BootstrapError:
    """Return the error for a message that the init may not send, or not now."""
    return BootstrapError("init", "say", repr(word), EPROTO)


def _with_hint(stage: str, failure: Failure) -> BootstrapError:
    return BootstrapError(stage, failure.operation, failure.subject, failure.errno or 0)


def start_init(container: Container, process: Process, *, gate: bool) -> None:
    """The first process, up to the exec fifo. Raises as `Container.start`.

    Args:
        gate: whether there is to be a fifo; without, the program is executed at once.
    """
    manager = container.cgroup
    config = init_config(container, process)
    with Descriptors() as fds:
        try:
            manager.create_entry()
            if gate:
                config = config.replace(fifo_fd=fds.add(container._record.folder.make_fifo()))
            _start(container, process, config, fds)
        except BaseException as error:
            undo(error, container._record.folder.remove_fifo, lambda: _remove_cgroup(container))
            raise


def _remove_cgroup(container: Container) -> None:
    if not container._record.folder.is_gone():
        container.cgroup.destroy()
        return
    # Who has deleted the container by force has removed its cgroup as well, which may be a later
    # container's by now: what was made since is removed if it is empty.
    for path in {*container.cgroup.paths().values()}:
        with suppress(OSError):
            os.rmdir(path)


def _start(container: Container, process: Process, config: InitConfig, fds: Descriptors) -> None:
    manager = container.cgroup
    # Now that it is known: what a user may not make is not there.
    config = config.replace(
        cgroup_paths=manager.paths(),
        cgroup_mounts=manager.mounts(),
        console_fd=_console(process, fds),
    )
    data = container.bootstrap_data(process)
    talk = _Talk(container, process, manager, gate=config.fifo_fd >= 0)
    data, config = talk.with_late_join(data, config, fds)
    cgroup_flag = NamespaceType.NEWCGROUP.clone_flag
    if data.clone_flags & cgroup_flag and (talk.moves or talk.has_doors):
        # Its root is to be the cgroup that the init goes to; so the init makes it later.
        data = data.replace(clone_flags=data.clone_flags & ~cgroup_flag)
        config = config.replace(unshare_cgroup=True)
    talk.hold(data, config, fds)


def start_further(container: Container, process: Process) -> None:
    """A process in a running container. Raises as `Container.start`."""
    pidfd = container._record.pidfd()
    if pidfd < 0:
        raise ContainerError("cannot exec in a stopped container")
    with Descriptors() as lent, Descriptors() as fds:
        lent.add(pidfd)
        config = init_config(container, process)
        config = config.replace(console_fd=_console(process, fds))
        manager = container.cgroup
        if process.sub_cgroup_paths:
            manager = manager.below(process.sub_cgroup_paths)
        else:
            manager = manager.for_further(container._record.state.init_process_pid)
        data = container.bootstrap_data(process, pidfd)
        _Talk(container, process, manager).hold(data, config, fds)


class _InitialAffinity:
    """A context manager for the CPUs on which a further process enters its cgroup.

    `execCPUAffinity.initial` names them. The process inherits them from this thread, as in runc.
    """

    def __init__(self, process: Process) -> None:
        self._cpus = "" if process.init else process.config.exec_cpu_affinity.get("initial", "")
        # One that was started before inherits nothing any more.
        self._pids = (0, process.prebooted.pid) if process.prebooted else (0,)

    def __enter__(self) -> None:
        if not self._cpus:
            return
        from libcontainer.init.process.affinity import set_to

        self._before = os.sched_getaffinity(0)
        try:
            for pid in self._pids:
                set_to(pid, self._cpus, "initial")
        except Failure as failure:
            error = _with_hint("launcher", failure)
            undo(error, self.__exit__)
            raise error from None

    def __exit__(self, *exc_info: object) -> None:
        if self._cpus:
            os.sched_setaffinity(0, self._before)


class _Talk:
    """The start of an init, and the talk with it to the last that may fail.

    Args:
        manager: of the cgroup that it is to be in.
        gate: whether it is to wait at the exec fifo.
    """

    def __init__(
        self, container: Container, process: Process, manager: Manager, *, gate: bool = False
    ) -> None:
        self._container = container
        self._process = process
        self._manager = manager
        self._has_gate = gate
        self._resources = container.config.cgroups.resources
        # The last that it said, and whether it is what ended the talk.
        self._heard = "nothing"
        self._is_told = False
        self._is_ready = False
        self._entry = manager.fd()
        self.has_doors = manager.has_doors()
        # Whether we move it into its cgroup, which it cannot get into by itself.
        self.moves = self._entry is None and not self.has_doors
        self._doors = Descriptors()
        self._mapped: set[int] = set()
        self._goes = False
        self._devices: NetDevices | None = None
        # Whether the init that was launched is to name a successor.
        self._is_followed = False
        # Whether processes of the container, or of a PID namespace that it joins, see the one that
        # speaks. One with CAP_SYS_PTRACE may speak in its place, and is not to have hooks run, or
        # anything mapped or moved, for it.
        self._is_seen = not process.init

    def with_late_join(
        self, data: BootstrapData, config: InitConfig, fds: Descriptors
    ) -> tuple[BootstrapData, InitConfig]:
        """The message without the PID namespace that the init is to join by itself."""
        if not self._container.config.namespaces.path_of(NamespaceType.NEWPID):
            return data, config
        from libcontainer.pid_namespace_join import pid_namespace
        from nsenter._launch.joiner_capabilities import capabilities_kept

        fd = pid_namespace(self._container.config)
        if fd < 0:
            return data, config
        self._is_followed = True
        held = capabilities_kept(self._later_steps(), keeps=self._keeps())
        late = LateJoin(pid_namespace=fds.add(fd), held=tuple(sorted(held)))
        others = [ns for ns in data.namespace_paths if ns.type != NamespaceType.NEWPID]
        return data.replace(namespace_paths=tuple(others)), config.replace(late_join=late)

    def hold(self, data: BootstrapData, config: InitConfig, fds: Descriptors) -> None:
        """Have it. Where it fails, the process is gone."""
        config = config.replace(is_moved=self.moves, has_doors=self.has_doors)
        try:
            if not self._process.init:
                self._open_doors()
            self._talk_to(self._launched(data, config, fds))
        finally:
            self._leave_cgroup()
            if self._devices:
                self._devices.close()

    def _leave_cgroup(self) -> None:
        self._doors.close()
        if self._entry is not None:
            close(self._entry)
            self._entry = None

    def _launched(self, data: BootstrapData, config: InitConfig, fds: Descriptors) -> Child:
        """Launch the init as `_launch` does; if the cgroup is full, launch it outside and move it.

        A cgroup that has as many processes as it may have refuses a process that is created in it,
        but accepts one that is moved to it.
        """
        try:
            return self._launch(data, config, fds)
        except BootstrapError as error:
            is_full = error.errno == EAGAIN and error.operation == "clone"
            if not is_full or self._process.init or self.moves:
                raise
        self._leave_cgroup()
        self._process.prebooted = None  # it has ended with the first try
        self.moves, self.has_doors = True, False
        return self._launch(data, config.replace(is_moved=True, has_doors=False), fds)

    def _launch(self, data: BootstrapData, config: InitConfig, fds: Descriptors) -> Child:
        """From a memory image, a further process does without a right that booting takes."""
        if not self._process.init and not self._process.prebooted:
            try:
                return self._launch_once(data, config, fds, boots=False)
            except BootstrapError as error:
                if error.stage != "image":
                    raise
        return self._launch_once(data, config, fds, boots=True)

    def _launch_once(
        self, data: BootstrapData, config: InitConfig, fds: Descriptors, *, boots: bool
    ) -> Child:
        process = self._process
        stdin, stdout, stderr = process.stdio
        if process.prebooted:
            process.prebooted.meanwhile = self._let_go_early
        init = PythonInit(
            _TARGET, (pack(config),), extensions=EXTENSIONS, prebooted=process.prebooted,
            image=IMAGE,
            boots=boots,
        )  # fmt: skip
        with _InitialAffinity(process):
            return launch(
                data, init, stdin=stdin, stdout=stdout, stderr=stderr, env={},
                pass_fds=[*process.preserved(), *fds.numbers()], cgroup=self._entry,
                tasks_fds=() if process.init else self._doors.numbers(),
                timeout=self._patience(), trace=process.trace,
                confinement=self._confinement(boots=boots),
            )  # fmt: skip

    def _patience(self) -> float:
        """Seconds that the stages may take; in a paused container, until it is resumed."""
        patience, is_further = self._process.timeout, not self._process.init
        if patience is None or (is_further and self._manager.freezer_state() == FROZEN):
            return _NO_TIMEOUT
        return patience

    def _confinement(self, *, boots: bool) -> Confinement | None:
        """What a further process holds while the container's processes see it already.

        Args:
            boots: whether its interpreter may have to boot.
        """
        if self._process.init:
            return None
        from nsenter._launch.confinement import Confinement
        from nsenter._launch.joiner_capabilities import keep_only

        bounding = self._sets().get("bounding", ())
        steps = self._steps(boots=boots)
        return Confinement(keep_only(steps, keeps=self._keeps(), bounding=bounding))

    def _sets(self) -> dict[str, Any]:
        """The sets of capabilities of the program."""
        caps = self._process.config.capabilities or self._container.config.capabilities
        return caps.to_data() if caps else {}

    def _keeps(self) -> list[str]:
        return [name for names in self._sets().values() for name in names]

    def _steps(self, *, boots: bool) -> Iterator[str]:
        """Those of nsenter._launch.joiner_capabilities that libcontainer.init.setns takes."""
        yield from self._later_steps()
        if boots and not self._process.prebooted:
            yield "root"
        if self._process.config.terminal:
            yield "console"

    def _later_steps(self) -> Iterator[str]:
        """Those that libcontainer.init.process.ending takes."""
        config, process = self._container.config, self._process.config
        yield from ("ids", "streams", "cwd")
        if any((process.io_priority, config.io_priority, process.scheduler, config.scheduler)):
            yield "scheduler"
        asked = process.no_new_privileges
        if config.seccomp and not (config.no_new_privileges if asked is None else asked):
            yield "filter"

    def _let_go_early(self, channel: int) -> None:
        """While the init gets ready, so that it need not wait behind that."""
        if not self._has_trees():
            self._let_go(channel)

    def _let_go(self, channel: int) -> None:
        """Tell the init to go on, once.

        A further process is in its cgroup before it does anything. A first process makes its root
        while the parent sets up the rest of the cgroup.
        """
        if self._goes:
            return
        self._goes = True
        if self._process.init:
            sync.send(channel, sync.Go(), deadline=self._deadline())
            self._make_cgroup_ready(channel)
        else:
            sync.send(channel, sync.Go(), deadline=self._deadline())

    def _open_doors(self) -> None:
        if self.has_doors:
            for door in self._manager.doors():
                self._doors.add(door)

    def _make_cgroup_ready(self, channel: int) -> None:
        """Set up the rest of the cgroup.

        The limits are set before the init enters it, unless the init has to be moved: then the
        rules for devices would first deny access to all of them.
        """
        self._manager.create_rest()
        if not self.moves:
            self._manager.set(self._resources.replace(memory=None, memory_swap=None))
        self._open_doors()
        if self.has_doors:
            doors = sync.Doors(tuple(self._doors.numbers()))
            sync.send(channel, doors, deadline=self._deadline())

    def _talk_to(self, child: Child) -> None:
        self._child = child
        self._fd = child.channel_fd
        try:
            self._send_trees()
            self._let_go(self._fd)
            self._prepare()
            while self._answer():
                pass
        except BaseException as error:
            cause = self._cause_of(error)
            self._give_up(cause)
            if cause is not error:
                raise cause from None
            raise
        close(self._fd)
        self._child.channel_fd = -1
        if self._process.pidfd_socket:
            self._send_pidfd(self._process.pidfd_socket)

    def _send_pidfd(self, path: str) -> None:
        try:
            _send_pidfd(path, self._child.pidfd)
        except BaseException as error:
            self._give_up(error)
            raise

    def _cause_of(self, error: BaseException) -> BaseException:
        try:
            return self._cause(error)
        except Exception:  # it cannot be found out
            return error

    def _cause(self, error: BaseException) -> BaseException:
        """Why it failed: if the init has ended by itself, that is why, whatever we saw of it."""
        if not isinstance(error, (OSError, EOFError, ValueError)) or self._is_told:
            return error
        if type(error) is TimeoutError:
            return self._silence()
        gone = isinstance(error, (EOFError, BrokenPipeError, ConnectionResetError))
        gone = gone or getattr(error, "errno", 0) == ESRCH
        try:
            code = self._child.wait(_AFTERMATH if gone else 0)
        except TimeoutError:
            return self._unclear("it closed its end of the init pipe") if gone else error
        except ChildProcessError:
            return self._last_words() or self._unclear("it ended early")
        return self._last_words() or self._death(code)

    def _unclear(self, why: str) -> BootstrapError:
        return BootstrapError("init", "run", f"{why}, after {self._heard!r}", ECANCELED)

    def _death(self, code: int) -> BootstrapError:
        """What there is to say of an init that ended before it was done."""
        if code >= 0:
            return self._unclear(f"it ended early, with exit status {code}")
        death = BootstrapError.killed("init", -code)
        death.subject += f" after {self._heard!r}"
        if self._manager.has_oom_kills():
            death.hint = "container init was OOM-killed (memory limit too low?)"
        return death

    def _last_words(self) -> BootstrapError | None:
        """What an init said before it ended that could not hear us any more."""
        try:
            while True:
                words, fds = frames.receive(self._fd, deadline=0)
                close(*fds)
                message = sync.parse(words, fds)
                if isinstance(message, sync.Error):
                    return self._failure(message)
        except (EOFError, OSError, ValueError):
            return None

    def _give_up(self, error: BaseException) -> None:
        """Have the process gone because of an error, and devices that it was given back."""
        steps = [self._devices.take_back] if self._devices else []
        steps += [self._end_child, self._child.close]
        if self._process.init:
            steps.append(self._container._record.forget_process)
        undo(error, *steps)
        self._process.child = None

    def _end_child(self) -> None:
        """Kill it, be it stopped or in a frozen cgroup."""
        self._child.kill()
        if not self._has_ended():
            # A frozen process of cgroup v1 dies when it is thawed.
            self._manager.thaw()
            self._has_ended()

    def _has_ended(self) -> bool:
        try:
            self._child.wait(_AFTERMATH)
        except TimeoutError:
            return False
        except ChildProcessError:
            pass
        return True

    def _has_trees(self) -> bool:
        config = self._container.config
        in_userns = config.namespaces.is_private(NamespaceType.NEWUSER)
        return self._process.init and (in_userns or any(m.idmap for m in config.mounts))

    def _send_trees(self) -> None:
        """Mounts that the init has no right to make."""
        if not self._has_trees():
            return
        config = self._container.config
        from libcontainer.detached_mounts import detached_trees

        for index, tree in detached_trees(config, self._child.pid):
            try:
                sync.send(self._fd, sync.Mount(index, tree), deadline=self._deadline())
            finally:
                close(tree)

    def _map_ids(self, message: sync.IdMap) -> None:
        """Map the ids of a tree that the init has cloned by itself, once for each such mount."""
        from libcontainer.detached_mounts import comes_with_the_root, map_ids

        config, index = self._container.config, message.index
        mount = config.mounts[index] if index < len(config.mounts) else None
        if mount is None or index in self._mapped or not mount.idmap:
            raise _not_due(message.word)
        if not comes_with_the_root(config, index):
            raise _not_due(message.word)
        self._mapped.add(index)
        map_ids(message.tree, mount, self._child.pid)

    def _prepare(self) -> None:
        """What is done from outside, while the init makes its root."""
        if self.moves:
            self._manager.add(self._child.pid)
            if self._process.init:
                self._manager.set(self._resources)
        rlimits = self._process.config.rlimits
        for limit in self._container.config.rlimits if rlimits is None else rlimits:
            self._make_room(limit)
        if self._process.init:
            self._save()

    def _make_room(self, limit: Rlimit) -> None:
        """Raise the hard limit if it is lower than the requested one, as this process may.

        The init sets the limits themselves just before it executes the program, because they would
        hinder it until then (csrc/inside/exec_steps.c).
        """
        pid, number = self._child.pid, limit.type
        asked = f"{rlimit_name(number)} {limit.soft}:{limit.hard}"
        try:
            soft, hard = get_rlimit(pid, asked, number)
            if hard < limit.hard:
                prlimit(pid, asked, number, soft, limit.hard)
        except Failure as failure:
            raise _with_hint("launcher", failure) from None

    def _save(self) -> None:
        """Save the state: from now on the container exists.

        Commands that would change it wait until it is complete, or gone.
        """
        pid = self._child.pid
        self._container._record.save(
            init_process_pid=pid,
            init_process_start=start_time_of(pid),
            namespace_paths=namespace_paths(pid),
            cgroup_paths=self._container.cgroup.paths(),
            is_creating=True,
        )

    def _answer(self) -> bool:
        """One message; False when it was the last, or the program has been executed."""
        try:
            words, fds = self._receive()
        except (sync.PeerGoneError, ConnectionResetError):
            if self._is_ready and not self._has_gate and self._has_executed():
                return False
            raise
        try:
            return self._answer_to(words, fds)
        finally:
            close(*fds)

    def _answer_to(self, words: list[str], fds: list[int]) -> bool:
        """Do what a message asks for, and answer it. Return whether another one is to come.

        Args:
            words, fds: the message. Descriptors that are kept are taken out of `fds`.
        """
        self._heard = words[0]
        message = sync.parse(words, fds)
        if isinstance(message, sync.Error):
            self._is_told = True
            raise self._failure(message)
        if message is None or not self._is_due(message):
            raise _not_due(words[0])
        if isinstance(message, sync.Waiting):
            return False
        if isinstance(message, (sync.Devices, sync.Successor)):
            fds.clear()
        self._do(message)
        if message.is_answered:
            sync.send(self._fd, sync.Go(), deadline=self._deadline())
        return True

    def _is_due(self, message: sync.Message) -> bool:
        """Return whether the init may send this message now."""
        if isinstance(message, sync.Waiting):
            return self._is_ready and self._has_gate
        if self._is_seen and not isinstance(message, _OF_WHO_IS_SEEN):
            return False
        if isinstance(message, sync.Devices):
            return self._has_devices_to_move()
        if isinstance(message, sync.Ready):
            return not (self._is_followed or self._is_ready)
        if isinstance(message, (sync.Successor, sync.Last)):
            return self._is_followed
        return isinstance(message, sync.FROM_INIT)

    def _do(self, message: sync.Message) -> None:
        match message:
            case sync.Loopback():
                self._bring_loopback_up(message.socket)
            case sync.Devices():
                self._move_devices(message.socket)
            case sync.IdMap():
                self._map_ids(message)
            case sync.Hooks():
                self._hooks()
            case sync.Last():
                self._is_seen = True
            case sync.Successor():
                self._follow(message.pidfd)
            case sync.Ready():
                self._ready()
            case sync.Listener():
                self._send_agents()

    def _receive(self) -> tuple[list[str], list[int]]:
        while True:
            try:
                return frames.receive(self._fd, deadline=self._deadline())
            except TimeoutError:
                # A further process in a paused container goes on when that does.
                if self._manager.freezer_state() != FROZEN:
                    raise self._silence() from None

    def _deadline(self) -> float | None:
        """Return the time until which the next answer must arrive; None means that there is none.

        The hooks that the init runs have timeouts of their own, or none.
        """
        patience = self._process.timeout
        hooks = self._container.config.hooks
        own = hooks.create_container + (() if self._has_gate else hooks.start_container)
        if patience is None or (self._process.init and any(h.timeout is None for h in own)):
            return None
        extra = sum(hook.timeout or 0 for hook in own) if self._process.init else 0
        return time.monotonic() + patience + extra

    def _silence(self) -> BootstrapError:
        doing = _DOING.get(state_letter_of(self._child.pid), "it hangs")
        silent = f"silent for {self._process.timeout:g} s after {self._heard!r}"
        what = f"process {self._child.pid}, {silent}: {doing}"
        self._is_told = True
        return BootstrapError("init", "wait for", what, ETIMEDOUT, hint="")

    def _has_executed(self) -> bool:
        """Whether the program's execve has ended the channel, not a death before it."""
        executed = has_executed(self._child.pid)
        if executed is not None:
            return executed
        try:
            return (self._child.poll() or 0) >= 0
        except ChildProcessError:  # it has ended, and SIGCHLD is ignored: how, nobody can tell
            return True

    def _failure(self, told: sync.Error) -> BootstrapError:
        operation, subject, code, why = told.operation, told.subject, told.number, told.why
        if not why:
            return BootstrapError("init", operation, subject, code)
        from nsenter._host.refused_syscalls import why_refused  # for errors alone

        why += self._addition(operation, code)
        step = why.partition(":")[0].partition(" ")[0]
        refusal = why_refused(step, code) or why_refused(operation, code, subject)
        error = BootstrapError("init", operation, subject, code, hint=refusal)
        # What the init took for the cause was not it.
        error.strerror = why.partition(" (")[0] if refusal else why
        return error

    def _addition(self, operation: str, code: int) -> str:
        """What the init cannot know of why a system call failed."""
        if (operation, code) == ("sched_setattr", EPERM) and self._resources.cpuset_cpus:
            return ": process scheduler can't be used together with AllowedCPUs"
        if (operation, code) == ("sched_setattr", EPERM) and self._has_no_real_time():
            return (
                " (process.scheduler: its cgroup has no time for real-time processes; set "
                "linux.resources.cpu.realtimeRuntime)"
            )
        if (operation, code) == ("set_mempolicy", EINVAL):
            with suppress(OSError), open(_NODES, encoding="ascii") as file:
                nodes = file.read().strip()
                return f" (this machine has the nodes {nodes}, and a cgroup may allow fewer)"
        field = _FIELDS.get(operation)
        return f" ({field})" if field else ""

    def _has_no_real_time(self) -> bool:
        """A new cgroup of v1 has none, on kernels that share it out (CONFIG_RT_GROUP_SCHED)."""
        scheduler = self._process.config.scheduler or self._container.config.scheduler
        if scheduler is None or scheduler.policy not in _REAL_TIME:
            return False
        path = self._manager.paths().get("cpu", "")
        with suppress(OSError), open(f"{path}/cpu.rt_runtime_us", encoding="ascii") as file:
            return int(file.read()) == 0
        return False

    def _bring_loopback_up(self, socket: int) -> None:
        from libcontainer.init.network import bring_loopback_up

        try:
            bring_loopback_up(socket)
        except Failure as failure:
            raise _with_hint("init", failure) from None

    def _has_devices_to_move(self) -> bool:
        has_some = self._process.init and bool(self._container.config.net_devices)
        return has_some and self._devices is None

    def _move_devices(self, socket: int) -> None:
        """Into the init's network namespace, before any hook looks for them there."""
        from libcontainer.net_devices import NetDevices

        names, pid = self._container.config.net_devices, self._child.pid
        self._devices = NetDevices(names, socket, f"/proc/{pid}/ns/net")
        try:
            self._devices.move()
        except Failure as failure:
            error = _with_hint("launcher", failure)
            error.strerror = failure.strerror
            raise error from None

    def _hooks(self) -> None:
        for kind in ("prestart", "createRuntime"):
            self._container.run_hooks(kind, "creating", self._child.pid)

    def _ready(self) -> None:
        """All is well, as far as the parent is concerned."""
        self._is_ready = True
        resources = self._resources
        if self._process.init and not self.moves and (resources.memory or resources.memory_swap):
            # With the init in it, so that a limit that it exceeds already is refused by name: if
            # the limit were there first, the init would only be killed.
            self._manager.set(resources.replace(skip_devices=True))
        self._process.child = self._child
        self._process.ready()
        if self._process.init:
            self._container._record.save(is_creating=False)

    def _follow(self, pidfd: int) -> None:
        """Go on with the process that the init has made in its place, and see the init end.

        Others see that process already, and may have sent this message. So it must be a child of
        ours; those that can be are what it would do by itself.
        """
        from nsenter._launch.child import Child
        from nsenter._launch.join_targets import pid_of

        self._is_followed = False
        first = self._child
        try:
            pid = pid_of(pidfd)
            if pid == first.pid or parent_of(pid) != os.getpid():
                raise BootstrapError("init", "name as its successor", f"process {pid}", EPROTO)
        except BaseException:
            close(pidfd)
            raise
        self._child = Child(pid, pidfd, list(first.trace))
        self._child.channel_fd, first.channel_fd = first.channel_fd, -1
        try:
            self._see_end_of(first)
        finally:
            first.kill()
            with suppress(TimeoutError, ChildProcessError):
                first.wait(_AFTERMATH)
            first.close()
        self._save()

    def _see_end_of(self, first: Child) -> None:
        try:
            code = first.wait(_AFTERMATH)
        except ChildProcessError:  # it has ended, and SIGCHLD is ignored
            return
        if code:
            self._is_told = True
            raise self._death(code)

    def _send_agents(self) -> None:
        """A connection to the seccomp agent for the process, and for each startContainer hook."""
        from libcontainer.seccomp.notify import connect, process_state

        config, pid = self._container.config, self._child.pid
        policy = config.seccomp
        assert policy is not None
        count = 1 + (len(config.hooks.start_container) if self._process.init else 0)
        most = sync.Agents.most_fds
        if count > most:
            raise ContainerError(f"hooks.startContainer: over {most - 1}, and a filter")
        told = process_state(policy, pid, self._container.oci_state("creating", pid))
        with Descriptors() as agents:
            for _ in range(count):
                agents.add(connect(policy))
            state = json_text.dumps(told)
            message = sync.Agents(policy.listener_path, state, tuple(agents.numbers()))
            sync.send(self._fd, message, deadline=self._deadline())
