# SPDX-License-Identifier: Apache-2.0
"""The directory with the state of a container, ROOT/ID, and the lock that a command holds on it."""

from __future__ import annotations

import os
import stat
from errno import EBUSY, EEXIST, ELOOP, ENOTDIR, ENOTEMPTY, ENXIO

from libcontainer.configs import Config
from libcontainer.errors import ContainerError, ContainerNotFoundError
from libcontainer.locking import holder_of, is_free, let_go, try_for
from libcontainer.output_files import close_written, write_whole
from libcontainer.state import State
from libcontainer.state_form import from_runc, to_runc
from nsenter._host import json_text
from nsenter._host.cleanup import close, undo
from nsenter._host.suppress import suppress

__all__ = ["StateFolder", "check_id", "is_id"]

_STATE_FILE = "state.json"
_NEW_STATE_FILE = "state.json.new"
_FIFO = "exec.fifo"
_ALLOWED_IN_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_LONGEST_ID = 1024
_LARGEST_STATE = 1 << 24
# How many seconds a command waits for another command that changes the container; and how many
# seconds `delete --force` gives that command to find out that the container is dead.
_PATIENCE, _FORCE_PATIENCE = 10.0, 2.0


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what identifies a version of a file that is never changed, only replaced.

    A new file cannot have the same values for all of these.
    """
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def is_id(name: str) -> bool:
    """Return whether this can be the name of a container."""
    return (
        name not in ("", ".", "..") and _ALLOWED_IN_ID.issuperset(name) and len(name) <= _LONGEST_ID
    )


def check_id(id: str) -> str:
    """Return the name. Raise ContainerError if it cannot be the name of a container."""
    if not id:
        raise ContainerError("container id cannot be empty")
    if not is_id(id):
        raise ContainerError(
            f"invalid container ID format: {id!r}; use at most {_LONGEST_ID} letters, digits and "
            "any of '_+-.'"
        )
    return id


class StateFolder:
    """The directory with the state of a container, ROOT/ID.

    Args:
        root: the directory of all containers' state, an absolute path.
        id: the name of the container.

    Raises:
        ContainerError: the name is not valid.
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
        """Make the directory, and lock it.

        Raises:
            ContainerError: there is already a container with this id.
        """
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
            # `delete --force` removed our directory before it was locked, and another command has
            # made a new one in its place.
            self.unlock()
            raise self.missing()

    def _has(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def exists(self) -> bool:
        """Return whether there is such a container, even if it is created only partly."""
        return os.path.isdir(self.path)

    def lock(self, *, by_force: bool = False) -> str:
        """Wait until no other command changes the container. Hold the lock until `unlock`.

        Args:
            by_force: if the lock is not free in time, go on without it.

        Returns:
            The holder of the lock if this goes on without the lock, otherwise "".

        Raises:
            ContainerNotFoundError: the container has been deleted in the meantime.
            ContainerError: another command holds the lock.
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
        # Even without the lock, the descriptor distinguishes this directory from a later one that
        # has the same name.
        self._fd = fd
        return holder

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self.missing() from None

    def unlock(self) -> None:
        """Release the lock."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            let_go(fd)

    def is_locked(self) -> bool:
        """Return whether a command holds the lock right now."""
        try:
            fd = self._open()
        except ContainerNotFoundError:
            return False
        try:
            return not is_free(fd)
        finally:
            close(fd)

    def missing(self) -> ContainerNotFoundError:
        """Return the error for a container that does not exist."""
        return ContainerNotFoundError(f"container does not exist: {self.id!r}, in {self.root}")

    def save(self, state: State) -> None:
        """Write state.json, either completely or not at all. The directory must be locked.

        Raises:
            ContainerNotFoundError: another command has deleted the container by force.
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
        """Return the content of state.json.

        The configuration is most of it and seldom changes, so its encoded form is kept.
        """
        config = state.config
        if self._encoded_config is None or self._encoded_config[0] is not config:
            self._encoded_config = config, json_text.dumps(to_runc(config.to_data()))
        rest = json_text.dumps(state.to_data(besides=("config",)))
        return f'{rest[:-1]},"config":{self._encoded_config[1]}}}'.encode()

    def is_as_known(self) -> bool:
        """Return whether state.json is still the file that this object wrote or read last."""
        try:
            return self._known == _identity(os.stat(f"{self.path}/{_STATE_FILE}"))
        except FileNotFoundError:
            return False

    def forget(self) -> None:
        """Forget the file that was read last: it is about another container."""
        self._known = None

    def load(self) -> State | None:
        """Return the state from state.json.

        Returns:
            The state; None if the runtime was killed before it wrote one.

        Raises:
            ContainerNotFoundError: there is no such container.
            ContainerError: the content of the file is not valid. The error names the field.
        """
        text = self._read()
        if text is None:
            return None
        try:
            return State.read(from_runc(json_text.loads(text), nulls="null" in text))
        except ValueError as error:
            raise self._broken(str(error)) from None

    def text(self) -> str | None:
        """Return the text of state.json; None if there is no such file, "" if it is unreadable."""
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
            # The file may be anything by now, such as a FIFO, whose open(2) would block.
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
        """Make the exec fifo and return a descriptor of it, which is close-on-exec.

        The fifo is opened for reading and writing, so that its reader can wait.
        """
        try:
            os.mkfifo(_FIFO, 0o600, dir_fd=self._fd)
        except FileNotFoundError:
            raise self.missing() from None
        return os.open(_FIFO, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._fd)

    def remove_fifo(self) -> None:
        """Remove the exec fifo, if there is one."""
        self._unlink(_FIFO)

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def is_gone(self) -> bool:
        """Return whether the directory that this object has locked has been removed."""
        return os.fstat(self._fd).st_nlink == 0

    def remove(self) -> None:
        """Remove the directory with everything in it. It must be locked.

        A command that waits for the lock then finds that the container does not exist. state.json
        is removed last: until then, another `delete` can read what must be cleaned up.
        """
        if self.is_gone():
            return
        try:
            names = _names_in(self._fd)
        except OSError:
            # Remove our own files by their names, which requires neither a descriptor nor memory.
            names = [_FIFO, _NEW_STATE_FILE]
        for name in names:
            if name != _STATE_FILE:
                _remove(name, self._fd)
        _remove(_STATE_FILE, self._fd)
        try:
            self._remove_directory()
        except OSError:
            # Try again: without state.json, nobody can tell to which container it belongs.
            self._remove_directory()

    def _remove_directory(self) -> None:
        try:
            # Do not remove a directory that another command has just made in its place, which may
            # still be empty.
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
    """Remove a file, or a directory with everything in it, if it exists. No link is followed."""
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
