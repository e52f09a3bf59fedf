"""A module archive has all the modules that a target needs, and the shim refuses a bad one.

The modules are a table that each installed Python makes (see module_archives.py), because an import
statement compiles to different code in each version.
"""

from __future__ import annotations

import _imp
import contextlib
import errno
import fcntl
import functools
import importlib.abc
import importlib.machinery
import json
import mmap
import os
import random
import secrets
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import module_archives
import pythons
from module_archives import Case, Contents, Facts
from nsenter._interpreter import command
from nsenter._interpreter import module_archive as archive
from nsenter._interpreter.module_archive import ModuleArchive, archive_for
from nsenter._interpreter.sealed_memory import CachedDescriptor, sealed_memfd
from nsenter._launch.spawn import Spawn
from nsenter._message import codec
from nsenter._message.launch import LaunchAttribute
from nsenter.bootstrap import BootstrapData
from nsenter.errors import BootstrapError
from nsenter.launch import PythonInit, launch
from pythons import Python

PYTHONS = pythons.installed()
ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 20.0  # for anything that takes milliseconds

each_python = pytest.mark.parametrize("python", PYTHONS, ids=str)


# --- what travels: the table --------------------------------------------------------------------

EVERY_WAY = """
import at_top
import as_another as renamed
from from_it import something
try:
    import in_try
except ImportError:
    import in_except
if len(__name__) > 3:
    import in_if
class Class:
    import in_class
    def method(self):
        import in_method
def function():
    import in_function
    def nested():
        import in_nested
    class Local:
        import in_local_class
async def coroutine():
    import in_coroutine
call = lambda: __import__("by_call_is_not_seen")
"""
EVERY_WAY_NAMES = (
    *("at_top", "as_another", "from_it", "in_try", "in_except", "in_if", "in_class"),
    *("in_method", "in_function", "in_nested", "in_local_class", "in_coroutine"),
)

# Of a module that is imported by a target: `runs` says what importing it runs.
IMPORTED = """
import runs_at_top
class Class:
    import runs_in_class
    class Inner:
        import runs_in_inner_class
    def method(self):
        import not_in_method
try:
    import runs_in_try
finally:
    import runs_in_finally
def function():
    import not_in_function
    class Local:
        import not_in_local_class
"""
RUNS = ("at_top", "in_class", "in_inner_class", "in_try", "in_finally")
NOT = ("in_method", "in_function", "in_local_class")

FOR_TYPES = """
TYPE_CHECKING = False
import before
if TYPE_CHECKING:
    import types_1
    from types_2 import Name
    from package.types_3 import Name as Other
else:
    import otherwise
import after
if not TYPE_CHECKING:
    import at_run_time
if TYPE_CHECKING or len(__name__) > 3:
    import either
class Class:
    if TYPE_CHECKING:
        import types_4
    import in_class
def function():
    if TYPE_CHECKING:
        import types_5
        return
    import in_function
    for _ in range(2):
        import in_loop
def last():
    import in_last
    if TYPE_CHECKING:
        from types_6 import Name
"""
FOR_TYPES_NAMES = (
    *("before", "otherwise", "after", "at_run_time", "either", "in_class"),
    *("in_function", "in_loop", "in_last"),
)
FOR_TYPES_LEFT = tuple(f"types_{i}" for i in range(1, 7))

# Jumps over more than a byte can say, and names with numbers over that.
MANY = [f"many_{i}" for i in range(300)]
LONG = "TYPE_CHECKING = False\nif TYPE_CHECKING:\n"
LONG += "".join(f"    from {name} import A, B, C, D\n" for name in MANY)
LONG += "import after\n"
FAR = "".join(f"name_{i} = {i}.5\n" for i in range(600)) + "from far import away\nimport farther\n"

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def empty(names: Iterable[str]) -> dict[str, str]:
    return {f"{name}.py": "" for name in names}


CLOSURES = (
    Case(
        "own_imports_and_those_in_its_functions",
        {"own_imports_and_those_in_its_functions.py": EVERY_WAY}
        | empty((*EVERY_WAY_NAMES, "by_call_is_not_seen")),
        EVERY_WAY_NAMES,
    ),
    Case(
        "of_others_what_importing_them_runs",
        {"of_others_what_importing_them_runs.py": "import other", "other.py": IMPORTED}
        | empty([f"runs_{n}" for n in RUNS])
        | empty([f"not_{n}" for n in NOT]),
        ("other", *(f"runs_{n}" for n in RUNS)),
    ),
    Case(
        "each_that_is_named_is_a_target",
        {"each_that_is_named_is_a_target.py": "", "second.py": "def f(): import deep"}
        | {"deep.py": "def f(): import deeper"}
        | empty(["deeper"]),
        ("second", "deep"),
        wanted=("each_that_is_named_is_a_target", "second"),
    ),
    Case(
        "packages_above_it",
        {
            "packages_above_it/__init__.py": "import by_the_first\ndef f(): import not_1",
            "packages_above_it/sub/__init__.py": "from . import beside\ndef f(): import not_2",
            "packages_above_it/sub/target.py": "",
            "packages_above_it/sub/beside.py": "",
        }
        | empty(["by_the_first", "not_1", "not_2"]),
        ("packages_above_it.sub", "packages_above_it.sub.beside", "by_the_first"),
        wanted=("packages_above_it.sub.target",),
    ),
    Case(
        "parents_of_what_is_imported",
        {
            "parents_of_what_is_imported.py": "import a.b.c\nfrom d.e.f import g",
            "a/__init__.py": "import by_a",
            "a/b/__init__.py": "from .beside import name",
            "a/b/beside.py": "",
            "a/b/c.py": "",
            "a/b/unused.py": "",
            "d/__init__.py": "",
            "d/e/__init__.py": "",
            "d/e/f.py": "g = 1",
            "by_a.py": "",
        },
        ("a", "a.b", "a.b.beside", "a.b.c", "by_a", "d", "d.e", "d.e.f"),
    ),
    Case(
        "relative_imports",
        {
            "relative_imports/__init__.py": "from . import of_package, NAME\nfrom .under import x",
            "relative_imports/of_package.py": "",
            "relative_imports/under/__init__.py": "from .inner import x\nfrom ..above import y",
            "relative_imports/under/inner.py": "",
            "relative_imports/above.py": "",
            "relative_imports/one/__init__.py": "",
            "relative_imports/one/two/__init__.py": "",
            "relative_imports/one/two/target.py": """
from .near import x
from . import nearer as renamed, nearest
from .. import up
from ..up_too.leaf import x
from ... import top
from ...top_too import x
def f():
    from . import late
    from ...one.two.later import x
""",
        }
        | {
            f"relative_imports/{name}.py": ""
            for name in (
                *("one/two/near", "one/two/nearer", "one/two/nearest", "one/up"),
                *("one/up_too/__init__", "one/up_too/leaf", "top", "top_too"),
                *("one/two/late", "one/two/later", "one/two/unused", "one/unused"),
            )
        }
        # What relative names would mean if they were taken for absolute ones.
        | empty(("near", "nearest", "up", "top", "late", "under", "of_package")),
        tuple(
            f"relative_imports.{name}"
            for name in (
                *("of_package", "under", "under.inner", "above", "one", "one.two"),
                *("one.two.near", "one.two.nearer", "one.two.nearest", "one.up", "one.up_too"),
                *("one.up_too.leaf", "top", "top_too", "one.two.late", "one.two.later"),
            )
        ),
        wanted=("relative_imports.one.two.target",),
    ),
    Case(
        "submodules_by_from",
        {
            "submodules_by_from.py": "from package import module, name, sub\nfrom plain import x",
            "package/__init__.py": "name = 1",
            "package/module.py": "import by_module",
            "package/sub/__init__.py": "",
            "package/sub/unused.py": "",
            "plain.py": "x = 1",
            "by_module.py": "",
        },
        ("package", "package.module", "package.sub", "plain", "by_module"),
    ),
    Case(
        "everything_by_star",
        {
            "everything_by_star.py": "from package import *",
            "package/__init__.py": "from .part import *",
            "package/part.py": "",
        },
        ("package", "package.part"),
    ),
    Case(
        "namespace_packages",
        {
            "one/namespace_packages/target.py": "import space.inner.leaf\nfrom space import other",
            "one/space/inner/leaf.py": "",
            "two/space/other.py": "import space.inner.more",
            "two/space/inner/more.py": "",
        },
        ("space", "space.inner", "space.inner.leaf", "space.inner.more", "space.other"),
        wanted=("namespace_packages.target",),
        search=("one", "two"),
    ),
    Case(
        "not_what_is_for_types_alone",
        {"not_what_is_for_types_alone.py": FOR_TYPES, "package/types_3.py": ""}
        | {"package/__init__.py": ""}
        | empty((*FOR_TYPES_NAMES, *FOR_TYPES_LEFT)),
        FOR_TYPES_NAMES,
    ),
    Case(
        "not_what_is_for_types_by_attribute",
        {
            "not_what_is_for_types_by_attribute.py": "import checks\n"
            "if checks.TYPE_CHECKING:\n    import types_1\nimport after\n"
            "def f():\n    if checks.TYPE_CHECKING:\n        import types_2\n    import later\n",
            "checks.py": "TYPE_CHECKING = False",
        }
        | empty(("types_1", "types_2", "after", "later")),
        ("checks", "after", "later"),
    ),
    Case(
        "not_what_is_for_types_in_a_long_block",
        {"not_what_is_for_types_in_a_long_block.py": LONG} | empty((*MANY, "after")),
        ("after",),
    ),
    Case(
        "names_of_high_numbers",
        {"names_of_high_numbers.py": FAR, "far/__init__.py": "", "far/away.py": ""}
        | empty(["farther"]),
        ("far", "far.away", "farther"),
    ),
    Case(
        "not_what_is_in_the_interpreter_or_is_an_extension",
        {
            "not_what_is_in_the_interpreter_or_is_an_extension.py": "import sys, posix, os, abc\n"
            "import marshal, _imp, _thread, importlib._bootstrap, zipimport\n"
            "import _own, package._own",
            "_own.abi3.so": "",
            "package/__init__.py": "",
            "package/_own.abi3.so": "",
        },
        ("package",),
    ),
    Case(
        "not_what_is_not_there",
        {
            "not_what_is_not_there.py": "try:\n    import no_such_module, no_such.module\n"
            "    from there import no_such, name\nexcept ImportError:\n    pass\n",
            "there.py": "name = 1",
        },
        ("there",),
    ),
    Case(
        "circles",
        {"circles.py": "import b", "b.py": "import c", "c.py": "import b, circles"},
        ("b", "c"),
    ),
    Case(
        "nothing_is_imported_to_find_it",
        {
            "nothing_is_imported_to_find_it/__init__.py": "import early\nraise SystemExit(3)",
            "nothing_is_imported_to_find_it/sub/__init__.py": "raise SystemExit(4)",
            "nothing_is_imported_to_find_it/sub/target.py": "import effects.deep, effects.deeper.x",
            "early.py": "raise KeyboardInterrupt",
            "effects/__init__.py": "import sys; sys.effects = 1; sys.path.clear(); raise OSError",
            "effects/deep.py": "raise SystemExit(5)",
            "effects/deeper/__init__.py": "raise SystemExit(6)",
            "effects/deeper/x.py": "raise SystemExit(7)",
        },
        (
            *("nothing_is_imported_to_find_it.sub", "early", "effects", "effects.deep"),
            *("effects.deeper", "effects.deeper.x"),
        ),
        wanted=("nothing_is_imported_to_find_it.sub.target",),
    ),
    Case(
        "not_what_this_python_cannot_compile",
        {
            "not_what_this_python_cannot_compile.py": "try:\n    import for_another_version\n"
            "except SyntaxError:\n    import fallback\n",
            "for_another_version.py": "print 'two'",
            "fallback.py": "",
        },
        ("fallback",),
    ),
)
REFUSALS = (
    Case("absent_target", {}, ()),
    Case("absent_module", {"absent_module.py": ""}, (), wanted=("absent_module", "no_such.deep")),
    Case(
        "extension_as_module",
        {"extension_as_module.py": "", "_own.abi3.so": ""},
        (),
        wanted=("extension_as_module", "_own"),
    ),
    Case("broken_target", {"broken_target.py": "def main(:"}, ()),
)


@pytest.fixture(scope="module")
def closures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Python], dict[str, Facts]]:
    """What each case comes to under a Python; they are all made in one process of it."""
    folder = tmp_path_factory.mktemp("closures")
    for case in (*CLOSURES, *REFUSALS):
        module_archives.lay_out(case, folder)
    cases = json.dumps([case.__dict__ for case in (*CLOSURES, *REFUSALS)])

    @functools.cache
    def closures(python: Python) -> dict[str, Facts]:
        words = [
            python.binary,
            "-s",
            "-P",
            "-B",
            ROOT / "tests/support/module_archives.py",
            folder,
            cases,
        ]
        return pythons.told(words, {"PYTHONPATH": str(ROOT)})

    return closures


Closures = Callable[[Python], dict[str, Facts]]


@each_python
@pytest.mark.parametrize("case", CLOSURES, ids=lambda case: case.name)
def test_what_travels(python: Python, case: Case, closures: Closures) -> None:
    facts = closures(python)[case.name]
    assert "error" not in facts, facts["error"]
    top = case.name  # the target itself, or the package that it is in
    assert set(facts["travel"]) == {top, *(case.wanted or ()), *case.travel}


@each_python
def test_the_tables_are_those_of_this_python(python: Python, closures: Closures) -> None:
    for facts in made(closures(python)):
        assert facts["version"] == python.version[0] << 8 | python.version[1]
        assert facts["there already"] == []
        assert facts["boots as runpy"]
        assert sorted({*facts["modules"], "runpy"}) == facts["in the file"]


@each_python
def test_what_the_boot_needs_is_in_every_bundle(python: Python, closures: Closures) -> None:
    encodings = {f"encodings.{name}" for name in ("aliases", "utf_8", "ascii", "latin_1")}
    for facts in made(closures(python)):
        assert {"encodings", "nsenter", "nsenter._inside.boot", *encodings} <= set(facts["modules"])


@each_python
def test_packages_are_told_from_modules(python: Python, closures: Closures) -> None:
    facts = closures(python)
    parents = facts["parents_of_what_is_imported"]
    assert set(parents["packages"]) == {
        "a",
        "a.b",
        "d",
        "d.e",
        "encodings",
        "nsenter",
        "nsenter._inside",
    }
    spaces = facts["namespace_packages"]["packages"]
    assert {"namespace_packages", "space", "space.inner"} <= set(spaces)


@each_python
def test_no_code_has_a_file_name_that_could_be_opened(python: Python, closures: Closures) -> None:
    for facts in made(closures(python)):
        assert facts["file names"]
        assert [n for n in facts["file names"] if n[:1] + n[-1:] != "<>"] == []


@each_python
def test_finding_modules_imports_none(python: Python, closures: Closures) -> None:
    assert [facts["imported"] for facts in made(closures(python)) if facts["imported"]] == []


@each_python
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("absent_target", ("ModuleNotFoundError", "'absent_target'")),
        ("absent_module", ("ModuleNotFoundError", "'no_such.deep'")),
        ("extension_as_module", ("ModuleNotFoundError", "'_own'", "extensions=")),
        ("broken_target", ("SyntaxError", "broken_target.py")),
    ],
)
def test_what_cannot_travel_is_refused_by_name(
    python: Python, case: str, words: tuple[str, ...], closures: Closures
) -> None:
    error = closures(python)[case]["error"]
    assert [word for word in words if word not in error] == []


def made(found: dict[str, Facts]) -> list[Facts]:
    """Those of a module archive."""
    return [facts for facts in found.values() if "error" not in facts]


# --- a tree of this process ---------------------------------------------------------------------

Tree = Callable[..., str]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Write a module of a name that no module archive has been made of yet; return the name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str = "") -> str:
        name = f"tree_{secrets.token_hex(6)}"
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return name

    return write


def test_a_missing_module_is_an_attribute_of_the_error_too() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        archive_for(["no_such_module_at_all"])
    assert caught.value.name == "no_such_module_at_all"


def test_a_module_that_is_there_the_second_time_is_found(tree: Tree, tmp_path: Path) -> None:
    late = f"late_{secrets.token_hex(6)}"
    with pytest.raises(ModuleNotFoundError, match=late):
        archive_for([late])
    (tmp_path / f"{late}.py").write_text("")
    importlib.invalidate_caches()
    assert late in archive_for([late]).modules


class _LoaderWithoutCode(importlib.abc.Loader):
    """As that of an import hook: it can execute a module, and has no get_code."""

    def exec_module(self, module: object) -> None:
        raise AssertionError("it was executed")


class _Finder:
    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        return importlib.machinery.ModuleSpec(name, _LoaderWithoutCode())


def test_a_target_whose_loader_has_no_code_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It must not travel as an empty module: then its function would be what is missed."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, _Finder("without_code")])
    with pytest.raises(ModuleNotFoundError, match="without_code"):
        archive_for(["without_code"])


def test_an_extension_that_is_none_is_refused_by_name(tree: Tree) -> None:
    name = tree()
    with pytest.raises(ValueError, match=f"{name}.*no C extension"):
        archive_for([], [name])
    with pytest.raises(ValueError, match="'no_such_extension'"):
        archive_for([], ["no_such_extension"])


# --- the memfd ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good() -> ModuleArchive:
    """One with a package, modules and an extension."""
    return archive_for(["takeover_targets", "nsenter._inside.pid1"], ["_cffi_backend"])


def test_a_bundle_is_what_its_file_holds(good: ModuleArchive) -> None:
    import _cffi_backend

    contents = module_archives.read(module_archives.content_of(good.fd))
    names = [module.name for module in contents.modules]
    assert contents.magic == module_archives.MAGIC
    assert contents.version == module_archives.VERSION
    assert len(set(names)) == len(names)
    assert set(names) == good.modules | {"runpy"}
    assert contents.extensions == tuple(good.extensions.values())
    assert good.extensions == {"_cffi_backend": os.path.realpath(_cffi_backend.__file__)}
    assert all(isinstance(code, CodeType) for code in contents.code().values())


def test_code_travels_as_it_was_but_for_its_file_names(good: ModuleArchive) -> None:
    import takeover_targets

    travelled = module_archives.read(module_archives.content_of(good.fd)).code()["takeover_targets"]
    source = Path(takeover_targets.__file__).read_text()
    name = f"<{takeover_targets.__file__}>"
    assert travelled == compile(source, name, "exec", dont_inherit=True)
    assert set(module_archives.file_names(travelled)) == {name}


def test_a_traceback_through_its_code_has_no_line_to_look_for(tree: Tree) -> None:
    name = tree("def outer():\n    def inner():\n        raise OSError\n    inner()\n")
    code = module_archives.read(module_archives.content_of(archive_for([name]).fd)).code()[name]
    space: dict[str, Any] = {}
    exec(code, space)
    try:
        space["outer"]()
    except OSError as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
    assert [frame.name for frame in frames] == ["outer", "inner"]
    assert [(frame.filename[0], frame.filename[-1], frame.line) for frame in frames] == [
        ("<", ">", "")
    ] * 2


def test_nobody_can_change_a_bundle(good: ModuleArchive) -> None:
    size = os.fstat(good.fd).st_size
    before = module_archives.content_of(good.fd)
    again = os.open(f"/proc/self/fd/{good.fd}", os.O_RDWR)
    try:
        for fd in (good.fd, again):
            for attempt in (
                lambda fd=fd: os.pwrite(fd, b"x", 0),
                lambda fd=fd: os.pwrite(fd, b"x", size),
                lambda fd=fd: os.ftruncate(fd, 0),
                lambda fd=fd: os.ftruncate(fd, size + 1),
                lambda fd=fd: os.posix_fallocate(fd, size, 4096),
                lambda fd=fd: mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
                lambda fd=fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0),
            ):
                with pytest.raises(PermissionError):
                    attempt()
    finally:
        os.close(again)
    assert module_archives.content_of(good.fd) == before


def test_a_bundle_is_sealed_whole(good: ModuleArchive) -> None:
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    assert fcntl.fcntl(good.fd, fcntl.F_GET_SEALS) & seals == seals


def test_a_bundle_is_not_inherited(good: ModuleArchive) -> None:
    assert fcntl.fcntl(good.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    done = subprocess.run(
        ["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, check=True
    )
    assert b"nsenter-archive" not in done.stdout


# --- once ---------------------------------------------------------------------------------------


def memfds() -> int:
    links = (fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
    return sum(str(link).startswith("/memfd:nsenter-archive") for link in links)


def test_a_bundle_is_made_once(tree: Tree) -> None:
    one, two = tree(), tree()
    first = archive_for([one, two])
    before = memfds()
    assert archive_for([two, one]) is first
    assert archive_for(iter((one, two, one)), ()) is first
    assert memfds() == before
    assert archive_for([one]) is not first
    assert archive_for([one, two], ["_cffi_backend"]) is not first


def test_threads_that_ask_at_once_get_the_same_bundle(tree: Tree) -> None:
    name = tree("import json, http.client, dataclasses\ndef f(): import asyncio, unittest.mock")
    before = memfds()
    barrier = threading.Barrier(8)
    found: list[ModuleArchive] = []

    def ask() -> None:
        barrier.wait()
        found.append(archive_for([name]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(archive) for archive in found}) == 1
    assert memfds() == before + 1


# --- booting one by hand ------------------------------------------------------------------------


@dataclass
class Boot:
    """What came of a boot: who reported what, what the init said, and how each process ended."""

    records: list[dict[str, Any]]
    said: bytes
    ends: list[int]  # as waitstatus_to_exitcode has it: a signal is negative
    stderr: str

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [record for record in self.records if record["type"] == "error"]

    @property
    def ran(self) -> bool:
        return {"type": "ready"} in self.records


def boot(content: bytes | int, extensions: dict[str, str] | None = None) -> Boot:
    """Start the real interpreter with the shim and a module archive, with the messages on the
    init pipe, but without the launcher; `takeover_targets:echo` is what it is to run.

    Args:
        content: of the module archive, or how many zero bytes it is, which take no memory.
    """
    with contextlib.ExitStack() as stack:
        archive = ModuleArchive(
            CachedDescriptor(lambda: memfd(content)), extensions or {}, frozenset()
        )
        stack.callback(os.close, archive.fd)
        channel, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.enter_context(channel)
        status, child_status = os.pipe()
        stack.callback(os.close, status)
        shim = command.open_shim()
        stack.callback(os.close, shim)
        stderr = stack.enter_context(tempfile.TemporaryFile())
        try:
            pids = [start(archive, child.fileno(), child_status, shim, stderr.fileno())]
            needed = sorted({child.fileno(), child_status})
            kept = ",".join(map(str, [0, 1, 2, *needed]))
        finally:
            child.close()
            os.close(child_status)
        send(channel, archive, kept)
        records, said = listen(channel, status, pids)
        channel.close()  # whatever still runs has nothing to wait for
        ends = [end_of(pid) for pid in pids]
        stderr.seek(0)
        return Boot(records, said, ends, stderr.read().decode(errors="replace"))


def memfd(content: bytes | int) -> int:
    if isinstance(content, bytes):
        return sealed_memfd("made-by-hand", content, executable=False)
    fd = os.memfd_create("made-by-hand")
    os.ftruncate(fd, content)
    return fd


def start(archive: ModuleArchive, channel: int, status: int, shim: int, stderr: int) -> int:
    fds = command.BootFds(channel, status, archive.fd, shim)
    environment = {
        **command.boot_environment(fds, {}),
        b"_LIBCONTAINER_INITPIPE": b"%d" % channel,
        b"_NSENTER_STATUS": b"%d" % status,
    }
    keep = set(fds.__dict__.values())
    executable = os.fsencode(command.interpreter_path())
    spawn = Spawn(command.boot_argv(), environment, (0, 1, stderr), keep, executable)
    pid, pidfd = spawn.run()
    os.close(pidfd)
    return pid


def send(channel: socket.socket, archive: ModuleArchive, kept: str) -> None:
    """The three messages: no namespaces at all, the descriptors, what to run."""
    settings: list[tuple[int, int | bytes]] = [
        (int(LaunchAttribute.MOUNT_PROC), 0),
        (int(LaunchAttribute.KEEP_FDS), kept.encode()),
        (int(LaunchAttribute.TIMEOUT), 5000),
        (int(LaunchAttribute.TRACE), 0),
    ]
    body = command.encode_init_config("takeover_targets:echo", ["echo"], ("hello",), {}, archive)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was refused already
        channel.sendall(BootstrapData().encode() + codec.encode(settings, codec.LAUNCH) + body)


def listen(
    channel: socket.socket, status: int, pids: list[int]
) -> tuple[list[dict[str, Any]], bytes]:
    """Hear both pipes to their ends; adds stage 2 to the pids. Kills all that takes too long."""
    reported, said = b"", b""
    deadline = time.monotonic() + SECONDS
    open_ends = [channel.fileno(), status]
    while open_ends:
        ready, _, _ = select.select(open_ends, [], [], max(0, deadline - time.monotonic()))
        if not ready:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"it hangs: {reported!r} {said!r}")
        for fd in ready:
            part = os.read(status, 1 << 16) if fd == status else receive(channel, pids)
            if not part:
                open_ends.remove(fd)
            reported, said = (reported + part, said) if fd == status else (reported, said + part)
    return [json.loads(line) for line in reported.splitlines()], said


def receive(channel: socket.socket, pids: list[int]) -> bytes:
    """What comes, without the stages' own."""
    try:
        data, fds, _, _ = socket.recv_fds(channel, 1 << 16, 1)
    except ConnectionResetError:  # it ended with our messages unread
        return b""
    for fd in fds:
        os.close(fd)
    reply = data.lstrip(b"\0")
    if fds:
        line, _, reply = reply.partition(b"\n")
        pids.append(json.loads(line)["stage2_pid"])
    return reply or (receive(channel, pids) if data else b"")


def end_of(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.fixture(scope="module")
def contents(good: ModuleArchive) -> Contents:
    """Of a good archive, without its extension."""
    return replace(module_archives.read(module_archives.content_of(good.fd)), extensions=())


def assert_it_boots(result: Boot) -> None:
    assert (result.errors, result.stderr) == ([], "")
    assert (result.ran, result.said) == (True, b"('hello',)\n")
    assert result.ends == [0, 0]


def test_a_bundle_by_another_writer_boots(contents: Contents) -> None:
    assert_it_boots(boot(module_archives.write(contents)))


def test_the_order_of_the_modules_does_not_matter(contents: Contents) -> None:
    modules = list(contents.modules)
    random.Random(1).shuffle(modules)
    assert_it_boots(boot(module_archives.write(replace(contents, modules=tuple(modules)))))


def test_zeroes_behind_the_end_do_not_matter(contents: Contents) -> None:
    assert_it_boots(boot(module_archives.write(contents) + bytes(1 << 16)))


def test_a_bundle_without_what_the_boot_needs_ends_by_itself(contents: Contents) -> None:
    modules = tuple(m for m in contents.modules if not m.name.startswith("encodings"))
    result = boot(module_archives.write(replace(contents, modules=modules)))
    assert not result.ran
    assert min(result.ends) >= 0
    assert "encodings" in result.stderr


# --- archives that are refused -------------------------------------------------------------------


def patched(content: bytes, offset: int, *numbers: int) -> bytes:
    """With u32s from an offset on."""
    data = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
    return content[:offset] + data + content[offset + len(data) :]


MODULES_AT, EXTENSIONS_AT, VERSION_AT, LATE_AT = 8, 12, 16, 20
NAME_AT, CODE_AT, SIZE_AT = (module_archives.HEADER.size + 4 * i for i in range(3))

Make = Callable[[Contents], bytes | int]


def with_extension(contents: Contents, path: str = "/x") -> bytes:
    return module_archives.write(replace(contents, extensions=(path,)))


def name_without_nul(contents: Contents) -> bytes:
    """A name at the very end, where nothing ends it."""
    content = module_archives.write(contents) + b"encodings"
    return patched(content, NAME_AT, len(content) - 9)


def path_at(contents: Contents, where: Callable[[bytes], int]) -> bytes:
    content = with_extension(contents) + b"/unended.so"
    return patched(content, contents.tables_end, where(content))


IMPOSSIBLE = "its size is impossible"
TABLES = "its tables run past the end"
MODULE = "a module lies outside it"
PATH = "an extension's path lies outside it"

REFUSED: dict[str, tuple[Make, str]] = {
    "an empty file": (lambda _: b"", IMPOSSIBLE),
    "one byte": (lambda _: b"n", IMPOSSIBLE),
    "a header cut short": (
        lambda c: module_archives.write(c)[: module_archives.HEADER.size - 1],
        IMPOSSIBLE,
    ),
    "2 GiB of nothing": (lambda _: 2 << 30, "its magic is another version's"),
    "4 GiB of nothing": (lambda _: 4 << 30, IMPOSSIBLE),
    "another magic": (
        lambda c: module_archives.write(replace(c, magic=b"nsxbndl2")),
        "its magic is another version's",
    ),
    "a header alone": (lambda c: module_archives.write(c)[: module_archives.HEADER.size], TABLES),
    "tables cut short": (lambda c: module_archives.write(c)[: c.tables_end - 1], TABLES),
    "more modules than there is room for": (
        lambda c: patched(
            module_archives.write(c), MODULES_AT, len(module_archives.write(c)) // 16 + 1
        ),
        TABLES,
    ),
    "as many modules as a number can say": (
        lambda c: patched(module_archives.write(c), MODULES_AT, 0xFFFFFFFF),
        TABLES,
    ),
    "a count that is 0 in 32 bits": (  # 16 bytes times this
        lambda c: patched(module_archives.write(c), MODULES_AT, 0x10000000),
        TABLES,
    ),
    "more extensions than there is room for": (
        lambda c: patched(
            module_archives.write(c), EXTENSIONS_AT, len(module_archives.write(c)) // 4 + 1
        ),
        TABLES,
    ),
    "as many extensions as a number can say": (
        lambda c: patched(module_archives.write(c), EXTENSIONS_AT, 0xFFFFFFFF),
        TABLES,
    ),
    "both counts at their highest": (
        lambda c: patched(module_archives.write(c), MODULES_AT, 0xFFFFFFFF, 0xFFFFFFFF),
        TABLES,
    ),
    "more late extensions than extensions": (
        lambda c: patched(module_archives.write(c), LATE_AT, 0xFFFFFFFF),
        "more late extensions than extensions",
    ),
    "a name past the end": (
        lambda c: patched(module_archives.write(c), NAME_AT, len(module_archives.write(c))),
        MODULE,
    ),
    "a name far past the end": (
        lambda c: patched(module_archives.write(c), NAME_AT, 0xFFFFFFFF),
        MODULE,
    ),
    "a name without a NUL": (name_without_nul, MODULE),
    "code past the end": (
        lambda c: patched(module_archives.write(c), CODE_AT, len(module_archives.write(c)) + 1),
        MODULE,
    ),
    "a size past the end": (
        lambda c: patched(module_archives.write(c), SIZE_AT, len(module_archives.write(c))),
        MODULE,
    ),
    "a size that goes round": (
        lambda c: patched(module_archives.write(c), SIZE_AT, 0xFFFFFFFF),
        MODULE,
    ),
    "the last module past the end": (
        lambda c: patched(module_archives.write(c), c.tables_end - 12, 0xFFFFFFF0),
        MODULE,
    ),
    "an extension's path past the end": (lambda c: path_at(c, len), PATH),
    "an extension's path far past the end": (lambda c: path_at(c, lambda _: 0xFFFFFFFF), PATH),
    "an extension's path without a NUL": (lambda c: path_at(c, lambda data: len(data) - 11), PATH),
}


def assert_refused(result: Boot, operation: str, subject: str, number: int) -> None:
    """One error, by name; nothing has run, and nothing is left."""
    assert (result.said, result.stderr, result.ends) == (b"", "", [1])
    [record] = result.records
    assert record["type"] == "error"
    assert record["stage"] == "parent"
    assert record["operation"] == operation
    assert subject in record["subject"]
    assert record["errno"] == number


@pytest.mark.parametrize("name", REFUSED)
def test_a_corrupt_bundle_is_refused_by_name(name: str, contents: Contents) -> None:
    make, reason = REFUSED[name]
    assert_refused(boot(make(contents)), "read the module archive:", reason, errno.EBADMSG)


def test_a_table_for_another_version_is_refused_by_name(contents: Contents) -> None:
    """Its entries are of another size, or its code is: the interpreter would jump anywhere."""
    content = module_archives.write(replace(contents, version=contents.version + 1))
    assert_refused(boot(content), "read the module archive:", "version", errno.EBADMSG)


def test_an_extension_that_is_not_there_is_refused_by_name(contents: Contents) -> None:
    path = "/no/such/folder/_extension.abi3.so"
    assert_refused(boot(with_extension(contents, path)), "dlopen", path, errno.ELIBACC)


def test_an_extension_that_is_no_library_is_refused_by_name(
    contents: Contents, tmp_path: Path
) -> None:
    library = tmp_path / "_extension.abi3.so"
    library.write_text("not a library")
    result = boot(with_extension(contents, str(library)))
    assert_refused(result, "dlopen", str(library), errno.ELIBACC)


class Handed(PythonInit):
    """A target that takes the descriptor of its archive as its argument."""

    def archive(self) -> ModuleArchive:
        [fd] = self.args
        assert isinstance(fd, int)
        return ModuleArchive(CachedDescriptor(lambda: fd), {}, frozenset())


def refusal(fd: int) -> BootstrapError:
    with pytest.raises(BootstrapError) as caught:
        launch(BootstrapData(), Handed("takeover_targets:echo", args=(fd,)))
    return caught.value


def test_the_caller_of_launch_is_told(contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSENTER_IMAGE", "off")  # from an image, it is stage 2 that opens it
    fd = memfd(patched(module_archives.write(contents), NAME_AT, 0xFFFFFFFF))
    try:
        error = refusal(fd)
    finally:
        os.close(fd)
    assert (error.stage, error.operation, error.subject, error.errno) == (
        *("parent", "read the module archive:", MODULE, errno.EBADMSG),
    )


def test_a_descriptor_that_is_no_file_is_refused_by_name() -> None:
    reader, writer = os.pipe()
    try:
        assert refusal(reader).subject == IMPOSSIBLE
    finally:
        os.close(reader)
        os.close(writer)


# --- bytes at random ----------------------------------------------------------------------------


def mutated(contents: Contents, seed: int) -> bytes:
    """A good archive with up to three bytes of its header or tables changed."""
    generator = random.Random(seed)
    content = bytearray(module_archives.write(contents))
    for _ in range(generator.randint(1, 3)):
        content[generator.randrange(contents.tables_end)] ^= generator.randint(1, 255)
    return bytes(content)


@pytest.mark.parametrize("seed", range(60))
def test_a_mutated_bundle_is_refused_or_boots(seed: int, good: ModuleArchive) -> None:
    contents = module_archives.read(module_archives.content_of(good.fd))
    result = boot(mutated(contents, seed), good.extensions)
    assert min(result.ends) >= 0, (result.ends, result.stderr)
    if not result.ran:
        # The shim refuses it, or boot.py misses the target, or the interpreter its encodings.
        assert result.errors or result.stderr
        assert 1 in result.ends


MANY_NAMES = "".join(f"x{n} = {n}.5\n" for n in range(300))


@pytest.mark.parametrize(
    "source",
    [
        "import a.b, c as d",
        "from . import a, b",
        "from ...a import (b, c)",
        "from a import *",
        "def f():\n    import a\n    class C:\n        from .b import c",
        "x and __import__('a')\nimport b",
        f"{MANY_NAMES}import a\nfrom ..b import c, d\nimport e.f as g",
    ],
)
def test_imports_are_read_as_dis_tells_them(source: str) -> None:
    """Also with more than 256 names and constants before them."""
    for part in archive._parts(compile(source, "<test>", "exec"), functions=True):
        read = archive._read(part)
        assert read == [*archive._disassembled(part)] or not archive._IS_KNOWN


def test_imports_of_the_standard_library_are_read_as_dis_tells_them() -> None:
    count = 0
    for name in (
        "argparse",
        "asyncio.base_events",
        "decimal",
        "inspect",
        "os",
        "ssl",
        "subprocess",
    ):
        module = importlib.import_module(name)
        code = compile(Path(module.__file__ or "").read_bytes(), name, "exec")
        for part in archive._parts(code, functions=True):
            told = [*archive._disassembled(part)]
            assert archive._read(part) == told or not archive._IS_KNOWN
            count += len(told)
    assert count > 50


@pytest.mark.parametrize("name", ["importlib.util", "runpy", "os", "codecs", "importlib.machinery"])
def test_what_a_frozen_module_imports_comes_along(name: str) -> None:
    """The interpreter has the module itself, but not all that it imports."""
    imported = archive.imported_by(_imp.get_frozen_object(name), name.rpartition(".")[0])
    missing = imported - archive.archive_for([name]).modules
    assert not [each for each in missing if (archive.origin_of(each) or "").endswith(".py")]
