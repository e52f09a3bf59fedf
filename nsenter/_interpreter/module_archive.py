# SPDX-License-Identifier: Apache-2.0
"""The module archive: every module that an interpreter boots from, in one sealed memfd.

csrc/interpreter/module_archive.c reads it. The code of a module is what its loader returns: it is
read from the .pyc file, or compiled. The modules that a target needs are found by following the
import statements in their code. Modules that the interpreter has built in or frozen are left out.
"""

from __future__ import annotations

import _imp
import dis
import marshal
import os
import struct
import sys
import threading
from functools import cache
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from types import CodeType

from nsenter._host.records import Value
from nsenter._interpreter.sealed_memory import CachedDescriptor, sealed_memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Import = tuple[str, object, object]  # a name, its level, and what is imported from it

__all__ = [
    "ModuleArchive",
    "archive_for",
    "extensions_of",
    "imported_by",
    "is_extension",
    "is_found",
    "leave_out",
    "module_code",
    "module_place",
    "origin_of",
    "pack_one",
    "pythons_own",
    "travels",
    "without_source",
]

# What CPython itself imports before it runs the first line (initfsencoding, init_sys_streams).
_BOOT_MODULES = (
    *("encodings", "encodings.aliases", "encodings.utf_8", "encodings.ascii"),
    "encodings.latin_1",
)

# What extensions import by themselves, so that no code tells of it. A lookup of a host takes the
# codec for names, also where it is an address.
_IMPORTED_BY_C = {"_socket": ("encodings.idna",), "numpy.random.bit_generator": ("secrets",)}

_MAGIC = b"nsxbndl1"
_HEADER = struct.Struct("=8sIIII")
_MODULE = struct.Struct("=IIII")
_EXTENSION = struct.Struct("=I")

# Of the code in it: 0x030b for 3.11.
_VERSION = sys.hexversion >> 16

# Set on functions, not on the bodies of modules and classes (inspect.CO_OPTIMIZED).
_CO_OPTIMIZED = 1
_IMPORT_NAME = dis.opmap["IMPORT_NAME"]
_EXTENDED_ARG = dis.opmap["EXTENDED_ARG"]
_LOAD_CONST = dis.opmap["LOAD_CONST"]
_LOAD_SMALL_INT = dis.opmap.get("LOAD_SMALL_INT")
_NO_CONSTANT = object()
# Whether this version's instructions are read without dis. In 3.15, IMPORT_NAME has flags.
_IS_KNOWN = sys.version_info < (3, 15)
# The second since 3.14, the third for None since 3.15.
_LOADS_OF_CONSTANTS = ("LOAD_CONST", "LOAD_SMALL_INT", "LOAD_COMMON_CONSTANT")


class ModuleArchive(Value):
    """A module archive in memory.

    Attributes:
        memory: the sealed memfd.
        extensions: the C extension modules: name to path.
        modules: the names of the modules whose code is in the archive.
        left_out: the C extensions that the modules import but that may not be loadable.
        needs_running_python: whether some extensions can be loaded only after Python has started.
    """

    memory: CachedDescriptor
    extensions: dict[str, str]
    modules: frozenset[str]
    left_out: frozenset[str] = frozenset()
    needs_running_python: bool = False

    @property
    def fd(self) -> int:
        """The descriptor of the memfd, for the next launch."""
        return self.memory.get()


def _search_path(package: str) -> Sequence[str] | None:
    """Return where the submodules of a package are; the package is not imported."""
    module = sys.modules.get(package)
    if module is not None:
        return getattr(module, "__path__", None)
    spec = _find_spec(package)
    return None if spec is None else spec.submodule_search_locations


def _find_spec(name: str) -> ModuleSpec | None:
    """Find the spec of a module as importlib.util.find_spec does, but import no parent package."""
    # A file's name may have "-" in it, as that of sysconfig's data has.
    if not all(part.replace("-", "_").isidentifier() for part in name.split(".")):
        return None
    package = name.rpartition(".")[0]
    path = _search_path(package) if package else None
    if package and path is None:
        return None
    spec: ModuleSpec | None
    for finder in sys.meta_path:
        # Its find_spec would look for the parent of a namespace package in sys.modules.
        if finder is PathFinder:
            spec = PathFinder._get_spec(name, sys.path if path is None else path)  # type: ignore[attr-defined]
        else:
            spec = finder.find_spec(name, path)
        # It gives one without a loader and without places for what it does not find.
        if spec is not None and (spec.loader or spec.submodule_search_locations):
            return spec
    return None


def _is_there_already(name: str) -> bool:
    return name in sys.builtin_module_names or _imp.is_frozen(name)


def _code_of(spec: ModuleSpec) -> CodeType | None:
    if spec.loader is None:  # a namespace package
        return compile("", f"<{spec.name}>", "exec")
    get_code = getattr(spec.loader, "get_code", None)
    code = get_code(spec.name) if get_code else None
    return code if isinstance(code, CodeType) else None


def _parts(code: CodeType, functions: bool) -> Iterator[CodeType]:
    """Yield the code objects that run when a module is imported; with `functions` all of them."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and (functions or not constant.co_flags & _CO_OPTIMIZED):
            yield from _parts(constant, functions)


def _functions(code: CodeType) -> Iterator[CodeType]:
    """Return the code objects that do not run when a module is imported."""
    for part in _parts(code, functions=False):
        for constant in part.co_consts:
            if isinstance(constant, CodeType) and constant.co_flags & _CO_OPTIMIZED:
                yield from _parts(constant, functions=True)


def _imports(parts: Iterable[CodeType], package: str) -> Iterator[str]:
    """Return the names that code imports, and those that `from … import` may mean as modules."""
    for part in parts:
        # Every second byte is an opcode. Most functions import nothing, and dis is slow.
        if _IMPORT_NAME in part.co_code[::2]:
            yield from _imports_of_one(part, package)


def _imports_of_one(code: CodeType, package: str) -> Iterator[str]:
    # What dis tells takes ten times as long, which is seconds for the code of a large package. It
    # is needed where a jump may lead over an import.
    read = None if "TYPE_CHECKING" in code.co_names else _read(code)
    for name, level, fromlist in _disassembled(code) if read is None else read:
        yield from _import_names(name, level, fromlist, package)


def _read(code: CodeType) -> list[Import] | None:
    """Return the imports in code, in order; None if only dis can find them."""
    units = code.co_code
    opcodes, at = units[::2], -1
    found: list[Import] = []
    while (at := opcodes.find(_IMPORT_NAME, at + 1)) >= 0:
        name, before = _argument(units, at)
        fromlist, before = _constant(code, units, before)
        level, _ = _constant(code, units, before)
        if not _IS_KNOWN or fromlist is _NO_CONSTANT or level is _NO_CONSTANT:
            return None
        found.append((code.co_names[name], level, fromlist))
    return found


def _argument(units: bytes, at: int) -> tuple[int, int]:
    """Return the argument of an instruction, and where the one before it is."""
    argument, shift = units[2 * at + 1], 8
    at -= 1
    while at >= 0 and units[2 * at] == _EXTENDED_ARG:
        argument |= units[2 * at + 1] << shift
        at, shift = at - 1, shift + 8
    return argument, at


def _constant(code: CodeType, units: bytes, at: int) -> tuple[object, int]:
    """Return what an instruction loads, and where the one before it is."""
    if at < 0:
        return _NO_CONSTANT, at
    argument, before = _argument(units, at)
    if units[2 * at] == _LOAD_CONST:
        return code.co_consts[argument], before
    return argument if units[2 * at] == _LOAD_SMALL_INT else _NO_CONSTANT, before


def _disassembled(code: CodeType) -> Iterator[Import]:
    """Return the imports by dis, without those that happen only `if TYPE_CHECKING`."""
    loaded: list[object] = [0, None]
    skipped_to = -1
    guarded = False
    for instruction in dis.get_instructions(code):
        if instruction.offset < skipped_to:
            continue
        if guarded and "JUMP" in instruction.opname and "FALSE" in instruction.opname:
            skipped_to = instruction.argval
        # Between the load and the jump: TO_BOOL since 3.13, EXTENDED_ARG where it is a long one.
        if instruction.opname not in ("TO_BOOL", "EXTENDED_ARG"):
            guarded = instruction.argval == "TYPE_CHECKING"
        if instruction.opname == "IMPORT_NAME":
            yield instruction.argval, loaded[-2], loaded[-1]
        elif instruction.opname in _LOADS_OF_CONSTANTS:
            loaded.append(instruction.argval)


def _import_names(name: str, level: object, fromlist: object, package: str) -> Iterator[str]:
    if isinstance(level, int) and level > 0:
        base = package.rsplit(".", level - 1)[0] if level > 1 else package
        name = f"{base}.{name}" if name else base
    yield name
    if isinstance(fromlist, tuple):
        yield from (f"{name}.{item}" for item in fromlist if item != "*")


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        yield ".".join(parts[:i])


def _load(name: str) -> tuple[CodeType, bool] | str | None:
    """Return the code of a module and whether it is a package; or the path of a C extension.

    None means that the module need not be sent, or that it cannot be.
    """
    if _is_there_already(name):
        return None
    spec = _find_spec(name)
    if spec is None:
        return None
    if isinstance(spec.loader, ExtensionFileLoader):
        return os.path.abspath(spec.origin) if spec.origin else None
    code = _code_of(spec)
    return code and (code, spec.submodule_search_locations is not None)


def _frozen(name: str) -> tuple[CodeType, bool] | None:
    """Return what `_load` returns, for a module that the interpreter has frozen.

    A frozen module is not sent, but the modules that it imports may have to be: importlib.util
    imports importlib._abc, which is not frozen.
    """
    if name in sys.builtin_module_names or not _imp.is_frozen(name):
        return None
    return _imp.get_frozen_object(name), _imp.is_frozen_package(name)


# Of those that are part of Python: they test it, or take libraries that programs rarely have.
_RARELY_USED = ("_test", "_xx", "xx", "_ctypes_test", "_tkinter", "nis", "ossaudiodev")
# Why a C extension could not be loaded, by its name.
_unloadable: dict[str, str] = {}


def leave_out(extension: str, why: str) -> None:
    """Exclude a C extension from all further archives that do not name it."""
    _unloadable[extension] = why


@cache
def _pythons_own() -> dict[str, str]:
    folder = os.path.abspath(os.path.join(os.path.dirname(os.__file__), "lib-dynload"))
    try:
        files = sorted(filter(is_extension, os.listdir(folder)))
    except OSError:
        return {}
    found = {file.partition(".")[0]: f"{folder}/{file}" for file in files}
    unwanted = {*sys.builtin_module_names, *filter(lambda n: n.startswith(_RARELY_USED), found)}
    return {name: path for name, path in found.items() if name not in unwanted}


def pythons_own() -> dict[str, str]:
    """Return the C extensions of Python that are files of their own: name to path.

    Extensions that cannot be loaded are left out.
    """
    return {name: path for name, path in _pythons_own().items() if name not in _unloadable}


def _is_loadable(extension: str, wanted: Iterable[str]) -> bool:
    """Return whether an extension may be loaded that is perhaps not needed.

    This holds for Python's own extensions, for those that this process has loaded, and for those of
    the wanted packages. Others may fail to load, or start threads.
    """
    if extension in _unloadable:
        return False
    if extension in sys.stdlib_module_names or extension in sys.modules:
        return True
    package = extension.partition(".")[0]
    return any(name.partition(".")[0] == package for name in wanted)


def _imported_by_extensions(extensions: Iterable[str]) -> dict[str, str]:
    """Return the C extensions that the C code of third-party packages may import.

    C code has no import statements to follow. So these are the extensions that this process has
    loaded from the same packages, and those that are in no package.
    """
    packages = {name.partition(".")[0] for name in extensions} - sys.stdlib_module_names
    found = {}
    for name, module in [*sys.modules.items()] if packages else ():
        spec: ModuleSpec | None = getattr(module, "__spec__", None)
        if spec is None or not isinstance(spec.loader, ExtensionFileLoader) or not spec.origin:
            continue
        if "." not in name or name.partition(".")[0] in packages:
            found[name] = os.path.abspath(spec.origin)
    return found


def _to_load(extensions: dict[str, str], wanted: Iterable[str]) -> dict[str, str]:
    return {name: path for name, path in extensions.items() if _is_loadable(name, wanted)}


@cache
def _is_standard_extension(name: str) -> bool:
    if name not in sys.stdlib_module_names or _is_there_already(name):
        return False
    spec = _find_spec(name)
    return spec is not None and isinstance(spec.loader, ExtensionFileLoader)


def _collect(
    wanted: Iterable[str], *, late_extensions: bool
) -> tuple[dict[str, tuple[CodeType, bool]], dict[str, str]]:
    """Return the code of the wanted modules and of all modules that they import.

    Imports inside functions are followed for the wanted modules only. C extensions are returned as
    paths.

    Args:
        wanted: the names of the modules.
        late_extensions: also look inside all functions for imports of Python's own C extensions.
    """
    wanted = frozenset(wanted)
    late_extensions = late_extensions and not pythons_own().keys() <= wanted
    found: dict[str, tuple[CodeType, bool]] = {}
    extensions: dict[str, str] = {}
    seen: set[str] = set()
    queue = [parent for name in wanted for parent in _with_parents(name)]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            loaded = _load(name)
        except SyntaxError:  # one for another version of Python: importing it would fail, too
            if name in wanted:
                raise
            loaded = None
        if isinstance(loaded, str):
            extensions[name] = loaded
        if isinstance(loaded, str) or name in sys.builtin_module_names:
            queue += _IMPORTED_BY_C.get(name, ())
        if isinstance(loaded, str):
            continue
        if loaded:
            found[name] = loaded
        followed = loaded or _frozen(name)
        if followed is None:
            continue
        code, is_package = followed
        package = name if is_package else name.rpartition(".")[0]
        imported = _imports(_parts(code, functions=name in wanted), package)
        queue += [parent for item in imported for parent in _with_parents(item)]
        # Some functions run when their module is imported, as hashlib's, and what has no code
        # cannot come later.
        if late_extensions and name not in wanted:
            late = _imports(_functions(code), package)
            queue += [item for item in late if _is_standard_extension(item)]
    return found, extensions


def _extension_path(name: str) -> str:
    path = _load(name)
    if not isinstance(path, str):
        raise ValueError(f"extensions: {name!r} is no C extension module that can be found here")
    return path


def travels(name: str) -> bool:
    """Return whether a module can be imported in an interpreter that boots from an archive."""
    if _is_there_already(name):
        return True
    spec = _find_spec(name)
    return spec is not None and (spec.loader is None or hasattr(spec.loader, "get_code"))


def extensions_of(modules: Iterable[str]) -> frozenset[str]:
    """Return the C extensions that are sent with these modules if no extensions are named."""
    modules = frozenset(modules)
    return frozenset(_to_load(_collect(modules, late_extensions=True)[1], modules))


def origin_of(name: str) -> str | None:
    """Return the file from which this process would import a module; None if there is none."""
    if _is_there_already(name):
        return None
    spec = _find_spec(name)
    return spec.origin if spec is not None and spec.has_location else None


def imported_by(code: CodeType, package: str) -> set[str]:
    """Return the modules that the code of a function may import."""
    return set(_imports(_parts(code, functions=True), package))


def _why_not_along(extension: str) -> str:
    if extension in _unloadable:
        return f"cannot be loaded in a root without files: {_unloadable[extension]}"
    before = "" if extension in sys.modules else "import it before the call, or "
    advice = "name its package in modules= or it in extensions="
    return f"is not along: {before}{advice}"


def module_code(name: str) -> tuple[bytes, bool]:
    """Return the marshalled code of a module, and whether it is a package. Do not execute it.

    Raises:
        ModuleNotFoundError: there is no such module, or it cannot be sent; the error says why.
        SyntaxError: its source is not valid in this Python.
    """
    loaded = _load(name)
    if isinstance(loaded, str):
        raise ModuleNotFoundError(f"{name!r}, a C extension, {_why_not_along(name)}", name=name)
    if loaded is None:
        raise ModuleNotFoundError(f"no module named {name!r}", name=name)
    code, is_package = loaded
    return without_source(code), is_package


def is_found(name: str) -> bool:
    """Return whether this process can find a module of this name."""
    return _is_there_already(name) or _find_spec(name) is not None


def is_extension(path: str) -> bool:
    """Return whether this is the file of a C extension."""
    return path.endswith(tuple(EXTENSION_SUFFIXES))


def module_place(name: str) -> tuple[bool, str, list[str]] | None:
    """Return whether a module is a package, its file, and where its submodules are.

    The module is not executed. None means that there is no file from which Python could load it.
    """
    spec = None if _is_there_already(name) else _find_spec(name)
    if spec is None or not isinstance(spec.loader, (SourceFileLoader, ExtensionFileLoader)):
        return None
    folders = spec.submodule_search_locations
    paths = [*map(os.path.abspath, folders or ())]
    return folders is not None, os.path.abspath(spec.origin or ""), paths


def without_source(code: CodeType) -> bytes:
    """Return marshalled code with a file name that no traceback tries to open in any root."""
    copy = marshal.loads(marshal.dumps(code))
    _imp._fix_co_filename(copy, f"<{code.co_filename}>")  # type: ignore[attr-defined]
    return marshal.dumps(copy)


def _pack(
    modules: dict[str, tuple[CodeType, bool]], early: Iterable[str], late: Iterable[str] = ()
) -> bytes:
    """Return the bytes of a module archive.

    Args:
        modules: the code of the modules.
        early: paths of extensions to load before Python runs.
        late: paths of extensions to load when it runs.
    """
    early, late = list(early), list(late)
    extensions = [*early, *late]
    tables = _HEADER.size + len(modules) * _MODULE.size + len(extensions) * _EXTENSION.size
    pool = bytearray()

    def place(content: bytes) -> int:
        offset = tables + len(pool)
        pool.extend(content)
        return offset

    def record(name: str, code: CodeType, is_package: bool) -> bytes:
        data = without_source(code)
        return _MODULE.pack(place(name.encode() + b"\0"), place(data), len(data), int(is_package))

    records = b"".join(record(name, *entry) for name, entry in modules.items())
    paths = b"".join(_EXTENSION.pack(place(os.fsencode(path) + b"\0")) for path in extensions)
    header = _HEADER.pack(_MAGIC, len(modules), len(extensions), _VERSION, len(late))
    return header + records + paths + bytes(pool)


def pack_one(name: str, alias: str) -> bytes:
    """Return the bytes of an archive with one module, which has another name there."""
    loaded = _load(name)
    if loaded is None or isinstance(loaded, str):
        raise ModuleNotFoundError(f"no module named {name!r}", name=name)
    return _pack({alias: loaded}, ())


def _is_early(extension: str) -> bool:
    """Return whether an extension can be loaded before Python runs, as far as is known.

    These are Python's own extensions and those of this package.
    """
    package = extension.partition(".")[0]
    return extension in sys.stdlib_module_names or package in ("nsenter", "_cffi_backend")


def _build(modules: frozenset[str], extensions: tuple[str, ...] | None) -> ModuleArchive:
    wanted = (*_BOOT_MODULES, "nsenter._inside.boot", *modules)
    code, imported = _collect(wanted, late_extensions=extensions is None)
    found = {}
    if extensions is None:
        imported |= _imported_by_extensions(imported)
        found = _to_load(imported, modules)
    there = code.keys() | found
    left_out = modules & (_unloadable.keys() | _pythons_own().keys())
    wanted_still = modules - left_out
    missing = sorted(n for n in wanted_still if n not in there and not _is_there_already(n))
    if missing:
        raise ModuleNotFoundError(
            f"{missing[0]!r} cannot go into the module archive: no Python module of this name is "
            "found" + (" (a C extension goes into extensions=…)" if _find_spec(missing[0]) else ""),
            name=missing[0],
        )
    # One that is built into this interpreter is there already.
    named = (name for name in extensions or () if name not in sys.builtin_module_names)
    paths = found | {name: _extension_path(name) for name in named}
    late = [name for name in found if not _is_early(name)]
    early = [name for name in paths if name not in late]
    content = _pack(
        {**code, "runpy": code["nsenter._inside.boot"]},
        (paths[name] for name in early),
        (paths[name] for name in late),
    )
    memory = CachedDescriptor(lambda: sealed_memfd("nsenter-archive", content, executable=False))
    memory.get()
    others = imported.keys() - found.keys() - _unloadable.keys() if extensions is None else ()
    return ModuleArchive(memory, paths, frozenset(code), frozenset(others), bool(late))


_cache: dict[tuple[frozenset[str], tuple[str, ...] | None], ModuleArchive] = {}
_lock = threading.Lock()


def archive_for(modules: Iterable[str], extensions: Iterable[str] | None = ()) -> ModuleArchive:
    """Return the archive of these modules and all that they import. Cached and thread-safe.

    Args:
        modules: the names of importable Python modules.
        extensions: the names of C extension modules. They are loaded before the namespaces are
            created, so they must not start threads when they are loaded. None means those that the
            modules import: of Python's own, of the packages of `modules`, and of those that this
            process has loaded.

    Raises:
        ModuleNotFoundError: a module is not found; the error names it.
        ValueError: a module cannot be sent; the error names it.
    """
    key = frozenset(modules), None if extensions is None else tuple(extensions)
    with _lock:
        # What was left out may have been loaded since, and what was not have turned out badly.
        found = _cache.get(key)
        if (
            found is None
            or not found.left_out.isdisjoint(sys.modules)
            or (key[1] is None and not _unloadable.keys().isdisjoint(found.extensions))
        ):
            _cache[key] = _build(*key)
        return _cache[key]
