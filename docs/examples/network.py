# SPDX-License-Identifier: Apache-2.0
"""Two hosts with a wire between them, of network namespaces. See docs/network.md."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute

import nsenter

# --- hosts
Hosts = tuple["nsenter.Popen[Any]", "nsenter.Popen[Any]"]


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Two network namespaces, left 10.0.0.1 and right 10.0.0.2, with a veth between them."""
    idle = ["sleep", "infinity"]
    # A user can own network namespaces only in a user namespace; one must own both ends of a veth.
    first = nsenter.Options(new="user,net", die_with_parent=True)
    with nsenter.Popen(idle, first) as left:
        second = nsenter.Options(join={"user": left}, new="net", die_with_parent=True)
        with nsenter.Popen(idle, second) as right:
            try:
                nsenter.call(connect, right.pid, options=nsenter.Options(join=left))
                nsenter.call(address, "10.0.0.2", options=nsenter.Options(join=right))
                yield left, right
            finally:
                right.kill()
                left.kill()


# --- wire
def connect(right: int) -> None:
    """Create the veth. Runs in the left host."""
    with IPRoute() as ip:
        ip.link("add", ifname="wire", kind="veth", peer={"ifname": "wire", "net_ns_pid": right})
    address("10.0.0.1")


def address(own: str) -> None:
    """Give this end of the veth an address. Runs in both hosts."""
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname="wire")
        ip.addr("add", index=index, address=own, prefixlen=24)
        ip.link("set", index=index, state="up")


# --- slow
def slow_down(bits_per_second: int) -> None:
    """Limit the rate at which this host sends. Runs in either host."""
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname="wire")
        ip.tc("add", "tbf", index=index, rate=bits_per_second // 8, burst=5000, latency=1_000_000)


# --- use
SERVER = """
import socket
with socket.create_server(("10.0.0.1", 80)) as server:
    server.settimeout(10)
    print("listening", flush=True)
    client, (address, _) = server.accept()
    client.sendall(f"hello, {address}".encode())
"""


def fetch(address: str) -> bytes:
    """Read from the server. Runs in the right host."""
    import socket

    with socket.create_connection((address, 80), timeout=5) as server:
        return server.recv(100)


def main() -> None:
    with two_hosts() as (left, right):
        here, there = nsenter.Options(join=left), nsenter.Options(join=right)
        with nsenter.Popen(
            [sys.executable, "-c", SERVER], here, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout
            print("left: ", server.stdout.readline().strip())
            print("right:", nsenter.call(fetch, "10.0.0.1", options=there).decode())


if __name__ == "__main__":
    main()
