# SPDX-License-Identifier: Apache-2.0
"""What is undone after a failure. None of it may hide why that happened, or keep the rest from
being undone."""

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
    """Take each step, whatever the others do, and tell of what fails in a note on the error, which
    the caller raises afterwards.

    A step that fails is taken once more, as a lack of memory may be over by then, unless it has
    waited for something that did not come about. An exception that ends the program
    (KeyboardInterrupt) is raised when all steps are taken.

    Args:
        error: why all this is undone.
        steps: they may be taken twice.
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
    """What was noted on an error (PEP 678)."""
    return [*getattr(error, "__notes__", ())]


def close(*fds: int) -> None:
    """Close descriptors that nothing was written to, whatever the kernel says of it: they are
    closed in any case (close(2)).

    Raises:
        OSError: one was not open, which is a mistake of its owner's.
    """
    for fd in fds:
        try:
            posix.close(fd)
        except OSError as error:
            if error.errno == EBADF:
                raise
