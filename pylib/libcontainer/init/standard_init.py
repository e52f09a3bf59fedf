# SPDX-License-Identifier: Apache-2.0
"""The first process of a container: it makes the container's root and becomes the program.

The order of the steps is that of runc's standard_init_linux.go, in which each has a reason.
"""

from __future__ import annotations

import _signal
import errno
import posix

from libcontainer.init import network, sync
from libcontainer.init.cgroup_doors import enter_cgroups
from libcontainer.init.hooks import run_hooks
from libcontainer.init.process import identity, keys
from libcontainer.init.process.console import Console
from libcontainer.init.process.ending import Ending
from libcontainer.init.process.program import named
from libcontainer.init.rootfs.root import Rootfs
from libcontainer.init.successor import succeed
from nsenter._host.syscalls import Failure, setdomainname, sethostname, unshare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from libcontainer.init.config import InitConfig

_CLONE_NEWCGROUP = 0x0200_0000
_ENDING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
_FIRST_OTHER_FD = 3
_KILLED = 128  # as a shell tells of it


def run(channel: int, init_config: InitConfig) -> NoReturn:
    """Never returns: what fails is raised."""
    _Init(channel, init_config).run()


class _Init:
    def __init__(self, channel: int, init_config: InitConfig) -> None:
        self._channel = channel
        self._init_config = init_config
        self._config = init_config.config
        self._rootfs = Rootfs(init_config)
        self._own_mounts = "NEWNS" in (*init_config.new_namespaces, *init_config.joined_namespaces)
        self._console: Console | None = None

    def run(self) -> NoReturn:
        init_config, config = self._init_config, self._config
        if not config.no_new_keyring:
            label = init_config.process.process_label or config.process_label
            keys.join_session_keyring(init_config.id, in_userns=init_config.in_userns, label=label)
        if "NEWNET" in init_config.new_namespaces:
            network.ask_for_loopback(self._channel)
        if config.net_devices:
            network.ask_for_devices(self._channel)
        self._rootfs.prepare(self._join_cgroup, self._hooks_of_the_root, self._map_ids)
        _make_cwd(init_config.process.cwd)
        if init_config.process.terminal:
            self._make_console()
        self._name()
        self._rootfs.finalize()
        if init_config.late_join:
            succeed(self._channel, init_config, self._kept_fds())
        if self._console:
            self._console.become_streams()
        sync.ask(self._channel, sync.Ready())
        self._ending = Ending(self._channel, init_config)
        self._ending.run(self._wait_for_start, config.parent_death_signal)

    def _join_cgroup(self) -> None:
        """Enter the cgroup, or let the parent move this process into it.

        The parent has set up the cgroup meanwhile, so this comes late.
        """
        if self._init_config.is_moved:
            sync.ask(self._channel, sync.Cgroup())
        elif self._init_config.has_tasks_fds:
            enter_cgroups(sync.expect(self._channel, sync.TasksFds).fds)
        if self._init_config.unshare_cgroup:
            unshare(_CLONE_NEWCGROUP)

    def _map_ids(self, index: int, tree: int) -> None:
        """Let the parent, which has the right to, map the ids of a tree."""
        sync.ask(self._channel, sync.IdMap(index, tree))

    def _hooks_of_the_root(self) -> None:
        hooks = self._config.hooks
        # Hooks and sysctls find the network devices there.
        if hooks.prestart or hooks.create_runtime or self._config.net_devices:
            sync.ask(self._channel, sync.Hooks())
        if hooks.create_container:
            env = named(self._init_config.process.env)
            run_hooks("createContainer", hooks.create_container, self._hook_state("creating"), env)

    def _hook_state(self, status: str) -> bytes:
        """Return OCI's state, with the pid that this process has in its own namespace."""
        state: bytes = self._init_config.hook_state[status]
        return b'%b,"pid":%d}' % (state[:-1], posix.getpid())

    def _make_console(self) -> None:
        console = Console(self._init_config.process)
        if self._own_mounts:
            self._rootfs.console(console.slave)
        console.hand_over(self._init_config.console_fd)
        self._console = console

    def _kept_fds(self) -> set[int]:
        init_config = self._init_config
        own = {self._channel, init_config.fifo_fd, self._console.slave if self._console else -1}
        return {*range(_FIRST_OTHER_FD + init_config.preserve_fds), *own} - {-1}

    def _name(self) -> None:
        if self._config.hostname:
            sethostname(self._config.hostname)
        if self._config.domainname:
            setdomainname(self._config.domainname)

    def _wait_at_the_fifo(self) -> None:
        """Until somebody says that the program is to be executed: a byte comes down the fifo."""
        # As PID 1 it would not hear them (pid_namespaces(7)); until here it is the runtime's.
        for number in _ENDING:
            _signal.signal(number, _end)
        # Without this word, the end of the channel would mean that this process has died.
        sync.send(self._channel, sync.Waiting())
        posix.close(self._channel)
        posix.read(self._init_config.fifo_fd, 1)
        posix.close(self._init_config.fifo_fd)

    def _wait_for_start(self, env: dict[str, str]) -> None:
        if self._init_config.fifo_fd >= 0:
            self._wait_at_the_fifo()
        # Else the channel stays open up to the execve, so that the parent hears of what fails.
        hooks = self._config.hooks.start_container
        if hooks:
            state, confine = self._hook_state("created"), self._ending.confinement
            run_hooks("startContainer", hooks, state, env, confine)
        identity.check_cwd()


def _end(number: int, frame: object) -> None:
    posix._exit(_KILLED + number)


def _make_cwd(path: str) -> None:
    """Create a working directory that is missing, as an image's WORKDIR may be."""
    made = ""
    for name in path.split("/"):
        made = f"{made}/{name}" if name else made
        try:
            if name:
                posix.mkdir(made, 0o755)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EROFS):
                raise Failure("mkdir", f"{made} (of process.cwd)", error.errno or 0) from None
