# SPDX-License-Identifier: Apache-2.0
"""Agents that decide over the system calls of a container (seccomp_unotify(2))."""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import threading
from pathlib import Path
from typing import Any

# linux/seccomp.h
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp


def _message(connection: socket.socket) -> tuple[bytes, list[int]]:
    """What is whole JSON, and no byte more: the end of the connection is not waited for."""
    text = b""
    fds: list[int] = []
    while True:
        more, new, _, _ = socket.recv_fds(connection, 1 << 16, 1)
        text, fds = text + more, fds + new
        try:
            json.loads(text)
        except ValueError:
            if more:
                continue
        return text, fds


class Agent(threading.Thread):
    """Answers every call that it is asked about, until who asks has ended.

    Args:
        path: where it listens.
        connections: how many listeners it is there for.
        answer: the errno of each answer; 0: the call goes on.

    Attributes:
        told: the state that came with each listener.
        arguments: the first one of each call.
    """

    def __init__(self, path: Path, connections: int = 1, answer: int = 0) -> None:
        super().__init__(daemon=True)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._connections = connections
        self._number = answer
        self.told: list[dict[str, Any]] = []
        self.arguments: list[int] = []

    def run(self) -> None:
        poller = select.poll()
        poller.register(self._listening, select.POLLIN)
        left = self._connections
        while left:
            for fd, events in poller.poll(20_000) or [(-1, 0)]:
                if fd == self._listening.fileno():
                    for listener in self._accept():
                        poller.register(listener, select.POLLIN)
                elif events & select.POLLIN:
                    self._answer(fd)
                elif fd >= 0:
                    poller.unregister(fd)
                    os.close(fd)
                left -= not events & select.POLLIN
        self._listening.close()

    def _accept(self) -> list[int]:
        """It closes its end as soon as it has read. Where the start has failed, nothing comes."""
        with self._listening.accept()[0] as connection:
            text, listeners = _message(connection)
        self.told += [json.loads(text) for _ in listeners]
        return listeners

    def _answer(self, listener: int) -> None:
        seen = bytearray(NOTIFICATION.size)
        fcntl.ioctl(listener, NOTIF_RECV, seen)
        fields = NOTIFICATION.unpack(seen)
        self.arguments.append(fields[6])
        answer = ANSWER.pack(fields[0], 0, -self._number, int(not self._number))
        fcntl.ioctl(listener, NOTIF_SEND, bytearray(answer))
