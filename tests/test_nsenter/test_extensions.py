"""C extensions work in a root without files if they can be sent; errors name the others."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from needs import needs
from nsenter import BootstrapError, Caller, Options
from nsenter._interpreter.module_archive import pythons_own

EMPTY = Options(new="all", root="tmpfs", proc=False)
MEMORY = Caller(EMPTY, files=False, timeout=120)

SOURCE = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>

extern int not_defined_anywhere(void);

static void *idle(void *nothing)
{
	for (;;)
		pause();
	return nothing;
}

__attribute__((constructor)) static void construct(void)
{
	pthread_t thread;

	if (%(calls_python)d && !Py_IsInitialized())
		abort();
	if (%(starts_a_thread)d)
		pthread_create(&thread, NULL, idle, NULL);
#if %(lacks_a_symbol)d
	not_defined_anywhere();
#endif
}

static struct PyModuleDef definition = { PyModuleDef_HEAD_INIT, .m_name = "%(name)s" };

PyMODINIT_FUNC PyInit_%(name)s(void)
{
	return PyModuleDef_Init(&definition);
}
"""
KINDS = ("calls_python", "starts_a_thread", "lacks_a_symbol")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package of such extensions, which tries to import each."""
    gcc = needs("gcc", package="gcc")
    top = tmp_path_factory.mktemp("extensions")
    folder = top / "with_extensions"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    include = f"-I{sysconfig.get_path('include')}"
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for name in KINDS:
        source = folder / f"{name}.c"
        source.write_text(SOURCE % {**dict.fromkeys(KINDS, 0), name: 1, "name": name})
        target = folder / f"{name}{suffix}"
        words = [gcc, "-shared", "-fPIC", "-pthread", include, source, "-o", target]
        subprocess.run(words, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(top)
        yield folder


def calls_python() -> str:
    from with_extensions import calls_python  # type: ignore[import-not-found]

    name: str = calls_python.__name__
    return name


def starts_a_thread() -> str:
    from with_extensions import calls_python

    try:
        import with_extensions.starts_a_thread  # noqa: F401
    except ImportError as error:
        return f"{calls_python.__name__}, {error}"
    return "it was imported"


def lacks_a_symbol() -> str:
    try:
        import with_extensions.lacks_a_symbol  # noqa: F401
    except ImportError as error:
        return str(error)
    return "it was imported"


@pytest.mark.usefixtures("package")
def test_one_that_calls_python_when_it_is_loaded_works() -> None:
    """It would crash a Python that does not run yet."""
    assert MEMORY.call(calls_python) == "with_extensions.calls_python"


@pytest.mark.usefixtures("package")
def test_one_that_starts_threads_is_left_out_and_named_when_it_is_imported() -> None:
    told = MEMORY.call(starts_a_thread)
    assert told == (
        "with_extensions.calls_python, 'with_extensions.starts_a_thread', a C extension, cannot "
        "be loaded in a root without files: it starts threads, which cannot go through clone"
    )


@pytest.mark.usefixtures("package")
def test_one_that_cannot_be_loaded_is_left_out_and_named_when_it_is_imported() -> None:
    told = MEMORY.call(lacks_a_symbol)
    assert "'with_extensions.lacks_a_symbol', a C extension, cannot be loaded" in told
    assert "undefined symbol: not_defined_anywhere" in told


@pytest.mark.usefixtures("package")
def test_one_that_was_asked_for_is_an_error_of_the_start() -> None:
    named = MEMORY.replace(extensions=["with_extensions.lacks_a_symbol"])
    with pytest.raises(BootstrapError, match="not_defined_anywhere"):
        named.call(lacks_a_symbol)


@pytest.mark.usefixtures("package")
def test_from_files_each_is_imported_that_python3_imports() -> None:
    assert Caller().call(starts_a_thread) == "it was imported"


def execute(code: str) -> str:
    names: dict[str, str] = {}
    exec(code, names)
    return names["found"]


def test_pythons_own_come_along() -> None:
    names = sorted(pythons_own())
    code = "\n".join(["found = 0", *(f"import {name}; found += 1" for name in names)])
    assert MEMORY.call(execute, code) == len(names)
    assert MEMORY.call(execute, "import math, datetime, struct; found = math.sqrt(4)") == 2.0


def test_a_module_whose_name_is_no_identifier_comes() -> None:
    name = sysconfig._get_sysconfigdata_name()  # type: ignore[attr-defined]
    assert "-" in name
    code = "import sysconfig; found = sysconfig.get_config_var('EXT_SUFFIX')"
    assert MEMORY.call(execute, code) == sysconfig.get_config_var("EXT_SUFFIX")


def test_the_advice_helps() -> None:
    """That of a package that this process has imported already, as that is no help."""
    import numpy

    code = "import numpy; found = numpy.ones(2).sum().item()"
    assert "numpy" in sys.modules
    with pytest.raises(ImportError) as caught:
        MEMORY.call(execute, code)
    told = f"{caught.value} {caught.value.__cause__}"
    assert "name its package in modules=" in told
    assert "import it before the call" not in told
    assert MEMORY.replace(modules=["numpy"]).call(execute, code) == numpy.ones(2).sum()


# ---- data files of packages


def ca_bundle() -> tuple[bytes, bool]:
    import importlib.resources

    import certifi  # its code comes in the module archive

    file = importlib.resources.files(certifi) / "cacert.pem"
    return file.read_bytes()[:100], (importlib.resources.files(certifi) / "none").is_file()


def test_data_of_a_package_is_read_on_demand() -> None:
    import certifi

    assert MEMORY.call(ca_bundle) == (Path(certifi.where()).read_bytes()[:100], False)


def ask_for_data(package: str, path: str) -> str:
    import sys

    fetch = sys.meta_path[-1]._fetch  # type: ignore[attr-defined, union-attr]
    try:
        found = fetch(package, path)
    except FileNotFoundError as error:
        return str(error)
    return "sent" if found else "empty"


@pytest.mark.parametrize(
    ("package", "path", "told"),
    [
        ("certifi", "cacert.pem", "sent"),
        ("certifi", "", "sent"),
        ("certifi", "../numpy/__init__.py", "is not in the package"),
        ("certifi", "/etc/passwd", "is not in the package"),
        ("certifi", "none", "no data file"),
        ("with_extensions", "calls_python.c", "no package that is installed"),
        ("nsenter", "__init__.pyi", "no package that is installed"),
        ("os", "os.py", "no package that is installed"),
        ("no_such_package", "x", "no package that is installed"),
        ("", "x", "no package that is installed"),
        ("certifi", "\0", "Errno|null"),
    ],
)
@pytest.mark.usefixtures("package")
def test_an_enemy_gets_no_other_file(package: str, path: str, told: str) -> None:
    """An editable install and the folder of a script are no packages that are installed."""
    assert re.search(told, MEMORY.call(ask_for_data, package, path))


def test_nothing_is_sent_if_nothing_is_to_be() -> None:
    told = MEMORY.replace(imports=False).call(ask_for_data, "certifi", "cacert.pem")
    assert "is not along" in told


NUMPY = """
from nsenter import Caller, Options

def load():
    import uses_numpy

try:
    Caller(Options(new="all", root="tmpfs", proc=False), files=False).call(load)
except ImportError as error:
    print(error, error.__cause__)
"""


def test_a_package_that_looks_for_its_files_says_what_is_missing(tmp_path: Path) -> None:
    """numpy lists its folder when it cannot import an extension, and failed at that."""
    script = tmp_path / "script.py"
    script.write_text(NUMPY)
    (tmp_path / "uses_numpy.py").write_text("import numpy\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert "name its package in modules=" in done.stdout, done


def path_of_a_package() -> list[str]:
    import json.decoder

    return list(json.__path__)


def test_a_package_from_memory_has_no_folder() -> None:
    assert MEMORY.call(path_of_a_package) == []
