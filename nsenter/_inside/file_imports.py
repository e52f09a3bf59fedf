# SPDX-License-Identifier: Apache-2.0
"""Import from files, in an interpreter that has booted from memory.

With this, packages work as they do in `python3`: their data files, their C extensions, their
threads. It happens in the namespaces, after the last confinement step, and only if every folder is
the caller's own: a file in a root that somebody else has made is never opened. The caller says
which folders these are (nsenter/_interpreter/installed.py). Each is compared by device and inode.

A folder in an overlay has the device of the overlay. So a folder of an overlay, whose upper layer
may hide the caller's files, is not mistaken for the folder below it.
"""

from __future__ import annotations

import _frozen_importlib_external as external
import posix
import sys
from _frozen_importlib import BuiltinImporter, FrozenImporter, ModuleSpec

from nsenter._host.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType
    from typing import Any

    Place = tuple[str, int, int]  # a path, and the device and inode that it must have
    # The folder above a module, its file, the file of its cached code, whether it is a package.
    KnownFile = tuple[str, str, str, bool]

__all__ = ["CallerFiles", "open_files"]

_ST_RDONLY = 1  # of statvfs(3)
_R_OK, _X_OK = 4, 1
_S_IFMT, _S_IFDIR = 0o170000, 0o040000


class ForeignFolderError(Exception):
    """A folder is missing in this root, is not the caller's, or is writable."""


class CallerFiles:
    """Decides which files may be opened in this root.

    Args:
        read_only: accept only files on a read-only mount.
    """

    def __init__(self, read_only: bool) -> None:
        self._read_only = read_only

    def why_not(self, place: Place) -> str:
        """Return why this is not the caller's file or folder; "" if it is."""
        path, device, inode = place
        try:
            fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
        except OSError as error:
            return f"{path}: {error.strerror}"
        try:
            return self._why_not(fd, path, device, inode)
        finally:
            posix.close(fd)

    def _why_not(self, fd: int, path: str, device: int, inode: int) -> str:
        found = posix.fstat(fd)
        if (found.st_dev, found.st_ino) != (device, inode):
            return f"{path}: another one is there"
        if self._read_only and not posix.fstatvfs(fd).f_flag & _ST_RDONLY:
            return f"{path}: it can be written to"
        try:
            if found.st_mode & _S_IFMT == _S_IFDIR:  # open it: access(2) does not ask Landlock
                posix.close(posix.open(".", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=fd))
            elif not posix.access(path, _R_OK):
                return f"{path}: it cannot be read"
        except OSError as error:
            return f"{path}: it cannot be read: {error.strerror}"
        return ""

    def has(self, place: Place) -> bool:
        """Return whether this is the caller's file or folder."""
        return not self.why_not(place)


def open_files(description: Mapping[str, Any], *, again: bool = False) -> CallerFiles:
    """Import from the caller's files from now on.

    Args:
        description: the description of the files, from nsenter/_interpreter/installed.py.
        again: this was called before, in this process or in the template that was forked. The
            modules that are already imported are then not looked at: that would copy their memory.

    Raises:
        ForeignFolderError: a folder is not the caller's. Nothing was opened or changed.
    """
    source = CallerFiles(description["read_only"])
    for place in description["needed"]:
        if why := source.why_not(place):
            raise ForeignFolderError(why)
    sys.path[:] = [place[0] for place in description["path"] if source.has(place)]
    _be_the_callers_python(description, source)
    hooks = external.FileFinder.path_hook(*external._get_supported_file_loaders())  # type: ignore[attr-defined]
    import zipimport

    sys.path_hooks[:] = [zipimport.zipimporter, hooks]
    sys.path_importer_cache.clear()
    frozen = _FrozenExcept(frozenset(description["archived"]))
    sys.meta_path[:] = [BuiltinImporter, frozen, external.PathFinder]
    if not again:
        _give_files_to_loaded_modules(description, source)
        _add_builtins()
    return source


def _be_the_callers_python(description: Mapping[str, Any], source: CallerFiles) -> None:
    """Set what the sys module says about the interpreter's files."""
    for name, value in description["sys"].items():
        setattr(sys, name, value)
    executable = description["executable"]
    if executable and source.has(executable) and posix.access(executable[0], _X_OK):
        sys.executable = executable[0]
        sys._base_executable = description["base_executable"]  # type: ignore[attr-defined]


class _FrozenExcept:
    """A finder for the frozen modules of the interpreter, except those of the module archive.

    The modules of the archive have no files, and are needed only for the boot.
    """

    def __init__(self, archived: frozenset[str]) -> None:
        self._archived = archived

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in self._archived and not name.startswith("nsenter."):
            return None
        return FrozenImporter.find_spec(name, path, target)


def _give_files_to_loaded_modules(description: Mapping[str, Any], source: CallerFiles) -> None:
    """Make modules that were imported from memory look as if they came from their files.

    Their submodules, their data and their source are then found.
    """
    package: Place | None = description["package"]
    folders = {*sys.path}
    if package is not None and source.has(package):
        folders.add(package[0])
    known: Mapping[str, KnownFile | None] = description["known"]
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if not isinstance(spec, ModuleSpec) or spec.loader is not FrozenImporter:  # type: ignore[comparison-overlap]
            continue
        with suppress(ImportError, OSError):
            if name in known:
                _take_spec(module, _known_spec(name, known[name], folders))
            else:
                path = None
                if "." in name:
                    path = getattr(sys.modules.get(name.rpartition(".")[0]), "__path__", [])
                _take_spec(module, external.PathFinder.find_spec(name, path))


def _known_spec(name: str, known: KnownFile | None, folders: set[str]) -> ModuleSpec | None:
    """Return the spec that PathFinder would return; None if the module is in no such folder."""
    if known is None or known[0] not in folders:
        return None
    _, path, cached, is_package = known
    spec = ModuleSpec(name, external.SourceFileLoader(name, path), origin=path)
    spec.has_location = True
    spec.cached = cached
    if is_package:
        spec.submodule_search_locations = [path.rpartition("/")[0]]
    return spec


def _take_spec(module: Any, spec: Any) -> None:
    """Give a module its spec, or remove its file: the one from the boot does not exist here."""
    if spec is None or not spec.has_location:
        module.__dict__.pop("__file__", None)
        if hasattr(module, "__path__"):
            module.__path__ = []
        return
    module.__spec__, module.__loader__ = spec, spec.loader
    module.__file__, module.__cached__ = spec.origin, spec.cached
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations


def _add_builtins() -> None:
    """Add exit, quit, help and the like to builtins, as the site module does."""
    import site

    site.setquit()
    site.setcopyright()
    site.sethelper()
