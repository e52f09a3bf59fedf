# SPDX-License-Identifier: Apache-2.0
"""The C code follows rules that neither the compiler nor clang-format checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).parent.parent / "csrc"
FILES = sorted(path.relative_to(CSRC) for path in CSRC.glob("*/*.[ch]"))

_NOT_CODE = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)


def _code(text: str) -> str:
    """Return the text without comments and literals, line by line as before."""
    return _NOT_CODE.sub(lambda found: "\n" * found[0].count("\n"), text)


def _nested_conditionals(text: str) -> list[int]:
    """Return the numbers of the lines in which a conditional operator begins inside another."""
    lines, line = [], 1
    open_in = [False]  # for each bracket around this place: whether a conditional has begun in it
    for character in _code(text):
        if character == "\n":
            line += 1
        elif character in "([{":
            open_in.append(False)
        elif character in ")]}":
            del open_in[-1:]
            open_in[-1] &= character != "}"
        elif character in ",;":
            open_in[-1] = False
        elif character == "?":
            lines += [line] if any(open_in) else []
            open_in[-1] = True
    return lines


def _bare_flags(text: str) -> list[str]:
    """Return the calls with `true` or `false` as an argument: a name would say what it means."""
    return re.findall(r"\w+\((?:[^(){};]*,)?\s*(?:true|false)\s*[,)]", _code(text))


def _owners_without_value(text: str) -> list[str]:
    """Return the OWNED_FD variables without a value: any number would be closed."""
    found = []
    for declared in re.findall(r"^\s*OWNED_FD ([^;]+);", _code(text), re.MULTILINE):
        while declared != (outside := re.sub(r"\([^()]*\)", "", declared)):
            declared = outside
        found += [variable for variable in declared.split(",") if "=" not in variable]
    return found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = b ? c : d;\ne = f ? g : h;", []),
        ("call(a ? b : c, d ? e : f);", []),
        ("a = b ? c :\nd ? e : f;", [2]),
        ("a = b ? call(c ? d : e) : f;", [1]),
        ("a = b ? \"?\" : '?'; /* ? : */", []),
    ],
)
def test_a_nested_conditional_is_found(text: str, lines: list[int]) -> None:
    assert _nested_conditionals(text) == lines


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_conditional_operator_is_nested(file: Path) -> None:
    assert _nested_conditionals((CSRC / file).read_text()) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("call(a, true);", 1),
        ("call(false, a);", 1),
        ("call(true);", 1),
        ("call(a, is_true);", 0),
        ("X(a, false, B)", 1),
        ("return true;", 0),
        ("(struct a){ .b = true, }", 0),
    ],
)
def test_a_bare_flag_is_found(text: str, count: int) -> None:
    assert len(_bare_flags(text)) == count


@pytest.mark.parametrize("file", FILES, ids=str)
def test_flags_have_names_in_calls(file: Path) -> None:
    found = _bare_flags((CSRC / file).read_text())
    # The table of fields has defaults.
    assert [call for call in found if not call.startswith("X(")] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("OWNED_FD fd = -1;", 0),
        ("OWNED_FD a = -1, b = -1;", 0),
        ("OWNED_FD fd;", 1),
        ("OWNED_FD fd = f(a, g(b), c);", 0),
        ("OWNED_FD a = -1, b;", 1),
    ],
)
def test_an_owner_without_a_value_is_found(text: str, count: int) -> None:
    assert len(_owners_without_value(text)) == count


@pytest.mark.parametrize("file", FILES, ids=str)
def test_each_owner_of_a_descriptor_has_a_value_from_the_start(file: Path) -> None:
    assert _owners_without_value((CSRC / file).read_text()) == []
