# SPDX-License-Identifier: Apache-2.0
"""Undo steps after a failure.

A step that fails neither hides the reason of the failure nor prevents the remaining steps.
"""

from __future__ import annotations

import posix
from errno import EBADF, EBUSY, ETIMEDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["close", "notes_of", "undo"]

_ATTEMPTS = 2
_WAITED = (EBUSY, ETIMEDOUT)


def undo(error: BaseException, *steps: Callable[[], object]) -> None:
    """Take every step, even if some fail, and add a note to `error` for each step that fails.

    The caller raises the error afterwards. A step that fails is taken a second time, because a lack
    of memory may be over by then, unless it has waited in vain for something. An exception that
    ends the program, such as KeyboardInterrupt, is raised after all steps.

    Args:
        error: the reason why the steps are taken.
        steps: the steps, which may be called twice.
    """
    interrupt: BaseException | None = None
    for step in steps:
        for attempt in range(_ATTEMPTS):
            try:
                step()
                break
            except Exception as another:
                has_waited = getattr(another, "errno", 0) in _WAITED
                if attempt or has_waited:
                    error.add_note(f"and while this was undone: {_in_words(another)}")
                if has_waited:
                    break
            except BaseException as another:
                interrupt = another
    if interrupt is not None:
        raise interrupt


def _in_words(error: Exception) -> str:
    if type(error).__str__ is not OSError.__str__ or not isinstance(error, OSError):
        return str(error) or type(error).__name__
    try:
        from nsenter._host.os_errors import in_words
    except (OSError, ImportError):  # there is no descriptor or memory left to import it with
        return str(error)
    return in_words(error)


def notes_of(error: BaseException) -> list[str]:
    """Return the notes on an error (PEP 678)."""
    return [*getattr(error, "__notes__", ())]


def close(*fds: int) -> None:
    """Close descriptors; ignore what the kernel reports about their content.

    This is for descriptors to which nothing was written. close(2) closes them in any case.

    Raises:
        OSError: a descriptor was not open, which is an error in the program.
    """
    for fd in fds:
        try:
            posix.close(fd)
        except OSError as error:
            if error.errno == EBADF:
                raise
