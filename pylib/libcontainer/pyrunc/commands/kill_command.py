# SPDX-License-Identifier: Apache-2.0
"""`pyrunc kill`."""

from __future__ import annotations

import _signal

from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def signal_number(word: str) -> int:
    """ "9", "KILL" or "SIGKILL", in any case."""
    if word.isdecimal() and 0 < int(word) < _signal.NSIG:
        return int(word)
    name = word.upper()
    number = getattr(_signal, name if name.startswith("SIG") else f"SIG{name}", None)
    if not isinstance(number, int) or name.startswith("SIG_"):
        raise ContainerError(f"unknown signal {word!r}")
    return number


def execute(context: Context) -> int:
    """Send a signal, SIGTERM where none is named."""
    number = signal_number(context.words[0] if context.words else "TERM")
    container = context.container()
    if context.options["all"]:
        container.signal_all(number)
    else:
        container.signal(number)
    return 0
