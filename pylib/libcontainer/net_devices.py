# SPDX-License-Identifier: Apache-2.0
"""Network devices of ours that a container gets (OCI's linux.netDevices), as runc moves them.

A device keeps its MTU and its hardware address. Its lasting addresses are given to it again, since
the kernel drops them. In the end it stays in a namespace that was joined. With one that was new
the kernel takes away a virtual device, and brings a physical one back to the initial namespace.
"""

from __future__ import annotations

import os
from errno import ENODEV

from libcontainer.netlink import Route
from nsenter.suppress import suppress
from nsenter.system import Failure
from nsenter.undo import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer.netlink import Address

__all__ = ["NetDevices"]


class NetDevices:
    """The devices of a container, on their way into it.

    Args:
        names: in the container, by the names that they have here.
        socket: of rtnetlink(7), made in the container's network namespace; owned from now on.
        namespace: the path of that namespace.
    """

    def __init__(self, names: Mapping[str, str], socket: int, namespace: str) -> None:
        self._names = names
        self._namespace = namespace
        self._there = Route(socket)
        self._here = Route()
        self._moved: list[_Device] = []

    def close(self) -> None:
        """Close what is open; the devices stay where they are."""
        self._here.close()
        self._there.close()

    def move(self) -> None:
        """Move all of them, and bring them up.

        Raises:
            Failure: one cannot be moved; those before it are there. See `take_back`.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC
        target = os.open(self._namespace, flags)
        try:
            for old, new in self._names.items():
                self._move(target, old, new)
        finally:
            close(target)

    def _move(self, target: int, old: str, new: str) -> None:
        try:
            index, was_up = self._here.link(old)
        except Failure as failure:
            what = f"link not found for interface {old} on runtime namespace"
            raise Failure(what, "", failure.errno or 0, failure.strerror or "") from None
        addresses = self._here.addresses(index, old)
        try:
            self._here.move(index, target, old, new)
        except Failure as failure:
            if self._has_gone(old):  # if the new name is taken, the kernel has moved it already
                self._moved.append(_Device(old, old, addresses, was_up=was_up))
            what = f"fail to move network device {old} to network namespace"
            raise _failed(what, failure) from None
        self._moved.append(_Device(old, new, addresses, was_up=was_up))
        self._settle(self._there, new, [a for a in addresses if a.is_lasting], is_up=True)

    def _has_gone(self, name: str) -> bool:
        try:
            self._here.link(name)
        except Failure as failure:
            return failure.errno == ENODEV
        return False

    def _settle(self, route: Route, name: str, addresses: list[Address], *, is_up: bool) -> None:
        try:
            index, _ = route.link(name)
            for address in addresses:
                route.add_address(index, name, address)
            if is_up:
                route.set_up(index, name)
        except Failure as failure:
            raise _failed(f"fail to set up interface {name}", failure) from None

    def take_back(self) -> None:
        """Have those that are there already back as they were: the container does not start. What
        cannot be brought back stays there."""
        target = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for device in reversed(self._moved):
                with suppress(OSError):
                    index, _ = self._there.link(device.new)
                    self._there.move(index, target, device.new, device.old)
                    self._settle(self._here, device.old, device.addresses, is_up=device.was_up)
        finally:
            close(target)
        self._moved = []


class _Device:
    def __init__(self, old: str, new: str, addresses: list[Address], *, was_up: bool) -> None:
        self.old = old
        self.new = new
        self.addresses = addresses
        self.was_up = was_up


def _failed(what: str, failure: Failure) -> Failure:
    return Failure(what, "", failure.errno or 0, f"{failure.strerror}, of {failure.operation}")
