# SPDX-License-Identifier: Apache-2.0
"""Tests of a protocol between two hosts, as root or not. See docs/network.md."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from network import Hosts, slow_down, two_hosts

import nsenter


# --- fixture
@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        yield hosts


# --- test
def serve(size: int) -> None:
    """Send bytes to the first client. Runs in the left host."""
    with socket.create_server(("10.0.0.1", 80)) as server:
        client, _ = server.accept()
        with client:
            client.sendall(b"x" * size)


def receive() -> tuple[int, float]:
    """Return how many bytes arrive, and in how many seconds. Runs in the right host."""
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("10.0.0.1", 80)) == 0:
                started = time.monotonic()
                received = sum(len(part) for part in iter(lambda: client.recv(1 << 16), b""))
                return received, time.monotonic() - started
        time.sleep(0.01)
    raise TimeoutError("nobody listens")


@pytest.mark.parametrize(("bits_per_second", "seconds"), [(None, 0.0), (4_000_000, 0.3)])
def test_a_transfer(hosts: Hosts, bits_per_second: int | None, seconds: float) -> None:
    left, right = (nsenter.Options(join=host) for host in hosts)
    if bits_per_second:
        nsenter.call(slow_down, bits_per_second, options=left)
    with nsenter.NamespaceExecutor(1, left) as server:
        served = server.submit(serve, 200_000)
        received, took = nsenter.call(receive, options=right)
        served.result()
    assert received == 200_000
    assert took > seconds
