"""The installed package has all its files, and its metadata and names are consistent."""

from __future__ import annotations

import ast
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import nsenter

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", nsenter.__all__)  # type: ignore[attr-defined]
def test_each_public_name_can_be_imported(name: str) -> None:
    assert getattr(nsenter, name).__module__.startswith("nsenter.")


def test_the_stub_file_lists_the_same_names() -> None:
    tree = ast.parse((ROOT / "nsenter" / "__init__.pyi").read_text())
    imported = {
        (alias.name, node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    modules = {(name, "nsenter") for name in nsenter._MODULES}  # type: ignore[attr-defined]
    assert imported == {*nsenter._HOMES.items(), *modules}  # type: ignore[attr-defined]


def test_modules_that_people_want_need_no_import_of_their_own() -> None:
    for name in nsenter._MODULES:  # type: ignore[attr-defined]
        script = f"import nsenter; print(nsenter.{name}.__name__)"
        said = subprocess.check_output([sys.executable, "-c", script], text=True)
        assert said == f"nsenter.{name}\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        nsenter.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_another_system_is_refused_by_name() -> None:
    script = "import sys; sys.platform = 'darwin'; import nsenter"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert "ImportError: nsenter needs Linux" in done.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a copy: a build in the checkout would race with whoever else builds there."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in _files_of_the_checkout():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    script = "from setuptools import build_meta; print(build_meta.build_sdist('..'))"
    subprocess.run(
        [sys.executable, "-c", script], cwd=folder / "source", check=True, capture_output=True
    )
    (found,) = folder.glob("*.tar.gz")
    return found


def _files_of_the_checkout() -> list[str]:
    """Those that git knows; where git or its folder is missing, those that look like sources."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    top = ("csrc", "nsenter", "pylib", "tests", "docs", "benchmarks", ".ci")
    paths = [path for name in top for path in (ROOT / name).rglob("*")]
    paths += [path for path in ROOT.iterdir() if not path.name.startswith(".venv")]
    # Other workers write bytecode meanwhile, at first under another name.
    paths = [path for path in paths if "__pycache__" not in path.parts]
    built = (".so", ".o")
    kept = [path for path in paths if path.is_file() and path.suffix not in built]
    made = {"nsenter/_nsexec.c", "nsenter/_libseccomp.py", "nsenter/nsinit"}
    return [name for path in kept if (name := str(path.relative_to(ROOT))) not in made]


def test_the_sdist_has_all_that_the_checkout_has(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(_files_of_the_checkout()) <= names
    assert not {"nsenter/_nsexec.c", "nsenter/_libseccomp.py", "nsenter/nsinit"} & names


@pytest.mark.sweep
def test_the_wheel_of_the_sdist_fits_every_python(sdist: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
         *("--disable-pip-version-check", "-q", "-w", str(tmp_path), str(sdist))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.whl")
    assert path.name.startswith(f"pynsenter-{nsenter.__version__}-cp311-abi3-linux_")
    scripts = f"pynsenter-{nsenter.__version__}.data/scripts"
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        program, start = (wheel.read(f"{scripts}/{name}") for name in ("pyrunc", "pyrunc-start"))
    products = {"nsenter/_nsexec.abi3.so", "nsenter/_shim.so", "nsenter/nsinit"}
    assert products | {"nsenter/py.typed", "nsenter/__init__.pyi", "nsenter/_nsexec.pyi"} <= names
    data = f"pynsenter-{nsenter.__version__}.data/data/share/man"
    assert {f"{data}/man1/pynsenter.1", f"{data}/man8/pyrunc.8"} <= names
    assert program.startswith(b"\x7fELF")
    assert start.startswith(b"#!python\n")  # where the installer writes the path of its own
    assert str(ROOT).encode() not in start
    assert f"python{sys.version_info[0]}.{sys.version_info[1]}".encode() not in program


def test_there_is_one_version() -> None:
    scripts = Path(sys.executable).parent
    said = {
        importlib.metadata.version("pynsenter"),
        subprocess.check_output([scripts / "pyrunc", "--version"], text=True).split()[2],
        subprocess.check_output([scripts / "pynsenter", "--version"], text=True).split()[1],
    }
    assert said == {nsenter.__version__}


# --- the other distribution, which is called nsenter and has a package nsenter -------------------

CURE = "pip install --force-reinstall --no-deps pynsenter"
IMPORTS = [
    "nsenter.popen",
    "nsenter.presets",
    "nsenter._host.syscalls",
    "nsenter.__main__",
    "libcontainer",
]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory of packages with ours."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "nsenter", tmp_path / "nsenter", ignore=ignored)
    shutil.copytree(ROOT / "pylib/libcontainer", tmp_path / "libcontainer", ignore=ignored)
    return tmp_path


def _python(site: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that imports what is there, and nothing of this checkout but cffi."""
    import _cffi_backend

    path = [str(site), str(Path(_cffi_backend.__file__).parent)]
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += {path}\n{script}"],
        capture_output=True, text=True, check=False, cwd=site,
    )  # fmt: skip


@pytest.mark.parametrize("name", IMPORTS)
@pytest.mark.parametrize("state", ["replaced", "removed", "hidden"])
def test_another_package_of_this_name_is_noticed(site: Path, name: str, state: str) -> None:
    """Installed over ours, uninstalled from over ours, or in front of ours in the path."""
    script = f"import {name}"
    if state == "replaced":
        (site / "nsenter/__init__.py").write_text("class Namespace: pass\n")
    elif state == "removed":
        (site / "nsenter/__init__.py").unlink()
    else:
        (site / "front/nsenter").mkdir(parents=True)
        (site / "front/nsenter/__init__.py").write_text("class Namespace: pass\n")
        script = f"sys.path.insert(0, {str(site / 'front')!r}); import libcontainer"
    done = _python(site, script)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "pip uninstall nsenter" in last and CURE in last
    assert str(site) in last or state == "removed"


def test_another_distribution_of_this_name_is_warned_of(site: Path) -> None:
    """Ours works, until the other is uninstalled."""
    (site / "nsenter-0.2.dist-info").mkdir()
    done = _python(site, "import nsenter; print(nsenter.Options().__class__, nsenter.run.__name__)")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: the distribution 'nsenter' 0.2 is installed in") == 1
    assert CURE in done.stderr
