# SPDX-License-Identifier: Apache-2.0
"""What a bare OSError of Python's own functions was about: they tell neither their name nor, unless
it is a path, what they were called with.

An init in a container uses this too: there is no source to look into, and only built-in modules
can be imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["in_words", "operation_of", "subject_of"]

_HAS_FLAG_IN_ATTRIBUTES = sys.version_info >= (3, 12)  # in the lowest bit, as globals' have it


def operation_of(error: BaseException) -> str:
    """The function that failed, for a person: the built-in one that was called last, else the one
    in Python that raised the error."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None:
        return "system call"
    return _called(trace) or trace.tb_frame.f_code.co_name.strip("_")


def subject_of(error: OSError) -> str:
    """The path that it was about, or both; "" where it tells none."""
    paths = (error.filename, error.filename2)
    return " ".join(_text(path) for path in paths if isinstance(path, (str, bytes)))


def _text(path: str | bytes) -> str:
    return path if isinstance(path, str) else path.decode("utf-8", "surrogateescape")


def in_words(error: OSError) -> str:
    """Operation, subject and reason."""
    what = f"{operation_of(error)} {subject_of(error)}".strip()
    return f"{what}: {error.strerror or error}"


def _called(trace: TracebackType) -> str:
    """The name of what a frame was just calling; "" if it was calling nothing that has a name.

    The compiled code tells it. Each instruction knows which part of the source it is from. A call
    begins where the expression of its function begins (`os.open` in `os.open(path)`), and the last
    part of that is loaded by an instruction whose argument is the number of a name.
    """
    frame, code, call = trace.tb_frame, trace.tb_frame.f_code, trace.tb_lasti // 2
    spots = [*code.co_positions()]
    line, end_line, column, end_column = spots[call]
    if line is None or end_line is None or column is None or end_column is None:
        return ""  # Python runs with -X no_debug_ranges
    parts: dict[tuple[int, int], int] = {}  # arguments, by where what they load ends
    for number, (first, last, left, right) in enumerate(spots[:call]):
        if (first, left) != (line, column) or last is None or right is None:
            continue
        operation, argument = code.co_code[2 * number : 2 * number + 2]
        if operation and (last, right) < (end_line, end_column):  # 0: no instruction but its cache
            parts.setdefault((last, right), argument)
    if not parts:
        return ""
    is_attribute = len(parts) > 1
    end = max(parts)
    index = parts[end] >> (not is_attribute or _HAS_FLAG_IN_ATTRIBUTES)
    name = code.co_names[index] if index < len(code.co_names) else ""
    if is_attribute:
        return name
    # A name that stands alone may be a local one, whose number is another list's.
    found = frame.f_globals.get(name, frame.f_builtins.get(name))
    return name if callable(found) and end == (line, column + len(name)) else ""
