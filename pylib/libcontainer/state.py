# SPDX-License-Identifier: Apache-2.0
"""state.json: what one command leaves for the next to know a container by, as runc's.

The folder of a container is ROOT/ID. Who changes the container holds a lock on it.
"""

from __future__ import annotations

import os
from errno import EAGAIN, EEXIST, ENOTDIR, ENOTEMPTY

from libcontainer.configs import Config
from libcontainer.errors import ContainerError
from nsenter import plainjson, procfs
from nsenter.system import LOCK_EX, LOCK_NB, Failure, flock
from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

__all__ = ["State", "StateFolder", "start_time_of"]

_STATE_FILE = "state.json"
_FIFO = "exec.fifo"
_ALLOWED_IN_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_LONGEST_ID = 1024
_STAT_STATE, _STAT_START_TIME = 0, 19  # fields 3 and 22 of proc_pid_stat(5), behind the name


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
    """

    nested: ClassVar[Mapping[str, Any]] = {"config": Config}

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


def start_time_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 where it is gone or a zombie."""
    try:
        fields = procfs.stat(procfs.read(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[_STAT_STATE] in ("Z", "X") else int(fields[_STAT_START_TIME])


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
            f"invalid container id {id!r}: at most {_LONGEST_ID} letters, digits and any of '_+-.'"
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
        self._lock = -1
        self._encoded_config: tuple[Config, str] | None = None
        self._known: tuple[int, ...] | None = None

    def make(self) -> None:
        """Make it, locked. Raises ContainerError where there is a container of this id."""
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        try:
            os.mkdir(self.path, 0o711)
        except FileExistsError:
            raise ContainerError(f"container with id {self.id} exists already") from None
        self.lock()

    def exists(self) -> bool:
        """Whether there is such a container, be it half made."""
        return os.path.isdir(self.path)

    def lock(self) -> None:
        """Wait until no other command changes the container; hold it until `unlock`.

        Raises:
            ContainerError: it is deleted by now.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags)
        except FileNotFoundError:
            raise self.missing() from None
        flock(fd, LOCK_EX)
        if os.fstat(fd).st_nlink == 0:
            os.close(fd)
            raise self.missing()
        self._lock = fd

    def unlock(self) -> None:
        """Let others at it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def is_locked(self) -> bool:
        """Whether some command is at work on it right now."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            flock(fd, LOCK_EX | LOCK_NB)
        except Failure as failure:
            if failure.errno != EAGAIN:
                raise
            return True
        finally:
            os.close(fd)
        return False

    def missing(self) -> ContainerError:
        """The error of a container that is not there."""
        return ContainerError(f"container {self.id!r} does not exist in {self.root}")

    def save(self, state: State) -> None:
        """Write state.json whole or not at all."""
        path = f"{self.path}/{_STATE_FILE}"
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            data = self._encoded(state)
            while data:
                data = data[os.write(fd, data) :]
            known = _identity(os.fstat(fd))
        finally:
            os.close(fd)
        os.rename(f"{path}.new", path)
        self._known = known

    def _encoded(self, state: State) -> bytes:
        """state.json. The configuration, which is most of it, seldom changes between two."""
        config = state.config
        if self._encoded_config is None or self._encoded_config[0] is not config:
            self._encoded_config = config, plainjson.dumps(config.to_plain())
        rest = plainjson.dumps(state.to_plain(besides=("config",)))
        return f'{rest[:-1]},"config":{self._encoded_config[1]}}}'.encode()

    def is_as_known(self) -> bool:
        """Whether state.json is still the file that was written or read here."""
        try:
            return self._known == _identity(os.stat(f"{self.path}/{_STATE_FILE}"))
        except FileNotFoundError:
            return False

    def load(self) -> State | None:
        """What state.json says; None where its runtime was killed before there was one.

        Raises:
            ContainerError: there is no such container, or the file is not ours.
        """
        path = f"{self.path}/{_STATE_FILE}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self.exists():
                return None
            raise self.missing() from None
        try:
            status = os.fstat(fd)
            text = os.read(fd, status.st_size + 1).decode("utf-8", "surrogateescape")
        finally:
            os.close(fd)
        try:
            state = State.from_plain(plainjson.loads(text))
        except (ValueError, TypeError) as error:
            raise ContainerError(f"{path} is not what we wrote: {error}") from None
        self._known = _identity(status)
        return state

    def make_fifo(self) -> int:
        """The exec fifo, opened both ways so that its reader can wait; close-on-exec."""
        os.mkfifo(self.fifo, 0o600)
        return os.open(self.fifo, os.O_RDWR | os.O_CLOEXEC)

    def remove(self) -> None:
        """Take it away with all in it. Whoever has the lock goes on having nothing."""
        if not self.exists():
            return
        _empty(self.path)
        try:
            os.rmdir(self.path)
        except OSError as error:
            if error.errno not in (ENOTEMPTY, EEXIST, ENOTDIR):
                raise
            raise ContainerError(f"{self.path} is in use by somebody else") from None


def _empty(folder: str) -> None:
    """Remove what is in a folder of ours. No link in it is followed."""
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                _empty(entry.path)
                os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
