# SPDX-License-Identifier: Apache-2.0
"""The difference of two texts in the unified format. Hostile texts cannot make it take long."""

from __future__ import annotations

from nsenter._host.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["unified"]

_MOST_PAIRS = 250_000  # of lines that are compared: difflib can take the square of that, and more
_CONTEXT = 3


def unified(path: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    """Yield the lines of a difference, each with its newline.

    Args:
        path: the path of the file, in which control characters are escaped.
        old, new: the contents; None if there is no such file.
    """
    shown = printable(path)
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        yield f"Binary file {shown} differs\n"
        return
    yield f"--- {f'a/{shown}' if old is not None else '/dev/null'}\n"
    yield f"+++ {f'b/{shown}' if new is not None else '/dev/null'}\n"
    for line in _hunks(before, after):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(content: bytes | None) -> list[str] | None:
    """Return the lines of a text; None if it is not text."""
    try:
        text = (content or b"").decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    lines = text.split("\n")
    last = lines.pop()
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def _hunks(before: list[str], after: list[str]) -> Iterator[str]:
    start = _shared(before, after)
    end = _shared(before[start:][::-1], after[start:][::-1])
    left, right = before[start : len(before) - end], after[start : len(after) - end]
    if not left and not right:
        return
    if len(left) * len(right) > _MOST_PAIRS:
        changed = [(0, len(left), 0, len(right))]
    else:
        from difflib import SequenceMatcher

        opcodes = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
        changed = [(i1, i2, j1, j2) for tag, i1, i2, j1, j2 in opcodes if tag != "equal"]
    for group in _grouped([tuple(n + start for n in block) for block in changed]):
        yield from _hunk(group, before, after)


def _shared(one: list[str], other: list[str]) -> int:
    """Return how many lines are the same at the start."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


_Block = tuple[int, ...]  # from where to where, before and after


def _grouped(changed: list[_Block]) -> Iterator[list[_Block]]:
    """Yield the blocks whose contexts touch."""
    group: list[_Block] = []
    for block in changed:
        if group and block[0] - group[-1][1] > 2 * _CONTEXT:
            yield group
            group = []
        group.append(block)
    yield group


def _hunk(group: list[_Block], before: list[str], after: list[str]) -> Iterator[str]:
    first = max(group[0][0] - _CONTEXT, 0)
    last = min(group[-1][1] + _CONTEXT, len(before))
    new_first = group[0][2] - (group[0][0] - first)
    new_last = group[-1][3] + (last - group[-1][1])
    yield f"@@ -{_range(first, last)} +{_range(new_first, new_last)} @@\n"
    at = first
    for i1, i2, j1, j2 in group:
        yield from (f" {line}" for line in before[at:i1])
        yield from (f"-{line}" for line in before[i1:i2])
        yield from (f"+{line}" for line in after[j1:j2])
        at = i2
    yield from (f" {line}" for line in before[at:last])


def _range(first: int, last: int) -> str:
    count = last - first
    return f"{first + 1 if count else first},{count}" if count != 1 else f"{first + 1}"
