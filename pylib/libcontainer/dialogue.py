# SPDX-License-Identifier: Apache-2.0
"""The parent's end of the dialogue with an init that it has launched (libcontainer.init.sync)."""

from __future__ import annotations

import os
import time
from errno import EPROTO, ESRCH

from libcontainer.cgroups import FROZEN
from libcontainer.errors import ContainerError
from libcontainer.init import frames, sync
from libcontainer.record import namespace_paths
from nsenter._host import json_text
from nsenter._host.cleanup import close, undo
from nsenter._host.procfs import has_executed, parent_of, start_time_of
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import Failure, get_rlimit, prlimit
from nsenter._launch.descriptors import Descriptors
from nsenter._message.limits import rlimit_name
from nsenter.errors import BootstrapError
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.cgroup_entry import CgroupEntry
    from libcontainer.configs import Hook, Rlimit
    from libcontainer.init.config import InitConfig
    from libcontainer.net_devices import NetDevices
    from libcontainer.process import Process
    from libcontainer.record import Record
    from libcontainer.start_failures import Failures
    from nsenter._launch.child import Child

__all__ = ["Dialogue"]

# Seconds that a process that is killed, or has closed its end of the init pipe, may take to end.
_AFTERMATH = 5.0
# The messages that are believed of a process that others can see, and could speak for.
_OF_WHO_IS_SEEN = (sync.Successor, sync.Ready, sync.Listener)


def _not_due(word: str) -> BootstrapError:
    """Return the error for a message that the init may not send, or not now."""
    return BootstrapError("init", "say", repr(word), EPROTO)


class Dialogue:
    """The dialogue with one init, until nothing can fail any more.

    Args:
        record: the record of the container.
        process: the process that the init becomes.
        entry: the way into the cgroup of the process.
        config: the init config.
    """

    def __init__(
        self, record: Record, process: Process, entry: CgroupEntry, config: InitConfig
    ) -> None:
        self._record = record
        self._config = record.config
        self._process = process
        self._entry = entry
        self._manager = entry.manager
        # Whether the init waits at the exec fifo.
        self._has_gate = config.fifo_fd >= 0
        # The first word of the last message, and whether that message says why the init ends.
        self._heard = "nothing"
        self._is_told = False
        self._is_ready = False
        self._has_begun = False
        self._mapped: set[int] = set()
        self._devices: NetDevices | None = None
        # Whether the init that was launched is to name a successor.
        self._is_followed = config.late_join is not None
        # Whether processes of the container, or of a PID namespace that the init joins, can see
        # the process that sends the messages. One with CAP_SYS_PTRACE could send messages in its
        # place, so no hook runs for it, and nothing is mapped or moved.
        self._is_seen = not process.init

    # ---- the beginning

    def begin_early(self, channel: int) -> None:
        """Begin while the init gets ready, so that it does not have to wait.

        Args:
            channel: the parent's end of the init pipe.
        """
        if not self._has_trees():
            self._begin(channel)

    def _begin(self, channel: int) -> None:
        """Let the init begin, unless that was done.

        A further process is in its cgroup before it does anything. A first one makes its root while
        the rest of the cgroup is made.
        """
        if self._has_begun:
            return
        self._has_begun = True
        sync.send(channel, sync.Go(), deadline=self._deadline())
        if self._process.init:
            self._make_cgroup_ready(channel)

    def _make_cgroup_ready(self, channel: int) -> None:
        """Make the cgroup, and set its limits before the init enters it.

        If the init has to be moved, the limits are set later: at first, the rules for devices are
        denials.
        """
        self._manager.create_rest()
        if not self._entry.is_moved:
            resources = self._config.cgroups.resources
            self._manager.set(resources.replace(memory=None, memory_swap=None))
        if self._entry.has_tasks_fds:
            tasks_fds = sync.TasksFds(self._entry.open_tasks_fds())
            sync.send(channel, tasks_fds, deadline=self._deadline())

    def run(self, child: Child) -> None:
        """Hold the dialogue. If it fails, the process is gone.

        Args:
            child: the init, as it was launched.
        """
        self._child = child
        self._fd = child.channel_fd
        try:
            self._run()
            self._hand_over()
        finally:
            if self._devices:
                self._devices.close()

    def _run(self) -> None:
        try:
            self._send_trees()
            self._begin(self._fd)
            self._prepare()
            while self._answer():
                pass
        except BaseException as error:
            cause = self._cause_of(error)
            self._give_up(cause)
            if cause is not error:
                raise cause from None
            raise

    def _hand_over(self) -> None:
        close(self._fd)
        self._child.channel_fd = -1
        if not self._process.pidfd_socket:
            return
        from libcontainer.sockets import send_pidfd

        try:
            send_pidfd(self._process.pidfd_socket, self._child.pidfd)
        except BaseException as error:
            self._give_up(error)
            raise

    def _has_trees(self) -> bool:
        config = self._config
        in_userns = config.namespaces.is_private(NamespaceType.NEWUSER)
        return self._process.init and (in_userns or any(m.idmap for m in config.mounts))

    def _send_trees(self) -> None:
        """Send the mounts that the init has no right to make."""
        if not self._has_trees():
            return
        from libcontainer.detached_mounts import detached_trees

        for index, tree in detached_trees(self._config, self._child.pid):
            try:
                sync.send(self._fd, sync.Mount(index, tree), deadline=self._deadline())
            finally:
                close(tree)

    def _prepare(self) -> None:
        """Do what is done from outside while the init makes its root."""
        if self._entry.is_moved:
            self._manager.add(self._child.pid)
            if self._process.init:
                self._manager.set(self._config.cgroups.resources)
        rlimits = self._process.config.rlimits
        for limit in self._config.rlimits if rlimits is None else rlimits:
            self._make_room(limit)
        if self._process.init:
            self._save()

    def _make_room(self, limit: Rlimit) -> None:
        """Raise a hard limit if it is lower than asked for, with the rights of this process.

        The init sets the limits themselves right before it executes the program, because they would
        hinder it until then (csrc/inside/exec_steps.c).
        """
        pid, number = self._child.pid, limit.type
        asked = f"{rlimit_name(number)} {limit.soft}:{limit.hard}"
        try:
            soft, hard = get_rlimit(pid, asked, number)
            if hard < limit.hard:
                prlimit(pid, asked, number, soft, limit.hard)
        except Failure as failure:
            raise BootstrapError.at("launcher", failure) from None

    def _save(self) -> None:
        """Record the process.

        Other commands that change the container wait from now on until it is set up, or gone.
        """
        pid = self._child.pid
        self._record.save(
            init_process_pid=pid,
            init_process_start=start_time_of(pid),
            namespace_paths=namespace_paths(pid),
            cgroup_paths=self._record.cgroup.paths(),
            is_creating=True,
        )

    # ---- the messages

    def _answer(self) -> bool:
        """Receive a message and answer it.

        Return False if it was the last one, or if the program has been executed.
        """
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

    def _receive(self) -> tuple[list[str], list[int]]:
        while True:
            try:
                return frames.receive(self._fd, deadline=self._deadline())
            except TimeoutError:
                # A further process in a paused container goes on when the container does.
                if self._manager.freezer_state() != FROZEN:
                    raise self._silence() from None

    def _deadline(self) -> float | None:
        """Return when the next message must be there.

        The hooks that the init runs have timeouts of their own, or none.
        """
        patience, hooks = self._process.timeout, self._hooks_of_the_init()
        if patience is None or any(hook.timeout is None for hook in hooks):
            return None
        return time.monotonic() + patience + sum(hook.timeout or 0 for hook in hooks)

    def _hooks_of_the_init(self) -> tuple[Hook, ...]:
        if not self._process.init:
            return ()
        hooks = self._config.hooks
        return hooks.create_container + (() if self._has_gate else hooks.start_container)

    def _has_executed(self) -> bool:
        """Return whether execve(2) of the program has closed the init pipe, not an early death."""
        executed = has_executed(self._child.pid)
        if executed is not None:
            return executed
        try:
            return (self._child.poll() or 0) >= 0
        except ChildProcessError:  # it has ended, and SIGCHLD is ignored: nobody can tell how
            return True

    def _answer_to(self, words: list[str], fds: list[int]) -> bool:
        """Do what a message asks for, and answer it. Return whether another one is to come.

        Args:
            words, fds: the message. Descriptors that are kept are taken out of `fds`.
        """
        self._heard = words[0]
        message = sync.parse(words, fds)
        if isinstance(message, sync.Error):
            self._is_told = True
            raise self._failures().told(message)
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
                self._run_hooks()
            case sync.Last():
                self._is_seen = True
            case sync.Successor():
                self._follow(message.pidfd)
            case sync.Ready():
                self._ready()
            case sync.Listener():
                self._send_agents()

    # ---- what the init asks for

    def _bring_loopback_up(self, socket: int) -> None:
        from libcontainer.init.network import bring_loopback_up

        try:
            bring_loopback_up(socket)
        except Failure as failure:
            raise BootstrapError.at("init", failure) from None

    def _has_devices_to_move(self) -> bool:
        has_some = self._process.init and bool(self._config.net_devices)
        return has_some and self._devices is None

    def _move_devices(self, socket: int) -> None:
        """Move the network devices into the container before any hook looks for them there."""
        from libcontainer.net_devices import NetDevices

        names, pid = self._config.net_devices, self._child.pid
        self._devices = NetDevices(names, socket, f"/proc/{pid}/ns/net")
        try:
            self._devices.move()
        except Failure as failure:
            raise BootstrapError.at("launcher", failure) from None

    def _map_ids(self, message: sync.IdMap) -> None:
        """Map the ids of a tree that the init has cloned by itself, once for each such mount."""
        from libcontainer.detached_mounts import comes_with_the_root, map_ids

        config, index = self._config, message.index
        mount = config.mounts[index] if index < len(config.mounts) else None
        if mount is None or index in self._mapped or not mount.idmap:
            raise _not_due(message.word)
        if not comes_with_the_root(config, index):
            raise _not_due(message.word)
        self._mapped.add(index)
        map_ids(message.tree, mount, self._child.pid)

    def _run_hooks(self) -> None:
        hooks, pid = self._config.hooks, self._child.pid
        self._record.run_hooks("prestart", hooks.prestart, "creating", pid)
        self._record.run_hooks("createRuntime", hooks.create_runtime, "creating", pid)

    def _ready(self) -> None:
        self._is_ready = True
        resources = self._config.cgroups.resources
        is_limited = resources.memory or resources.memory_swap
        if self._process.init and not self._entry.is_moved and is_limited:
            # The init is in the cgroup, so a limit that it exceeds already is refused by name. If
            # the limit had been there first, the init would only have been killed.
            self._manager.set(resources.replace(skip_devices=True))
        self._process.child = self._child
        self._process.ready()
        if self._process.init:
            self._record.save(is_creating=False)

    def _follow(self, pidfd: int) -> None:
        """Go on with the process that the init has made in its place, and wait for the init to end.

        Others can see that process already, and may have sent this message. So it must be a child
        of this process: the processes that can be are those that the init could make by itself.
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
            raise self._failures().death(code, self._heard)

    def _send_agents(self) -> None:
        """Send connections to the seccomp agent: for the process and each startContainer hook."""
        from libcontainer.seccomp.notify import connect, process_state

        pid, policy = self._child.pid, self._config.seccomp
        assert policy is not None
        count = 1 + (len(self._config.hooks.start_container) if self._process.init else 0)
        most = sync.Agents.most_fds
        if count > most:
            raise ContainerError(f"hooks.startContainer: over {most - 1}, and a filter")
        told = process_state(policy, pid, self._record.oci_state("creating", pid))
        with Descriptors() as agents:
            for _ in range(count):
                agents.add(connect(policy))
            state = json_text.dumps(told)
            message = sync.Agents(policy.listener_path, state, tuple(agents.numbers()))
            sync.send(self._fd, message, deadline=self._deadline())

    # ---- if it fails

    def _failures(self) -> Failures:
        from libcontainer.start_failures import Failures  # for errors alone

        return Failures(self._record, self._process, self._manager)

    def _silence(self) -> BootstrapError:
        self._is_told = True
        return self._failures().silence(self._child.pid, self._heard)

    def _cause_of(self, error: BaseException) -> BaseException:
        try:
            return self._cause(error)
        except Exception:  # it cannot be found out
            return error

    def _cause(self, error: BaseException) -> BaseException:
        """Return why the dialogue failed.

        If the init has ended by itself, that is the cause, whatever this process has noticed of it.
        """
        if not isinstance(error, (OSError, EOFError, ValueError)) or self._is_told:
            return error
        if type(error) is TimeoutError:
            return self._silence()
        failures, heard = self._failures(), self._heard
        gone = isinstance(error, (EOFError, BrokenPipeError, ConnectionResetError))
        gone = gone or getattr(error, "errno", 0) == ESRCH
        try:
            code = self._child.wait(_AFTERMATH if gone else 0)
        except TimeoutError:
            return failures.unclear("it closed its end of the init pipe", heard) if gone else error
        except ChildProcessError:
            return self._last_words() or failures.unclear("it ended early", heard)
        return self._last_words() or failures.death(code, heard)

    def _last_words(self) -> BootstrapError | None:
        """Return the error that an init has sent before it ended, without waiting for an answer."""
        try:
            while True:
                words, fds = frames.receive(self._fd, deadline=0)
                close(*fds)
                message = sync.parse(words, fds)
                if isinstance(message, sync.Error):
                    return self._failures().told(message)
        except (EOFError, OSError, ValueError):
            return None

    def _give_up(self, error: BaseException) -> None:
        """End the process because of an error, and take back the devices that it was given."""
        steps = [self._devices.take_back] if self._devices else []
        steps += [self._end_child, self._child.close]
        if self._process.init:
            steps.append(self._record.forget_process)
        undo(error, *steps)
        self._process.child = None

    def _end_child(self) -> None:
        """Kill the process, even if it is stopped or in a frozen cgroup."""
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
