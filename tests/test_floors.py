"""The floors: no layer of the project imports or includes a higher one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CSRC = ROOT / "csrc"


def _sources() -> dict[str, object]:
    names: dict[str, object] = {"__name__": "sources"}
    exec((CSRC / "sources.py").read_text(), names)
    return names


SOURCES = _sources()
FLOORS: tuple[str, ...] = SOURCES["FLOORS"]  # type: ignore[assignment]
FILES = sorted(path.relative_to(CSRC) for path in CSRC.glob("*/*.[ch]"))


def test_each_folder_of_the_c_is_a_floor() -> None:
    assert {path.parts[0] for path in FILES} == {*FLOORS}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_includes_headers_of_its_floor_and_of_lower_ones(file: Path) -> None:
    included = re.findall(r'#include "(.+)"', (CSRC / file).read_text())
    below = FLOORS[: FLOORS.index(file.parts[0]) + 1]
    assert [name for name in included if name.partition("/")[0] not in below] == []
    assert [name for name in included if not (CSRC / name).is_file()] == []


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_includes_its_own_header_then_the_systems_then_ours_by_floor(file: Path) -> None:
    included = re.findall(r"^#include (<.+>|\".+\")", (CSRC / file).read_text(), re.MULTILINE)
    own = f'"{file.with_suffix(".h")}"'
    assert own not in included[1:]
    others = [name for name in included if name != own]
    assert others == sorted(others, key=_place_of_header)


def _place_of_header(name: str) -> tuple[int, str]:
    is_ours = name.startswith('"')
    return (1 + FLOORS.index(name[1:].partition("/")[0]) if is_ours else 0, name)


def test_each_file_is_of_a_product() -> None:
    products: dict[str, list[str]] = SOURCES["PRODUCTS"]  # type: ignore[assignment]
    listed = {name for names in products.values() for name in names}
    assert listed == {str(path) for path in FILES if path.suffix == ".c"}


def test_the_list_of_a_product_is_printed() -> None:
    script = [sys.executable, str(CSRC / "sources.py"), "codec", "dump"]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "csrc/base/text.c"
    assert done.stdout.split()[-1] == "csrc/interpreter/dump.c"
