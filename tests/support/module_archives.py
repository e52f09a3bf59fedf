"""Module archives: an independent reader and writer of their bytes, and closures under any Python.

The layout is csrc/interpreter/module_archive.c's: a header, a record of four numbers for each
module and of one for each extension, and what the records point to.

As a script, under a Python to be tried: module_archives.py CASES makes the module archive of each
case and prints in JSON what is in it. Only the standard library is imported then.
"""

from __future__ import annotations

import importlib
import json
import marshal
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

MAGIC = b"nsxbndl1"
HEADER = struct.Struct("=8s4I")  # magic, modules, extensions, version, reserved
MODULE = struct.Struct("=4I")  # name, code, size of the code, is package
EXTENSION = struct.Struct("=I")  # path
VERSION = sys.version_info[0] << 8 | sys.version_info[1]

# What came of a case, as json has it.
Facts = dict[str, Any]


@dataclass(frozen=True)
class Module:
    """A module in a module archive; its code is marshalled."""

    name: str
    code: bytes
    is_package: bool = False


@dataclass(frozen=True)
class Contents:
    """What a module archive holds."""

    modules: tuple[Module, ...]
    extensions: tuple[str, ...] = ()
    version: int = VERSION
    magic: bytes = MAGIC

    @property
    def tables_end(self) -> int:
        """Where the header and the tables end."""
        return HEADER.size + len(self.modules) * MODULE.size + len(self.extensions) * EXTENSION.size

    def code(self) -> dict[str, CodeType]:
        return {module.name: marshal.loads(module.code) for module in self.modules}


def content_of(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def read(content: bytes) -> Contents:
    """Everything is where it should be, or this raises."""
    magic, modules, extensions, version, reserved = HEADER.unpack_from(content)
    if reserved:
        raise ValueError(f"reserved is {reserved}")
    records = [MODULE.unpack_from(content, HEADER.size + i * MODULE.size) for i in range(modules)]
    at = HEADER.size + modules * MODULE.size
    paths = [EXTENSION.unpack_from(content, at + i * EXTENSION.size)[0] for i in range(extensions)]
    return Contents(
        tuple(_module(content, *record) for record in records),
        tuple(os.fsdecode(_string(content, path)) for path in paths),
        version,
        magic,
    )


def _module(content: bytes, name: int, code: int, size: int, is_package: int) -> Module:
    if code + size > len(content) or is_package not in (0, 1):
        raise ValueError(f"the record of {_string(content, name)!r}")
    return Module(_string(content, name).decode(), content[code : code + size], bool(is_package))


def _string(content: bytes, offset: int) -> bytes:
    return content[offset : content.index(b"\0", offset)]


def write(contents: Contents) -> bytes:
    """A module archive; the strings come last here."""
    codes = b"".join(module.code for module in contents.modules)
    at_code = contents.tables_end
    at_name = at_code + len(codes)
    records, names = b"", b""
    for module in contents.modules:
        offset = at_name + len(names)
        records += MODULE.pack(offset, at_code, len(module.code), int(module.is_package))
        at_code += len(module.code)
        names += module.name.encode() + b"\0"
    for path in contents.extensions:
        records += EXTENSION.pack(at_name + len(names))
        names += os.fsencode(path) + b"\0"
    counts = len(contents.modules), len(contents.extensions)
    return HEADER.pack(contents.magic, *counts, contents.version, 0) + records + codes + names


def file_names(code: CodeType) -> Iterator[str]:
    """Of it and all code in it."""
    yield code.co_filename
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from file_names(constant)


# --- closures -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A tree of files, and the module archive of what is wanted from it.

    Args:
        name: of the case; the names of what is wanted begin with it.
        files: relative path → text.
        travel: the modules of the tree that are in the module archive.
        wanted: names; none: the case's own.
        search: folders of the tree on sys.path.
    """

    name: str
    files: dict[str, str]
    travel: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    search: tuple[str, ...] = (".",)


def lay_out(case: Case, folder: Path) -> None:
    for name, text in case.files.items():
        path = folder / case.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def closure(case: Case, folder: Path) -> Facts:
    """The module archive of a case that was laid out. `error` alone where there is none."""
    places = [str((folder / case.name / place).resolve()) for place in case.search]
    before = set(sys.modules)
    sys.path[:0] = places
    importlib.invalidate_caches()
    try:
        return _closure(case) | {"imported": sorted(_ours(sys.modules.keys() - before))}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        del sys.path[: len(places)]


def _closure(case: Case) -> Facts:
    from nsenter._interpreter.module_archive import archive_for

    archive = archive_for(case.wanted or (case.name,))
    contents = read(content_of(archive.fd))
    code = contents.code()
    return {
        "modules": sorted(archive.modules),
        "in the file": sorted(code),
        "travel": sorted(_ours(code)),
        "packages": sorted(m.name for m in contents.modules if m.is_package),
        "file names": sorted({name for part in code.values() for name in file_names(part)}),
        "version": contents.version,
        "boots as runpy": code["runpy"] == code["nsenter._inside.boot"],
        "there already": sorted(set(code) & set(sys.builtin_module_names)),
    }


def _ours(names: Iterable[str]) -> set[str]:
    """Those of the tree: neither the standard library's nor our own."""
    known = sys.stdlib_module_names | {"nsenter"}
    return {name for name in names if name.partition(".")[0] not in known}


def main(folder: str, cases: str) -> None:
    made = [Case(**{k: _frozen(v) for k, v in case.items()}) for case in json.loads(cases)]
    print(json.dumps({case.name: closure(case, Path(folder)) for case in made}))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
