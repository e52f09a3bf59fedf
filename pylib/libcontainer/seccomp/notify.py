# SPDX-License-Identifier: Apache-2.0
"""Connect to the agent that decides over a container's system calls (SCMP_ACT_NOTIFY).

The agent listens at linux.seccomp.listenerPath. It receives a descriptor and a state: see
config-linux.md of OCI, "The Container Process State".
"""

from __future__ import annotations

import _socket

from nsenter._host.cleanup import close
from nsenter._host.socket_addresses import connect_to
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.configs.seccomp import Seccomp

__all__ = ["connect", "process_state"]

_FD_NAME = "seccompFd"  # OCI's


def process_state(policy: Seccomp, pid: int, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return OCI's container process state.

    Args:
        policy: the policy of the container.
        pid: the pid of the process with the filter, in the runtime's PID namespace.
        state: OCI's state of the container.
    """
    told: dict[str, Any] = {"ociVersion": state["ociVersion"], "fds": [_FD_NAME], "pid": pid}
    if policy.listener_metadata:
        told["metadata"] = policy.listener_metadata
    return {**told, "state": dict(state)}


def connect(policy: Seccomp) -> int:
    """Return the descriptor of a socket that is connected to the agent of the policy.

    Raises:
        Failure: no agent listens.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connect_to(connection, policy.listener_path)
    except OSError as error:
        close(connection.detach())
        operation = "failed to connect with seccomp agent"
        raise Failure(operation, policy.listener_path, error.errno or 0) from None
    return connection.detach()
