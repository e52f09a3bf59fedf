# SPDX-License-Identifier: Apache-2.0
"""Where this Python and what is installed for it are, for an interpreter in namespaces.

If a root shows these folders as they are here, `nsenter._inside.file_imports` imports from them
there. What is in them is installed, so it is no secret. Other folders on sys.path are the user's
own: that of the script, the working directory, the sources of an editable install.
"""

from __future__ import annotations

import _imp
import os
import site
import sys
from functools import lru_cache
from importlib.machinery import PathFinder, SourceFileLoader

from nsenter._host.records import ByIdentity
from nsenter._interpreter.module_archive import ModuleArchive, module_place
from nsenter.mounts import Bind
from nsenter.namespaces import Namespace, NamespaceType
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from nsenter._inside.file_imports import KnownFile, Place
    from nsenter.mounts import Mount

__all__ = ["data_of", "describe", "folders", "own_folders"]

# What the sys module says of the interpreter's files, wherever it runs.
_VALUES = (
    *("prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "pycache_prefix"),
    "dont_write_bytecode",
)
_MOST_DATA = 64 << 20  # bytes of one data file that is sent
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_HARMLESS = frozenset(NamespaceType) - {
    *(NamespaceType.NEWNS, NamespaceType.NEWPID, NamespaceType.NEWUSER)
}


def _stdlib() -> str:
    return os.path.dirname(os.path.abspath(os.__file__))


def folders() -> list[str]:
    """Return the directories of the standard library and of site-packages that are used."""
    return [path for path, *_ in _installed(_search_path())]


def own_folders() -> list[str]:
    """Return all other directories on sys.path."""
    entries = _search_path()
    installed = _installed(entries)
    return [entry[0] for entry in entries if entry not in installed]


def _installed(entries: list[Place]) -> list[Place]:
    """Return the directories of the standard library and of site-packages on sys.path.

    They are recognised by their present device and inode, so the next call notices if a directory
    or a link was replaced.
    """
    stdlib = _stdlib()
    prefixes = {sys.prefix, sys.exec_prefix, *getattr(site, "PREFIXES", ())}
    paths = [stdlib, os.path.join(stdlib, "lib-dynload"), *site.getsitepackages(sorted(prefixes))]
    if site.ENABLE_USER_SITE and site.USER_SITE:
        paths.append(site.USER_SITE)
    known = {place[1:] for place in _places(paths)}
    return [entry for entry in entries if entry[1:] in known]


def user_folders() -> list[str]:
    """Return the directories that may hold secrets of the user.

    These are the other directories on sys.path, the working directory, and the sources of editable
    installs.
    """
    found = [*own_folders(), *_working_folder()]
    for finder in sys.meta_path:
        module = sys.modules.get(getattr(finder, "__module__", None) or "")
        sources = getattr(module, "MAPPING", None)  # of setuptools' finders of editable installs
        if isinstance(sources, dict):
            found += [path for path in sources.values() if isinstance(path, str)]
    return [path for path in dict.fromkeys(map(os.path.abspath, found)) if os.path.isdir(path)]


def _working_folder() -> list[str]:
    try:
        return [os.getcwd()]
    except OSError:  # it was removed
        return []


def needed_to_start() -> Iterator[str]:
    """Return what this interpreter needs besides the system's files.

    This is the installation of the interpreter. Of a virtual environment it is the programs, the
    settings and the installed packages, but nothing else: a virtual environment may be in the
    directory of a project.
    """
    yield sys.base_prefix
    if sys.prefix != sys.base_prefix:
        for name in ("pyvenv.cfg", os.path.basename(os.path.dirname(sys.executable)) or "bin"):
            if os.path.exists(path := os.path.join(sys.prefix, name)):
                yield path
    yield from folders()


def data_of(package: str, path: str) -> bytes | list[str]:
    """Return a data file of an installed package, or the names in one of its directories.

    Args:
        package: the name of the package.
        path: the path in the directory of the package; "" means that directory.

    Raises:
        FileNotFoundError: there is no such file, or the package is not installed.
    """
    found = module_place(package)
    folder = os.path.realpath(found[2][0]) if found and found[2] else ""
    places = [os.path.realpath(place) for place in folders()]
    if not any(folder.startswith(f"{place}/") for place in places):
        raise FileNotFoundError(f"{package!r} is no package that is installed")
    target = os.path.realpath(os.path.join(folder, path))
    if target != folder and not target.startswith(f"{folder}/"):
        raise FileNotFoundError(f"{path!r} is not in the package {package!r}")
    if os.path.isdir(target):
        return sorted(os.listdir(target))
    if not os.path.isfile(target) or os.path.getsize(target) > _MOST_DATA:
        raise FileNotFoundError(f"no data file {path!r} in the package {package!r}")
    with open(target, "rb") as file:
        return file.read()


def _search_path() -> list[Place]:
    """Return the entries of sys.path that exist, each once; "" becomes the working directory."""
    entries = (entry for entry in sys.path if isinstance(entry, str) and "\0" not in entry)
    return [*_places(dict.fromkeys(map(os.path.abspath, entries)))]


def _place(path: str) -> Place:
    found = os.stat(path)
    return path, found.st_dev, found.st_ino


def _places(paths: Iterable[str]) -> Iterator[Place]:
    for path in paths:
        try:
            yield _place(path)
        except OSError:  # removed meanwhile
            continue


def describe(options: Options, archived: ModuleArchive) -> dict[str, Any] | None:
    """Return the description of this Python's files for `nsenter._inside.file_imports.open_files`.

    Args:
        options: the options of the process.
        archived: the module archive that the process boots from.

    Returns:
        The description; None if the root of the process cannot have this Python's files. The
            process
        then opens none.
    """
    is_own = _has_own_root(options)
    entries = _search_path()
    installed = _installed(entries)
    if not _joins_only_harmless(options.join):
        return None
    if not is_own and not _may_show(options, installed):
        return None
    return {
        "read_only": not is_own,
        "needed": installed,
        "path": entries,
        "package": next(_places([_PACKAGE]), None),
        "archived": _sorted(archived.modules),
        "known": _files_of(archived.modules, tuple(entries), sys.pycache_prefix),
        "executable": next(_places([sys.executable] if sys.executable else []), None),
        "base_executable": sys._base_executable,  # type: ignore[attr-defined]
        "sys": {**{name: getattr(sys, name) for name in _VALUES}, "_stdlib_dir": _stdlib()},
    }


@lru_cache(4)
def _sorted(modules: frozenset[str]) -> list[str]:
    return sorted({*modules, "runpy"})


@lru_cache(4)
def _files_of(
    modules: frozenset[str], entries: tuple[Place, ...], pycache: str | None
) -> dict[str, KnownFile | None]:
    """Return where Python would find the modules of the archive, so that no search is needed.

    None stands for a module that is not found.

    Args:
        modules: the names of the modules.
        entries: the entries of sys.path with what is at each path now, so that the cached result is
            not used after a directory was replaced.
        pycache: sys.pycache_prefix.
    """
    found: dict[str, KnownFile | None] = {}
    for name in sorted({*modules, *_imp._frozen_module_names()}):  # type: ignore[attr-defined]
        package = name.rpartition(".")[0]
        path = [entry[0] for entry in entries]
        if name == "nsenter":  # it need not be on sys.path
            path = [os.path.dirname(_PACKAGE)]
        elif package:
            parent = found.get(package)
            path = [os.path.dirname(parent[1])] if parent and parent[3] else []
        spec = PathFinder._get_spec(name, path)  # type: ignore[attr-defined]
        if spec is None or spec.loader is None:
            found[name] = None
        elif isinstance(spec.loader, SourceFileLoader):
            is_package = spec.submodule_search_locations is not None
            place = os.path.dirname(spec.origin)
            place = os.path.dirname(place) if is_package else place
            folder = _PACKAGE if name == "nsenter" else place
            parent = found.get(package)
            folder = parent[0] if parent else folder
            found[name] = folder, spec.origin, spec.cached, is_package
    return found


def _has_own_root(options: Options) -> bool:
    """Return whether the process has a root of its own, in which `mounts` may hide something."""
    root = options.root
    if root is None:
        return True
    return isinstance(root, (str, bytes, os.PathLike)) and os.fsencode(root) == b"/"


def _may_show(options: Options, folders: list[Place]) -> bool:
    """Return whether a new root shows these directories read-only, as far as is known here.

    In a directory of the file system, a process of another sandbox may move what is mounted there.
    So only a root that is newly made counts.
    """
    from nsenter.mounts import Tmpfs

    if options.root != "tmpfs" and not isinstance(options.root, Tmpfs):
        return False
    # Options are made once and used often. If a link on the way to a folder is changed so that it
    # leads to another, this looks again; if to the same by another way, or if what is mounted there
    # is not what is here, the process itself notices.
    return _all_shown(ByIdentity(tuple(options.mounts)), tuple(folders))


@lru_cache(8)
def _all_shown(mounts: ByIdentity, folders: tuple[Place, ...]) -> bool:
    return all(_shows(mounts.value, os.path.realpath(path)) for path, *_ in folders)


def _shows(mounts: tuple[Mount, ...], path: str) -> bool:
    """Return whether the last mount that covers a path is a bind mount of the same path."""
    shown = False
    for mount in mounts:
        target = getattr(mount, "target", None)
        source = getattr(mount, "source", None)
        place = os.fsdecode(target if target is not None else source or "/dev")
        if not f"{path}/".startswith(f"{os.path.normpath(place).rstrip('/')}/"):
            continue
        shown = isinstance(mount, Bind) and not mount.writable
        shown = shown and os.path.realpath(os.fsdecode(mount.source)) == os.path.realpath(place)  # type: ignore[attr-defined]
    return shown


def _joins_only_harmless(target: object) -> bool:
    """Return whether no foreign mount, PID or user namespace is joined.

    A process in such a namespace may change what is mounted, or read the memory of the new process
    while it has files open. A target must name its kinds of namespaces, because the set of those
    that it shares with the caller may change before it is joined.
    """
    if target is None:
        return True
    if isinstance(target, Namespace):
        return target.type in _HARMLESS
    if isinstance(target, (tuple, list)):
        return all(map(_joins_only_harmless, target))
    if isinstance(target, dict):
        return all(NamespaceType.parse(kind) in _HARMLESS for kind in target)
    return False
