# SPDX-License-Identifier: Apache-2.0
"""The last steps of every init, from the last of its privileges to the program."""

from __future__ import annotations

import _signal
import errno
import posix

from libcontainer.init import identity, labels, program, sync
from nsenter.system import PR_SET_PDEATHSIG, Failure, close_range, personality, prctl, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from libcontainer.init.orders import Orders

_FIRST_OTHER_FD = 3
_CLOSE_RANGE_CLOEXEC = 4
_LAST_FD = 0xFFFFFFFF
_DEFAULT_UMASK = 0o022


class Ending:
    """What is left to do once the place is made.

    Args:
        channel: to the parent.
        orders: ours.
    """

    def __init__(self, channel: int, orders: Orders) -> None:
        self._channel = channel
        self._orders = orders
        self._process = orders.process
        config = orders.config
        asked = self._process.no_new_privileges
        self._no_new_privileges = config.no_new_privileges if asked is None else asked

    def run(
        self, before_the_program: Callable[[dict[str, str]], None], death_signal: int = 0
    ) -> NoReturn:
        """Become the process, and execute.

        Args:
            before_the_program: done when nobody can fail any more but the program itself, whose
                environment it gets.
            death_signal: of the process when its parent ends.
        """
        orders, process = self._orders, self._process
        # What only this init needs is done before there is a filter that may not allow it.
        close_range(_FIRST_OTHER_FD + orders.preserve_fds, _LAST_FD, _CLOSE_RANGE_CLOEXEC)
        self._be_scheduled()
        self._label()
        # A filter without no_new_privs takes CAP_SYS_ADMIN, which goes right after.
        if not self._no_new_privileges:
            self._filter()
        umask = process.umask if process.umask is not None else orders.config.umask
        posix.umask(_DEFAULT_UMASK if umask is None else umask)
        identity.become(process, process.capabilities or orders.config.capabilities)
        # Becoming somebody else clears it (prctl(2)).
        prctl("PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, death_signal)
        env = program.environment(process.env, process.uid)
        path = program.find(process.args[0], env)
        if self._no_new_privileges:
            identity.set_no_new_privileges()
            self._filter()
        before_the_program(env)
        # Python ignores it; a program is to die of it, as everywhere.
        _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
        _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
        self._execute(path, env)

    def _execute(self, path: str, env: dict[str, str]) -> NoReturn:
        try:
            posix.execve(path, list(self._process.args), env)
        except OSError as error:
            number = error.errno or 0
            hints = {errno.ENOEXEC: "exec format error: no program of this machine's kind"}
            raise Failure("exec", f'"{path}"', number, hints.get(number, "")) from None

    def _be_scheduled(self) -> None:
        config, process = self._orders.config, self._process
        io_priority = process.io_priority or config.io_priority
        scheduler = process.scheduler or config.scheduler
        if io_priority is not None:
            identity.set_io_priority(io_priority)
        if scheduler is not None:
            identity.set_scheduler(scheduler)
        if config.personality is not None:
            personality(config.personality)

    def _label(self) -> None:
        config, process = self._orders.config, self._process
        profile = process.apparmor_profile or config.apparmor_profile
        label = process.process_label or config.process_label
        if not profile and not label:
            return
        proc = posix.open("/proc", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            if profile:
                labels.set_apparmor_exec(proc, profile)
            if label:
                labels.set_selinux_exec(proc, label)
        finally:
            posix.close(proc)

    def _filter(self) -> None:
        """The filter, and its listener to the parent, who waits for it."""
        orders = self._orders
        if orders.seccomp is None:
            return
        code, flags = orders.seccomp
        listener = seccomp(code, flags)
        if orders.has_listener:
            sync.send_with_fds(self._channel, [listener], sync.LISTENER)
            sync.expect_go(self._channel)
            posix.close(listener)
