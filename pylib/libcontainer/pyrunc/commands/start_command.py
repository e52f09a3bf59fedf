# SPDX-License-Identifier: Apache-2.0
"""`pyrunc start`."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.container import Container
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Let a created container execute its program."""
    container = context.container()
    if "NOTIFY_SOCKET" in os.environ and os.path.isdir(f"{container.root_folder}/notify"):
        _start_notified(container)
    else:
        container.exec()
    return 0


def _start_notified(container: Container) -> None:
    """Start a container, and pass its messages to the service manager until it is ready."""
    from libcontainer.pyrunc.sd_notify import Proxy

    proxy = Proxy(container.root_folder)
    try:
        container.exec()
        proxy.wait_until_ready(container.state().init_process_pid)
    finally:
        proxy.close()
