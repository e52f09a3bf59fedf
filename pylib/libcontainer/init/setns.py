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

    from libcontainer.init.config import InitConfig


def run(channel: int, init_config: InitConfig) -> NoReturn:
    """Never returns: what fails is raised, and reaches the caller until the program runs."""
    if not init_config.config.no_new_keyring:
        # The container's own, if it has one; the init has made it.
        label = init_config.process.process_label or init_config.config.process_label
        keys.join_session_keyring(init_config.id, in_userns=init_config.in_userns, label=label)
    if init_config.process.terminal:
        console = Console(init_config.process)
        console.hand_over(init_config.console_fd)
        console.become_streams()
    sync.ask(channel, sync.Ready())
    Ending(channel, init_config).run(lambda env: None)
