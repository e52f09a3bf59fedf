"""What is installed, and what it says of itself."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nsenter

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", nsenter.__all__)
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
    modules = {(name, "nsenter") for name in nsenter._MODULES}
    assert imported == {*nsenter._HOMES.items(), *modules}


def test_modules_that_people_want_need_no_import_of_their_own() -> None:
    for name in nsenter._MODULES:
        script = f"import nsenter; print(nsenter.{name}.__name__)"
        said = subprocess.check_output([sys.executable, "-c", script], text=True)
        assert said == f"nsenter.{name}\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        nsenter.nonsense  # noqa: B018


def test_another_system_is_refused_by_name() -> None:
    script = "import sys; sys.platform = 'darwin'; import nsenter"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert "ImportError: nsenter needs Linux" in done.stderr


def test_a_wheel_has_the_three_products_and_fits_every_python(tmp_path: Path) -> None:
    source = tmp_path / "source"
    # A copy: a build in the checkout would race with whoever else builds there.
    for name in ("csrc", "nsenter", "pylib"):
        (source / name).mkdir(parents=True)
        for path in (ROOT / name).rglob("*"):
            if path.suffix in (".c", ".h", ".py", ".pyi", ".typed") and path.name != "_nsexec.c":
                target = source / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [*(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
         *("--disable-pip-version-check", "-q", "-w", str(tmp_path), str(source))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert "-cp311-abi3-linux_" in wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    products = {"nsenter/_nsexec.abi3.so", "nsenter/_shim.so", "nsenter/nsinit"}
    assert products | {"nsenter/py.typed", "nsenter/__init__.pyi", "nsenter/_nsexec.pyi"} <= names
