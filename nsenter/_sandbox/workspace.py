# SPDX-License-Identifier: Apache-2.0
"""The workspace of a sandbox: a directory that its runs work in, and their changes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from errno import EINVAL, EISDIR, ENOENT, EPERM

from nsenter._host.base_error import StepError
from nsenter._host.cleanup import close
from nsenter._host.printable import printable
from nsenter._host.procfs import mounts
from nsenter._host.sizes import in_bytes
from nsenter._inside.overlay_keeper import FUSE, KERNEL, LOWER, PLAIN
from nsenter._launch.descriptors import Descriptors
from nsenter._launch.idmapped_binds import with_idmapped_trees
from nsenter._sandbox import changes, safe_files
from nsenter._sandbox.changes import Change
from nsenter._sandbox.keeper import Generation, Keeper
from nsenter._sandbox.parts import Part
from nsenter._sandbox.safe_files import Path
from nsenter.mounts import Attached, Bind, Mount
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self
else:
    Any = Self = object  # at run time: importing typing takes 4 ms

__all__ = ["BIND", "Workspace"]

BIND = "bind"
TARGET = "/workspace"
_SIZE = 256 << 20
_INODES = 65536
_LIMIT = 64 << 20
_DIFF_LIMIT = 1 << 20
_OVERLAYS = (KERNEL, FUSE, PLAIN)


class Workspace(Part):
    """A directory of the caller that the runs of a sandbox work in, at `target`.

    Without an overlay, the directory itself is bound writable: what a run changes is changed, and
    its size is not limited. With an overlay, the directory is not changed. The changes are in
    memory, in a file system of limited size (tmpfs(5)), until `commit` brings some of them back or
    `reset` forgets them. Everything in the workspace may have been made by hostile code, and can
    change at any moment: use `read`, not open().

    Args:
        path: the directory.
        options: the options of the runs, which say as which user they run.
        overlay: True means an overlay of the kernel, or of fuse-overlayfs(1) if the kernel or the
            file system refuses it, or a copy of the directory if there is neither. "overlayfs",
            "fuse-overlayfs" or "copy" allows only that one.
        target: the path in the sandbox.
        size: how many bytes the changes can have: a number or a string such as "64M". None means
            256 MiB. It requires an overlay. A copy needs room for the directory as well.
        inodes: how many files, directories and links the changes can have. None means 65,536.

    Attributes:
        backend: "bind", "overlayfs", "fuse-overlayfs" or "copy".
        refused: why each better way than `backend` could not be used, by its name.

    Raises:
        TypeError, ValueError: an argument is not valid.

    Example:
        >>> import os, tempfile, nsenter
        >>> with tempfile.TemporaryDirectory() as job:
        ...     with nsenter.Sandbox(workspace=job, overlay=True) as box:
        ...         result = box.run(["sh", "-c", "echo hello > new; ln -s /etc/passwd gift"])
        ...         print([(change.kind, change.path) for change in box.changes()])
        ...         print(box.read("new").split(), os.listdir(job))
        ...         changes = box.commit("new")
        ...         print(os.listdir(job))
        [('added', 'gift'), ('added', 'new')]
        [b'hello'] []
        ['new']
    """

    def __init__(
        self,
        path: Path,
        options: Options,
        *,
        overlay: bool | str = False,
        target: str = TARGET,
        size: int | str | None = None,
        inodes: int | str | None = None,
    ) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(f"workspace must be the path of a directory, not {path!r}")
        self.path = os.path.realpath(os.fsdecode(path))
        self.target = target
        self._kinds = _kinds(overlay)
        self._size = _amount("size", size, _SIZE, overlay)
        self._inodes = _amount("inodes", inodes, _INODES, overlay)
        self._options = options
        self.backend = BIND
        self.refused: dict[str, str] = {}
        self._real = -1
        self._keeper: Keeper | None = None
        self._generation: Generation | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the directory, and mount its overlay.

        Raises:
            OSError: the directory cannot be opened, or every way to make an overlay is refused.
        """
        if self._real >= 0:
            raise ValueError("the workspace is open already")
        self.backend = BIND
        self.refused = {}
        self._real = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self._kinds:
                self._open_overlay()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Forget the changes that were not committed. May be called twice."""
        if self._generation is not None:
            self._generation.close()
            self._generation = None
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._real >= 0:
            close(self._real)
            self._real = -1

    # ---- how it is mounted

    def changes(self, options: Options) -> Mapping[str, Any]:
        """Return the fields of the options of a run: one more mount, and the working directory."""
        mount: Mount
        if self._generation is None:
            source, as_owner = self.path, self._is_for_another_user()
            mount = Bind(source, self.target, writable=True, as_owner=as_owner)
        else:
            mount = Attached(self.target, self.detached_mount, writable=True)
        cwd = self.target if options.cwd in (None, "/") else options.cwd
        return {"mounts": (*options.mounts, mount), "cwd": cwd}

    def detached_mount(self) -> int:
        """Return a new descriptor of a mount of the overlay, for one process."""
        keeper, generation = self._overlay("a run")
        return keeper.clone(generation)

    def _ids(self) -> tuple[int, int]:
        """Return the user and group of the runs, as the caller sees them."""
        return self._options.host_ids()

    def _is_for_another_user(self) -> bool:
        return os.geteuid() == 0 and self._ids()[0] != 0

    def _owner(self) -> tuple[int, int]:
        """Return the user and group of what is made in the workspace."""
        found = os.fstat(self._top())
        return found.st_uid, found.st_gid

    def _open_overlay(self) -> None:
        last: OSError | None = None
        for kind in self._kinds:
            try:
                self._open_kind(kind)
            except OSError as error:
                self.refused[kind] = self._reason(kind, error)
                last = error
            else:
                self.backend = kind
                return
        assert last is not None
        raise last

    def _reason(self, kind: str, error: OSError) -> str:
        """Return why an overlay of this kind could not be made."""
        said = str(error) if isinstance(error, StepError) else error.strerror or str(error)
        if kind == KERNEL and error.errno == EINVAL:
            below = f"{self.path.rstrip('/')}/"
            points = [mount.point for mount in mounts() if mount.point.startswith(below)]
            if points:
                said += (
                    f" (the kernel refuses this if something is mounted below, as on {points[0]})"
                )
        return printable(said)

    def _open_kind(self, kind: str) -> None:
        with Descriptors() as owner:
            lower = self._lower(kind, owner)
            is_another = self._is_for_another_user()
            maps = self._options.maps if is_another else "current" if kind == FUSE else "root"
            keeper = Keeper(lower, kind, self._size, self._inodes, {"maps": maps})
        try:
            self._generation = self._filled(keeper.take(), kind)
            self._prepare_next(keeper, kind)
        except BaseException:
            keeper.close()
            raise
        self._keeper = keeper

    def _prepare_next(self, keeper: Keeper, kind: str) -> None:
        """Let the keeper make the next generation in advance.

        With fuse-overlayfs this is not possible: the generation would show the directory as it is
        now, and not as it is when the generation is used.
        """
        if kind != FUSE:
            keeper.prepare()

    def _filled(self, generation: Generation, kind: str) -> Generation:
        """Return a new generation, with a copy of the directory in it if it needs one."""
        if kind == PLAIN:
            from nsenter._sandbox.copy_tree import copy_tree

            try:
                owner = self._ids() if self._is_for_another_user() else None
                copy_tree(self._real, generation.merged, owner)
            except BaseException:
                generation.close()
                raise
        return generation

    def _lower(self, kind: str, owner: Descriptors) -> Mount:
        """Return the mount of the directory for the process that keeps the overlay.

        Raises:
            OSError: an overlay of this kind cannot be had.
        """
        if kind == FUSE and self._is_for_another_user():
            why = "a FUSE file system is for the user who mounts it, and the runs are another user"
            raise PermissionError(EPERM, why)
        if kind == FUSE and not os.path.exists("/dev/fuse"):
            raise FileNotFoundError(ENOENT, "FUSE is not there", "/dev/fuse")
        if kind == PLAIN or not self._is_for_another_user():
            return Bind(self.path, LOWER)
        lower = Bind(self.path, LOWER, as_owner=True)
        return next(iter(with_idmapped_trees([lower], *self._ids(), owner)))

    def _overlay(self, what: str) -> tuple[Keeper, Generation]:
        if self._real < 0:
            raise ValueError(f"{what} requires an open workspace")
        if self._keeper is None or self._generation is None:
            raise ValueError(f"{what} requires overlay=True: runs change the directory itself")
        return self._keeper, self._generation

    def _top(self) -> int:
        """Return a descriptor of the workspace as the runs see it."""
        if self._real < 0:
            raise ValueError("the workspace is not open")
        return self._real if self._generation is None else self._generation.merged

    # ---- files

    def read(self, path: Path, limit: int | str = _LIMIT) -> bytes:
        """Return the content of a regular file in the workspace.

        Args:
            path: its path in the workspace, relative.
            limit: how many bytes it may have: a number or a string such as "64M".

        Raises:
            UnsafeFile: it is a link, or its path leads through one; it is a pipe, a socket or a
                device; it is larger than `limit`; or only another user than that of the runs may
                read it.
            FileNotFoundError, IsADirectoryError, PermissionError: as for open().
        """
        number = safe_files.checked_limit(limit)
        owner = self._owner()[0]
        return safe_files.read_regular(self._top(), safe_files.checked_path(path), number, owner)

    def write(self, path: Path, data: bytes | str, mode: int = 0o644) -> None:
        """Write a file in the workspace, and make the directories that it is in.

        The file is new, and takes the place of what had its name: nothing is written through a
        link. It belongs to the user of the runs.

        Args:
            path: its path in the workspace, relative.
            data: the content; text is written as UTF-8.
            mode: the permission bits.

        Raises:
            UnsafeFile: the path leads through a symbolic link.
            IsADirectoryError: a directory has this name.
        """
        text = safe_files.checked_path(path)
        if not isinstance(data, (bytes, bytearray, memoryview, str)):
            raise TypeError(f"data must be bytes or str, not {type(data).__name__}")
        content = data.encode() if isinstance(data, str) else bytes(data)
        folder, _, name = text.rpartition("/")
        if name == ".":
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR), text)
        owner = self._owner()
        parent = safe_files.make_folders(self._top(), folder, owner)
        try:
            safe_files.install(parent, name, (content,), mode, owner)
        finally:
            close(parent)

    # ---- the changes

    def changed(self, only: Path = ".") -> list[Change]:
        """Return what the runs have changed, in an overlay.

        Args:
            only: the path that is looked at, with everything below it.

        Raises:
            ValueError: the workspace has no overlay.
            UnsafeFile: the path of a directory in it is longer than the kernel takes.
        """
        return list(self._changed(safe_files.checked_path(only)))

    def _changed(self, only: str) -> Iterator[Change]:
        _, generation = self._overlay("changes()")
        if self.backend == KERNEL:
            return changes.in_upper_layer(generation.upper, self._real, only)
        return changes.between_trees(generation.merged, self._real, only)

    def diff(self, only: Path = ".") -> str:
        """Return the changes of text files, in the unified format.

        The text is hostile code's: it may hold the control sequences of a terminal. A line says
        that a file differs if it is not UTF-8, or larger than 1 MiB.

        Args:
            only: the path that is looked at, with everything below it.

        Raises:
            ValueError, UnsafeFile: as for `changed`.
        """
        from nsenter._sandbox.diff import unified

        lines: list[str] = []
        for change in self._changed(safe_files.checked_path(only)):
            if change.type == "file":
                old = self._content(self._real, change.path)
                new = self._content(self._top(), change.path)
                lines += unified(change.path, old, new)
        return "".join(lines)

    def _content(self, root: int, path: str) -> bytes | None:
        """Return the content of a file for `diff`: None if there is no such file.

        It is no text if the file is unsafe to read or too large.
        """
        try:
            return safe_files.read_regular(root, path, _DIFF_LIMIT)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return b"\0"

    def commit(self, *paths: Path, limit: int | str = _LIMIT) -> list[Change]:
        """Bring changes back to the real directory.

        Regular files, directories, deletions, and symbolic links that stay inside are brought back,
        with their permission bits, but without setuid, setgid and extended attributes. They belong
        to the owner of the real directory. Everything is checked before the first file is written;
        no process of the sandbox should run meanwhile.

        Args:
            paths: the paths in the workspace, each with everything below it; "." means all.
            limit: how many bytes each file may have.

        Returns:
            The changes that were brought back.

        Raises:
            UnsafeFile: a change cannot be brought back safely: the link leads out, the file is a
                pipe, a socket or a device, or is too large. Nothing was changed.
            FileNotFoundError: nothing has changed at a path. Nothing was brought back.
            OSError: the real directory cannot be written. A part of the changes may be there.
        """
        from nsenter._sandbox.commit import commit

        if not paths:
            raise TypeError('commit requires a path: "." means all changes')
        number = safe_files.checked_limit(limit)
        found: dict[str, Change] = {}
        for path in map(safe_files.checked_path, paths):
            these = {change.path: change for change in self._changed(path)}
            if not these:
                raise FileNotFoundError(ENOENT, "Nothing has changed here in the workspace", path)
            found |= these
        chosen = [found[path] for path in sorted(found)]
        commit(self._top(), self._real, chosen, number, self._owner()[0])
        return chosen

    def reset(self) -> None:
        """Forget all changes. The next run sees the directory as it is.

        A process that still runs keeps what it has. With an overlay of the kernel, this takes less
        than a millisecond, whatever has changed: the next upper layer is there already.

        Raises:
            ValueError: the workspace has no overlay.
        """
        keeper, old = self._overlay("reset()")
        self._generation = self._filled(keeper.take(), self.backend)
        self._prepare_next(keeper, self.backend)
        keeper.drop(old)


def _kinds(overlay: bool | str) -> tuple[str, ...]:
    if isinstance(overlay, bool):
        return _OVERLAYS if overlay else ()
    if overlay not in _OVERLAYS:
        words = ", ".join(f'"{kind}"' for kind in _OVERLAYS)
        raise ValueError(f"overlay must be True, False, {words}, not {overlay!r}")
    return (overlay,)


def _amount(name: str, given: int | str | None, default: int, overlay: bool | str) -> int:
    if given is None:
        return default
    number = in_bytes(given)
    if number is None or number <= 0:
        raise ValueError(f'overlay {name} must be a number above 0, also as "64M", not {given!r}')
    if not overlay:
        raise ValueError(f"the {name} of a workspace can be limited only with overlay=True")
    return number
