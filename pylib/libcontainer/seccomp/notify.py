# SPDX-License-Identifier: Apache-2.0
"""The agent that decides over a container's system calls (SCMP_ACT_NOTIFY).

It listens at linux.seccomp.listenerPath, and is sent a descriptor and a state: OCI's
config-linux.md, "The Container Process State".
"""

from __future__ import annotations

import _socket
import sys

from nsenter import plainjson
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.configs.seccomp import Seccomp

__all__ = ["process_state", "send_listener"]

_FD_NAME = "seccompFd"  # OCI's


def process_state(policy: Seccomp, pid: int, state: Mapping[str, Any]) -> dict[str, Any]:
    """OCI's container process state.

    Args:
        policy: of the container.
        pid: of the process that the filter is on, in the runtime's pid namespace.
        state: of the container, OCI's.
    """
    told: dict[str, Any] = {"ociVersion": state["ociVersion"], "fds": [_FD_NAME], "pid": pid}
    if policy.listener_metadata:
        told["metadata"] = policy.listener_metadata
    return {**told, "state": dict(state)}


def send_listener(policy: Seccomp, fd: int, pid: int, state: Mapping[str, Any]) -> None:
    """Send the agent the descriptor of a filter's listener; it stays open here.

    Args:
        policy: of the container.
        fd: the listener, as seccomp(2) returned it.
        pid, state: see `process_state`.

    Raises:
        Failure: the agent is not there, or does not take it.
    """
    message = plainjson.dumps(process_state(policy, pid, state)).encode()
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))]
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    operation = "failed to connect with seccomp agent"
    try:
        connection.connect(policy.listener_path)
        operation = "failed to send the listener to seccomp agent"
        sent = connection.sendmsg([message], rights, _socket.MSG_NOSIGNAL)
        connection.sendall(message[sent:])
    except OSError as error:
        why = "" if error.errno else str(error)  # a path that is too long
        raise Failure(operation, policy.listener_path, error.errno or 0, why) from None
    finally:
        connection.close()
