# SPDX-License-Identifier: Apache-2.0
"""The descriptors that a command in the foreground waits for, and what it does for each."""

from __future__ import annotations

from nsenter._host.syscalls import POLLIN, poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Watch:
    """Descriptors, each with a function that is called when there is an event on it."""

    def __init__(self) -> None:
        self._watched: dict[int, int] = {}
        self._actions: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, action: Callable[[], None], events: int = POLLIN) -> None:
        """Watch a descriptor from now on. If it is watched already, change what is waited for.

        Args:
            fd: the descriptor.
            action: is called whenever one of the events has occurred.
            events: POLL* bits (poll(2)).
        """
        self._actions[fd] = action
        self._watched[fd] = events

    def drop(self, fd: int) -> None:
        """Stop watching a descriptor."""
        self._actions.pop(fd, None)
        self._watched.pop(fd, None)

    def turn(self) -> None:
        """Wait for the next events, and call their functions."""
        for fd, _ in poll(self._watched, None):
            action = self._actions.get(fd)
            if action:
                action()
