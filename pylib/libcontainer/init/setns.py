# SPDX-License-Identifier: Apache-2.0
"""A further process of a running container: the stages have joined its namespaces already."""

from __future__ import annotations

from libcontainer.init import sync
from libcontainer.init.process import keys
from libcontainer.init.process.console import Console
from libcontainer.init.process.ending import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from libcontainer.init.config import Orders


def run(channel: int, orders: Orders) -> NoReturn:
    """Never returns: what fails is raised, and reaches the caller until the program runs."""
    if not orders.config.no_new_keyring:
        # The container's own, if it has one; the init has made it.
        label = orders.process.process_label or orders.config.process_label
        keys.join_session_keyring(orders.id, in_userns=orders.in_userns, label=label)
    if orders.process.terminal:
        console = Console(orders.process)
        console.hand_over(orders.console_fd)
        console.become_streams()
    sync.ask(channel, sync.READY)
    Ending(channel, orders).run(lambda env: None)
