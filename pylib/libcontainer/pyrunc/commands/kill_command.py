# SPDX-License-Identifier: Apache-2.0
"""`pyrunc kill`."""

from __future__ import annotations

import _signal

from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def signal_number(word: str) -> int:
    """Return the number for "9", "KILL" or "SIGKILL", in upper or lower case.

    Raises:
        ContainerError: there is no such signal.
    """
    if word.isdecimal():
        if int(word) >= _signal.NSIG:
            raise ContainerError(f"invalid argument: there is no signal {word}")
        return int(word)
    name = "SIG" + word.upper().removeprefix("SIG")
    number = getattr(_signal, name, None)
    if not isinstance(number, int) or name.startswith("SIG_"):  # SIG_DFL is none
        raise ContainerError(f'unknown signal "{word}"')
    return number


def execute(context: Context) -> int:
    """Send a signal; the default is SIGTERM."""
    container = context.container()
    number = signal_number(context.words[0] if context.words else "TERM")
    if context.options["all"]:
        container.signal_all(number)
    else:
        container.signal(number)
    return 0
