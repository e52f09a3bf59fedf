# SPDX-License-Identifier: Apache-2.0
"""state.json: what one command leaves for the next to know a container by, as runc's.

The folder of a container is ROOT/ID. Who changes the container holds a lock on it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from errno import EBUSY, EEXIST, ELOOP, ENOTDIR, ENOTEMPTY, ENXIO

from libcontainer.configs import Config
from libcontainer.errors import ContainerError, ContainerNotFoundError
from libcontainer.locking import holder_of, is_free, let_go, try_for
from libcontainer.output_files import close_written, write_whole
from libcontainer.state_form import from_runc, to_runc
from nsenter._host import json_text, procfs
from nsenter._host.cleanup import close, undo
from nsenter._host.records import Value
from nsenter._host.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object  # at run time: importing typing takes 4 ms

__all__ = ["State", "StateFolder", "start_time_of"]

_STATE_FILE = "state.json"
_NEW_STATE_FILE = "state.json.new"
_FIFO = "exec.fifo"
_ALLOWED_IN_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_LONGEST_ID = 1024
_LARGEST_STATE = 1 << 24
# Seconds that a command waits for another that changes the container, and that `delete --force`
# leaves that to find out that the container is dead.
_PATIENCE, _FORCE_PATIENCE = 10.0, 2.0
# Fields 3, 4, 9 and 22 of proc_pid_stat(5), counted from behind the name.
_STAT_STATE, _STAT_PARENT, _STAT_FLAGS, _STAT_START_TIME = 0, 1, 6, 19
_PF_FORKNOEXEC = 0x40  # linux/sched.h: made by clone(2), and no execve(2) has succeeded since


class State(Value):
    """What is known of a container.

    Args:
        id: its name.
        init_process_pid: of its first process; 0: there was none yet.
        init_process_start: when that started, in clock ticks since boot: with the pid, who it is.
        created: when, RFC 3339.
        config: what it is.
        namespace_paths: of its namespaces, by "NEWIPC" and so on.
        cgroup_paths: of its cgroup, by controller; "" for cgroup v2.
        external_descriptors: what the init's standard streams were.
        rootless: whether its cgroups were not root's to make.
        bundle: the folder of its config.json.
        is_creating: whether its first process is not all set up yet.
    """

    nested = {"config": Config}

    id: str
    config: Config
    init_process_pid: int = 0
    init_process_start: int = 0
    created: str = ""
    namespace_paths: Mapping[str, str] = {}
    cgroup_paths: Mapping[str, str] = {}
    external_descriptors: tuple[str, ...] = ()
    rootless: bool = False
    bundle: str = ""
    is_creating: bool = False

    def __post_init__(self) -> None:
        for name in ("init_process_pid", "init_process_start"):
            if not 0 <= self.__dict__[name] < _HIGHEST[name]:
                raise ValueError(f"{name} must not be {self.__dict__[name]}")
        for controller, path in self.cgroup_paths.items():
            # "": the user could make no cgroup.
            if path and not path.startswith("/"):
                raise ValueError(f"cgroup_paths[{controller!r}] must be absolute, not {path!r}")


# What the kernel can say.
_HIGHEST = {"init_process_pid": 1 << 31, "init_process_start": 1 << 64}


def _stat_fields(pid: int) -> list[str]:
    """See `procfs.stat`; none where there is no such process."""
    try:
        return procfs.stat(procfs.read(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return []


def start_time_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 where it is gone or a zombie."""
    fields = _stat_fields(pid)
    return 0 if not fields or fields[_STAT_STATE] in ("Z", "X") else int(fields[_STAT_START_TIME])


def parent_of(pid: int) -> int:
    """The pid of a process's parent; 0 where it is gone."""
    fields = _stat_fields(pid)
    return int(fields[_STAT_PARENT]) if fields else 0


def has_executed(pid: int) -> bool | None:
    """Whether a process, be it a zombie, has executed a program since it was cloned.

    None where /proc does not tell: somebody has waited for it already, or /proc hides it.
    """
    fields = _stat_fields(pid)
    return not int(fields[_STAT_FLAGS]) & _PF_FORKNOEXEC if fields else None


def state_letter_of(pid: int) -> str:
    """What a process is doing, as a letter (proc_pid_stat(5)); "" where it is gone."""
    fields = _stat_fields(pid)
    return fields[_STAT_STATE] if fields else ""


def fragments_of(text: str) -> dict[str, Any]:
    """What can be made out of a state.json that is broken, such as cut off: values of State's
    fields, not checked."""
    found: dict[str, Any] = {}
    for name in ("init_process_pid", "init_process_start", "cgroup_paths"):
        at = text.find(f'"{name}":')
        if at >= 0:
            with suppress(ValueError):
                found[name] = json_text.loads_at(text, at + len(name) + 3)
    return found


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Of a file that is only ever replaced: a new one cannot have all of these."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def is_id(name: str) -> bool:
    """Whether a container can be called that."""
    return (
        name not in ("", ".", "..") and _ALLOWED_IN_ID.issuperset(name) and len(name) <= _LONGEST_ID
    )


def check_id(id: str) -> str:
    """Raises ContainerError where a container cannot be called that."""
    if not id:
        raise ContainerError("container id cannot be empty")
    if not is_id(id):
        raise ContainerError(
            f"invalid container ID format: {id!r}; use at most {_LONGEST_ID} letters, digits and "
            "any of '_+-.'"
        )
    return id


class StateFolder:
    """ROOT/ID.

    Args:
        root: where the state of all containers is, absolute.
        id: of this one.
    """

    def __init__(self, root: str, id: str) -> None:
        self.root = root
        self.id = check_id(id)
        self.path = f"{root}/{id}"
        self.fifo = f"{self.path}/{_FIFO}"
        self._fd = -1
        self._encoded_config: tuple[Config, str] | None = None
        self._known: tuple[int, ...] | None = None

    def make(self) -> None:
        """Make it, locked. Raises ContainerError where there is a container of this id."""
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        try:
            os.mkdir(self.path, 0o711)
        except FileExistsError:
            raise ContainerError(f"container with given ID already exists: {self.id}") from None
        try:
            self.lock()
            is_anothers = self._has(_STATE_FILE)
        except OSError as error:
            undo(error, lambda: os.rmdir(self.path), self.unlock)
            raise
        if is_anothers:
            # Ours was deleted by force before it was locked, and another made in its place.
            self.unlock()
            raise self.missing()

    def _has(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def exists(self) -> bool:
        """Whether there is such a container, be it half made."""
        return os.path.isdir(self.path)

    def lock(self, *, by_force: bool = False) -> str:
        """Wait until no other command changes the container; hold the lock until `unlock`.

        Args:
            by_force: whether to go on without the lock when it is not free in time.

        Returns:
            who has it, if it was not free and is done without; else "".

        Raises:
            ContainerError: the container is deleted by now, or another command has the lock.
        """
        seconds = _FORCE_PATIENCE if by_force else _PATIENCE
        fd = self._open()
        try:
            taken = try_for(fd, seconds)
            if os.fstat(fd).st_nlink == 0:
                raise self.missing()
            holder = "" if taken else holder_of(fd)
            if holder and not by_force:
                raise ContainerError(
                    f"container {self.id!r} is being changed by {holder}, which has not "
                    f"finished for {seconds:g} s; `delete --force` does not wait for it"
                )
        except BaseException:
            close(fd)
            raise
        # Without the lock the descriptor still tells this directory from a later one of its name.
        self._fd = fd
        return holder

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self.missing() from None

    def unlock(self) -> None:
        """Let others at it."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            let_go(fd)

    def is_locked(self) -> bool:
        """Whether some command is at work on it right now."""
        try:
            fd = self._open()
        except ContainerNotFoundError:
            return False
        try:
            return not is_free(fd)
        finally:
            close(fd)

    def missing(self) -> ContainerNotFoundError:
        """The error of a container that is not there."""
        return ContainerNotFoundError(f"container does not exist: {self.id!r}, in {self.root}")

    def save(self, state: State) -> None:
        """Write state.json whole or not at all; locked.

        Raises:
            ContainerError: somebody has deleted the container meanwhile, by force.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            fd = os.open(_NEW_STATE_FILE, flags, 0o600, dir_fd=self._fd)
        except FileNotFoundError:
            raise self.missing() from None
        path = f"{self.path}/{_NEW_STATE_FILE}"
        try:
            write_whole(fd, self._encoded(state), path)
            known = _identity(os.fstat(fd))
        except BaseException:
            close(fd)
            raise
        close_written(fd, path)
        os.rename(_NEW_STATE_FILE, _STATE_FILE, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        self._known = known

    def _encoded(self, state: State) -> bytes:
        """state.json. The configuration, which is most of it, seldom changes between two."""
        config = state.config
        if self._encoded_config is None or self._encoded_config[0] is not config:
            self._encoded_config = config, json_text.dumps(to_runc(config.to_plain()))
        rest = json_text.dumps(state.to_plain(besides=("config",)))
        return f'{rest[:-1]},"config":{self._encoded_config[1]}}}'.encode()

    def is_as_known(self) -> bool:
        """Whether state.json is still the file that was written or read here."""
        try:
            return self._known == _identity(os.stat(f"{self.path}/{_STATE_FILE}"))
        except FileNotFoundError:
            return False

    def forget(self) -> None:
        """What was read last is not this container's."""
        self._known = None

    def load(self) -> State | None:
        """What state.json says; None where its runtime was killed before there was one.

        Raises:
            ContainerNotFoundError: there is no such container.
            ContainerError: the file is no state; names the field at fault.
        """
        text = self._read()
        if text is None:
            return None
        try:
            return State.read(from_runc(json_text.loads(text), nulls="null" in text))
        except ValueError as error:
            raise self._broken(str(error)) from None

    def text(self) -> str | None:
        """What is in state.json; None where there is none, "" where it cannot be read."""
        try:
            return self._read()
        except ContainerNotFoundError:
            return None
        except (ContainerError, OSError):
            return ""

    def _broken(self, why: str) -> ContainerError:
        return ContainerError(
            f"{self.path}/{_STATE_FILE}: {why}; `delete --force` removes what can be identified"
        )

    def _read(self) -> str | None:
        try:
            # It may be anything by now, such as a FIFO: nobody waits for that.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(f"{self.path}/{_STATE_FILE}", flags)
        except FileNotFoundError:
            if self.exists():
                return None
            raise self.missing() from None
        except OSError as error:
            if error.errno not in (ELOOP, ENXIO):
                raise
            raise self._broken("it is not a regular file") from None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise self._broken("it is not a regular file")
            if status.st_size > _LARGEST_STATE:
                raise self._broken(f"it has over {_LARGEST_STATE} bytes")
            text = os.read(fd, status.st_size + 1).decode("utf-8", "surrogateescape")
        finally:
            close(fd)
        self._known = _identity(status)
        return text

    def make_fifo(self) -> int:
        """The exec fifo, opened both ways so that its reader can wait; close-on-exec."""
        try:
            os.mkfifo(_FIFO, 0o600, dir_fd=self._fd)
        except FileNotFoundError:
            raise self.missing() from None
        return os.open(_FIFO, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._fd)

    def remove_fifo(self) -> None:
        """Take the exec fifo away, if there is one."""
        self._unlink(_FIFO)

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def is_gone(self) -> bool:
        """Whether the directory that is locked here has been removed."""
        return os.fstat(self._fd).st_nlink == 0

    def remove(self) -> None:
        """Take it away with all in it; locked. Whoever waits for the lock finds nothing.

        state.json goes last: until then a second `delete` knows what there is to do.
        """
        if self.is_gone():
            return
        try:
            names = _names_in(self._fd)
        except OSError:
            # What is ours goes by its name, which takes neither a descriptor nor memory.
            names = [_FIFO, _NEW_STATE_FILE]
        for name in names:
            if name != _STATE_FILE:
                _remove(name, self._fd)
        _remove(_STATE_FILE, self._fd)
        try:
            self._remove_directory()
        except OSError:
            # Once more, since without state.json nobody can tell any more whose it is.
            self._remove_directory()

    def _remove_directory(self) -> None:
        try:
            # Not one that somebody has just made in its place, which may be empty yet.
            if os.path.samestat(os.stat(self.path), os.fstat(self._fd)):
                os.rmdir(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (ENOTEMPTY, EEXIST, ENOTDIR, EBUSY):
                raise
            raise ContainerError(f"{self.path} is in use by somebody else") from None


def _names_in(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _remove(name: str, folder: int) -> None:
    """Whatever it is, with all in it; that it is not there is no error. No link is followed."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=folder)
        try:
            for inner in _names_in(fd):
                _remove(inner, fd)
        finally:
            close(fd)
        os.rmdir(name, dir_fd=folder)
