# SPDX-License-Identifier: Apache-2.0
"""Find out which operation a bare OSError of Python's own functions is about.

Such an error does not name the function that raised it, and it names an argument only if that is a
path. The init of a container uses this module too. There it has no source files, and can import
built-in modules only.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, TracebackType

__all__ = ["in_words", "operation_of", "subject_of"]


def operation_of(error: BaseException) -> str:
    """Return the name of the function that failed.

    This is the built-in function that was called last, or else the Python function that raised the
    error.
    """
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None:
        return "system call"
    return _called(trace) or trace.tb_frame.f_code.co_name.strip("_")


def subject_of(error: OSError) -> str:
    """Return the path, or both paths, that the error is about; "" if it has none."""
    paths = (error.filename, error.filename2)
    return " ".join(_text(path) for path in paths if isinstance(path, (str, bytes)))


def _text(path: str | bytes) -> str:
    return path if isinstance(path, str) else path.decode("utf-8", "surrogateescape")


def in_words(error: OSError) -> str:
    """Return the operation, the subject and the reason as one text."""
    what = f"{operation_of(error)} {subject_of(error)}".strip()
    return f"{what}: {error.strerror or error}"


def _called(trace: TracebackType) -> str:
    """Return the name of what a frame was calling; "" if that has no name."""
    frame, code = trace.tb_frame, trace.tb_frame.f_code
    if not _learned:
        _learned.update({kind: dict(map(_learn, samples)) for kind, samples in _SAMPLES.items()})
    for operation, argument in _loads_of_function(code, trace.tb_lasti // 2):
        for kind, shifts in _learned.items():
            if operation in shifts:
                name = _name(code, argument >> shifts[operation])
                known = frame.f_globals.get(name, frame.f_builtins.get(name))
                return name if kind == "attribute" or callable(known) else ""
    return ""  # a local variable or a result: it has no name that says what it does


def _name(code: CodeType, index: int) -> str:
    return code.co_names[index] if index < len(code.co_names) else ""


def _loads_of_function(code: CodeType, call: int) -> list[tuple[int, int]]:
    """Yield the instructions, one of which loads the function that another one calls.

    Each instruction knows which part of the source it comes from. A call begins where the
    expression of its function begins (`os.open` in `os.open(path)`), and the last instruction of
    that part loads the function. There is none if Python runs with -X no_debug_ranges.
    """
    spots = [*code.co_positions()]
    line, end_line, column, end_column = spots[call]
    if line is None or end_line is None or column is None or end_column is None:
        return []
    parts: dict[tuple[int, int], list[tuple[int, int]]] = {}  # by where what is loaded ends
    for number, (first, last, left, right) in enumerate(spots[:call]):
        if (first, left) != (line, column) or last is None or right is None:
            continue
        operation, argument = code.co_code[2 * number : 2 * number + 2]
        if operation and (last, right) < (end_line, end_column):  # 0: no instruction but its cache
            parts.setdefault((last, right), []).append((operation, argument))
    is_short = len(code.co_names) <= _MOST_NAMES
    return parts[max(parts)] if parts and is_short else []


_MOST_NAMES = 127  # with more, an argument may take a second instruction
_LINE_OF_CALL, _LONGEST_SHIFT = 2, 4
_learned: dict[str, dict[int, int]] = {}
# What these calls are compiled to says how this Python loads a function, whatever its version: the
# number of the operation, and how far its argument is shifted to be the number of a name. Names
# before it make that number one that cannot be mistaken.
_SAMPLES = {
    "attribute": (
        "lambda it: (it.a, it.b, it.c, it.d, it.e,\n it.wanted())",
        "lambda it: (it.a, it.b, it.c, it.d, it.e,\n it.wanted(*it))",
    ),
    "global": ("lambda: (a, b, c, d, e,\n wanted())",),
}


def _learn(sample: str) -> tuple[int, int]:
    """Return the opcode of the call in a sample, and the shift of its argument."""
    code = compile(sample, "", "eval").co_consts[0]
    ends = [spot[3] if spot[0] == _LINE_OF_CALL else None for spot in code.co_positions()]
    call = ends.index(max((end for end in ends if end is not None), default=None))
    for operation, argument in _loads_of_function(code, call):
        for shift in range(_LONGEST_SHIFT):
            if _name(code, argument >> shift) == "wanted":
                return operation, shift
    return -1, 0  # no operation: nothing is named
