# SPDX-License-Identifier: Apache-2.0
"""What a bare OSError of Python's own functions was about: they tell neither their name nor, unless
it is a path, what they were called with. Imported only when something has failed.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["in_words", "operation_of", "subject_of"]

_MODULES = ("os", "posix", "_signal", "_socket", "fcntl", "select", "time")


def operation_of(error: BaseException) -> str:
    """The function that failed, for a person: as the source has it in the line that called it, else
    the function which that line is in."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None:
        return "system call"
    found = _calls_in(_line_of(trace))
    return " or ".join(found) or trace.tb_frame.f_code.co_name.strip("_")


def subject_of(error: OSError) -> str:
    """The path that it was about, or both; "" where it tells none."""
    paths = (error.filename, error.filename2)
    return " ".join(os.fsdecode(path) for path in paths if isinstance(path, (str, bytes)))


def in_words(error: OSError) -> str:
    """Operation, subject and reason."""
    what = f"{operation_of(error)} {subject_of(error)}".strip()
    return f"{what}: {error.strerror or error}"


def _line_of(trace: TracebackType) -> str:
    # This may be about descriptors, of which there are none left: then there is no line.
    try:
        with open(trace.tb_frame.f_code.co_filename, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if number == trace.tb_lineno:
                    return line
    except (OSError, UnicodeDecodeError):
        pass
    return ""


def _calls_in(line: str) -> list[str]:
    """The names of functions that are called by way of their modules; and `open`."""
    found = []
    for before in line.split("(")[:-1]:
        words = "".join(c if c.isalnum() or c in "._" else " " for c in before).split()
        module, dot, name = (words[-1] if words else "").rpartition(".")
        if (dot and module in _MODULES) or name == "open":
            found.append(name)
    return list(dict.fromkeys(found))
