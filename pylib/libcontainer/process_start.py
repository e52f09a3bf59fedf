# SPDX-License-Identifier: Apache-2.0
"""The parent's part in the start of a process: what the process is given, and its launch.

`InitProcess` and `SetnsProcess` correspond to runc's initProcess and setnsProcess
(process_linux.go). The interpreter of an init boots while its cgroup is made ready. After that,
parent and init work in step (libcontainer.dialogue).
"""

from __future__ import annotations

import os
from errno import EAGAIN

from libcontainer.cgroup_entry import CgroupEntry
from libcontainer.cgroups import FROZEN
from libcontainer.dialogue import Dialogue
from libcontainer.init.config import InitConfig, LateJoin, pack
from libcontainer.init.image_contents import EXTENSIONS, IMAGE
from nsenter._host import json_text
from nsenter._host.cleanup import close, undo
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import Failure
from nsenter._launch.descriptors import Descriptors
from nsenter.errors import BootstrapError
from nsenter.launch import PythonInit, launch
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libcontainer.cgroups import Manager
    from libcontainer.process import Process
    from libcontainer.record import Record
    from nsenter._interpreter.prebooted import PrebootedInit
    from nsenter._launch.child import Child
    from nsenter._launch.confinement import Confinement
    from nsenter.bootstrap import BootstrapData
else:
    PrebootedInit = object  # at run time: its module is imported when it is needed

__all__ = ["InitProcess", "SetnsProcess", "prebooted_init"]

_NO_TIMEOUT = 1e9
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


class _ParentProcess:
    """What the parent has of a process that it has not started yet.

    Attributes:
        record: the record of the container.
        process: the process that is to be started.
        manager: the manager of the cgroup in which it is started.
        bootstrap_data: the bootstrap message, by which nsexec creates or joins the namespaces.
        config: the init config. What is known only when the process is started is not in it yet.
        env: the environment of the init, which is empty: everything that an init needs is in its
            config. The environment of the program is in `config.process`.
    """

    def __init__(
        self, record: Record, process: Process, manager: Manager, bootstrap_data: BootstrapData
    ) -> None:
        self.record = record
        self.process = process
        self.manager = manager
        self.bootstrap_data = bootstrap_data
        self.config = _init_config(record, process)
        self.env: Mapping[str, str] = {}

    def _launch(
        self,
        dialogue: Dialogue,
        data: BootstrapData,
        config: InitConfig,
        fds: Descriptors,
        *,
        cgroup: int | None,
        boots: bool = True,
        tasks_fds: tuple[int, ...] = (),
        timeout: float | None = None,
        confinement: Confinement | None = None,
    ) -> Child:
        """Launch the init.

        Args:
            dialogue: begins early if the init is prebooted.
            data, config: what to send.
            fds: the descriptors that the init inherits.
            boots: whether the interpreter may boot if it cannot be started from an image.
            cgroup, tasks_fds, timeout, confinement: see `nsenter.launch.launch`.
        """
        process = self.process
        stdin, stdout, stderr = process.stdio
        if process.prebooted:
            process.prebooted.meanwhile = dialogue.begin_early
        init = PythonInit(
            _TARGET, (pack(config),), extensions=EXTENSIONS, prebooted=process.prebooted,
            image=IMAGE, boots=boots,
        )  # fmt: skip
        with _InitialAffinity(process):
            return launch(
                data, init, stdin=stdin, stdout=stdout, stderr=stderr, env=self.env,
                pass_fds=[*process.preserved(), *fds.numbers()], cgroup=cgroup,
                tasks_fds=tasks_fds, timeout=_NO_TIMEOUT if timeout is None else timeout,
                trace=process.trace, confinement=confinement,
            )  # fmt: skip

    # ---- the capabilities that the last steps of an init require

    def _bounding(self) -> tuple[str, ...]:
        caps = self.process.config.capabilities or self.record.config.capabilities
        return caps.bounding if caps else ()

    def _capabilities(self) -> list[str]:
        """Return the names in all sets of the program."""
        caps = self.process.config.capabilities or self.record.config.capabilities
        sets = caps.to_data() if caps else {}
        return [name for names in sets.values() for name in names]

    def _last_steps(self) -> Iterator[str]:
        """Yield the steps that libcontainer.init.process.ending takes.

        nsenter._launch.joiner_capabilities has the capabilities that each requires.
        """
        config, process = self.record.config, self.process.config
        yield from ("ids", "streams", "cwd")
        if any((process.io_priority, config.io_priority, process.scheduler, config.scheduler)):
            yield "scheduler"
        asked = process.no_new_privileges
        if config.seccomp and not (config.no_new_privileges if asked is None else asked):
            yield "filter"


class InitProcess(_ParentProcess):
    """The first process of a container.

    Attributes:
        shares_pid_namespace: whether the container has no PID namespace of its own. The first
            process is then not PID 1, and the other processes go on when it ends.
    """

    def __init__(
        self, record: Record, process: Process, manager: Manager, bootstrap_data: BootstrapData
    ) -> None:
        super().__init__(record, process, manager, bootstrap_data)
        self.shares_pid_namespace = not record.config.namespaces.is_private(NamespaceType.NEWPID)

    def start(self, *, gate: bool) -> None:
        """Start the process, up to the exec fifo. The container must be locked.

        Args:
            gate: whether there is an exec fifo. Otherwise the program is executed at once.

        Raises:
            NsenterError, OSError: as `Container.start`. Nothing is left of the process.
        """
        folder = self.record.folder
        with Descriptors() as fds:
            try:
                self.manager.create_entry()
                fifo_fd = fds.add(folder.make_fifo()) if gate else -1
                self._start(fifo_fd, fds)
            except BaseException as error:
                undo(error, folder.remove_fifo, lambda: _remove_cgroup(self.record))
                raise

    def _start(self, fifo_fd: int, fds: Descriptors) -> None:
        with CgroupEntry(self.manager) as entry:
            config = self.config.replace(
                # Now that the cgroup exists: what a user may not make is not in these.
                cgroup_paths=self.manager.paths(),
                cgroup_mounts=self.manager.mounts(),
                console_fd=_console(self.process, fds),
                fifo_fd=fifo_fd,
                is_moved=entry.is_moved,
                has_tasks_fds=entry.has_tasks_fds,
            )
            data, config = self._with_late_join(self.bootstrap_data, config, fds)
            data, config = _with_late_cgroup_namespace(data, config)
            dialogue = Dialogue(self.record, self.process, entry, config)
            timeout = self.process.timeout
            child = self._launch(dialogue, data, config, fds, cgroup=entry.fd, timeout=timeout)
            dialogue.run(child)

    def _with_late_join(
        self, data: BootstrapData, config: InitConfig, fds: Descriptors
    ) -> tuple[BootstrapData, InitConfig]:
        """Move an existing PID namespace from the bootstrap message to the init config.

        This is done if the init itself can join the namespace.
        """
        if not self.record.config.namespaces.path_of(NamespaceType.NEWPID):
            return data, config
        from libcontainer.pid_namespace_join import pid_namespace
        from nsenter._launch.joiner_capabilities import capabilities_kept

        fd = pid_namespace(self.record.config)
        if fd < 0:
            return data, config
        held = capabilities_kept(self._last_steps(), keeps=self._capabilities())
        late = LateJoin(pid_namespace=fds.add(fd), held=tuple(sorted(held)))
        others = [ns for ns in data.namespace_paths if ns.type != NamespaceType.NEWPID]
        return data.replace(namespace_paths=tuple(others)), config.replace(late_join=late)


class SetnsProcess(_ParentProcess):
    """A further process, which joins the namespaces of a container.

    It has a pidfd of the container's init, which its bootstrap message names. So it must be closed,
    or used in a with statement.
    """

    def __init__(
        self,
        record: Record,
        process: Process,
        manager: Manager,
        bootstrap_data: BootstrapData,
        pidfd: int,
    ) -> None:
        super().__init__(record, process, manager, bootstrap_data)
        self._pidfd = pidfd

    def __enter__(self) -> SetnsProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pidfd of the container's init."""
        if self._pidfd >= 0:
            pidfd, self._pidfd = self._pidfd, -1
            close(pidfd)

    def start(self) -> None:
        """Start the process.

        Raises:
            NsenterError, OSError: as `Container.start`. Nothing is left of the process.
        """
        with Descriptors() as fds, CgroupEntry(self.manager) as entry:
            config = self.config.replace(console_fd=_console(self.process, fds))
            entry.open_tasks_fds()
            dialogue = Dialogue(self.record, self.process, entry, config)
            dialogue.run(self._launched(dialogue, config, entry, fds))

    def _launched(
        self, dialogue: Dialogue, config: InitConfig, entry: CgroupEntry, fds: Descriptors
    ) -> Child:
        """Launch the init. If its cgroup is full, launch it outside and move it."""
        try:
            return self._launch_from_image(dialogue, config, entry, fds)
        except BootstrapError as error:
            is_full = error.errno == EAGAIN and error.operation == "clone"
            if not is_full or entry.is_moved:
                raise
        entry.move_instead()
        self.process.prebooted = None  # it has ended with the first try
        return self._launch_from_image(dialogue, config, entry, fds)

    def _launch_from_image(
        self, dialogue: Dialogue, config: InitConfig, entry: CgroupEntry, fds: Descriptors
    ) -> Child:
        """Launch the init from its memory image if possible.

        It then does without a capability that an interpreter requires to boot.
        """
        config = config.replace(is_moved=entry.is_moved, has_tasks_fds=entry.has_tasks_fds)

        def launch_it(*, boots: bool) -> Child:
            return self._launch(
                dialogue, self.bootstrap_data, config, fds, cgroup=entry.fd, boots=boots,
                tasks_fds=entry.tasks_fds(), timeout=self._patience(),
                confinement=self._confinement(boots=boots),
            )  # fmt: skip

        if not self.process.prebooted:
            try:
                return launch_it(boots=False)
            except BootstrapError as error:
                if error.stage != "image":
                    raise
        return launch_it(boots=True)

    def _patience(self) -> float | None:
        """Return how many seconds the stages may take.

        In a paused container there is no limit: they go on when the container is resumed.
        """
        return None if self.manager.freezer_state() == FROZEN else self.process.timeout

    def _confinement(self, *, boots: bool) -> Confinement:
        """Return what the process gives up before the processes of the container can see it.

        Args:
            boots: whether its interpreter may have to boot.
        """
        from nsenter._launch.confinement import Confinement
        from nsenter._launch.joiner_capabilities import keep_only

        steps, keeps = self._steps(boots=boots), self._capabilities()
        return Confinement(keep_only(steps, keeps=keeps, bounding=self._bounding()))

    def _steps(self, *, boots: bool) -> Iterator[str]:
        """Yield the steps that libcontainer.init.setns takes; see `_last_steps`."""
        yield from self._last_steps()
        if boots and not self.process.prebooted:
            yield "root"
        if self.process.config.terminal:
            yield "console"


def _init_config(record: Record, process: Process) -> InitConfig:
    """Return what the init is told, except for what is known only when it is started."""
    program, has_listener = _compiled_filter(record)
    namespaces = record.config.namespaces
    states = {status: record.oci_state(status) for status in ("creating", "created")}
    return InitConfig(
        type="standard" if process.init else "setns",
        id=record.id,
        config=record.config,
        process=process.config,
        preserve_fds=process.preserve_fds,
        new_namespaces=tuple(ns.type.value for ns in namespaces if ns.is_new),
        joined_namespaces=tuple(ns.type.value for ns in namespaces if not ns.is_new),
        in_userns=namespaces.contains(NamespaceType.NEWUSER),
        seccomp=program,
        has_listener=has_listener,
        hook_state={name: json_text.dumps(state).encode() for name, state in states.items()},
    )


def _compiled_filter(record: Record) -> tuple[tuple[bytes, int] | None, bool]:
    """Return the code and the flags of the seccomp filter, and whether it has a listener."""
    policy = record.config.seccomp
    if policy is None:
        return None, False
    from libcontainer.seccomp import compile
    from libcontainer.seccomp.cache import folder

    program = compile(policy, cache_dir=folder())
    return (program.code, program.flags), program.has_listener


def _with_late_cgroup_namespace(
    data: BootstrapData, config: InitConfig
) -> tuple[BootstrapData, InitConfig]:
    """Let an init that is not cloned into its cgroup make its cgroup namespace itself.

    The cgroup in which it is at that moment becomes the root of the namespace.
    """
    flag = NamespaceType.NEWCGROUP.clone_flag
    if not data.clone_flags & flag or not (config.is_moved or config.has_tasks_fds):
        return data, config
    flags = data.clone_flags & ~flag
    return data.replace(clone_flags=flags), config.replace(unshare_cgroup=True)


def _console(process: Process, fds: Descriptors) -> int:
    """Return a descriptor of the console socket; -1 if there is none."""
    where = process.console_socket
    if where is None:
        return -1
    if isinstance(where, int):
        return fds.add(os.dup(where))
    from libcontainer.sockets import connected

    return fds.add(connected(where))


def _remove_cgroup(record: Record) -> None:
    if not record.folder.is_gone():
        record.cgroup.destroy()
        return
    # The command that deleted the container by force has removed its cgroup as well, which may
    # belong to a later container now. Remove what was made since then, if it is empty.
    for path in {*record.cgroup.paths().values()}:
        with suppress(OSError):
            os.rmdir(path)


class _InitialAffinity:
    """A context manager in which a further process is launched on certain CPUs.

    Until the process is in its cgroup, it runs on the CPUs of `execCPUAffinity.initial`. As with
    runc, this thread does so too, because the process inherits them from it.
    """

    def __init__(self, process: Process) -> None:
        self._cpus = "" if process.init else process.config.exec_cpu_affinity.get("initial", "")
        # A prebooted init was started before, so it inherits nothing any more.
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
            error = BootstrapError.at("launcher", failure)
            undo(error, self.__exit__)
            raise error from None

    def __exit__(self, *exc_info: object) -> None:
        if self._cpus:
            os.sched_setaffinity(0, self._before)
