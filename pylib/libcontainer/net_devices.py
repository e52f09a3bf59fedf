# SPDX-License-Identifier: Apache-2.0
"""Move network devices of the caller into a container (OCI's linux.netDevices), as runc does.

A device keeps its MTU and its hardware address. Its permanent addresses are assigned again, because
the kernel removes them. When the container ends, the device stays in a network namespace that was
joined. If the namespace was new, the kernel removes a virtual device, and moves a physical one back
to the initial namespace.
"""

from __future__ import annotations

import os
from errno import ENODEV

from libcontainer.netlink import Route
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libcontainer.netlink import Address, Link

__all__ = ["NetDevices"]


class NetDevices:
    """The network devices of a container while they are moved.

    Args:
        names: the names on the host, and those in the container.
        socket: an rtnetlink(7) socket that was created in the container's network namespace. This
            object owns it.
        namespace: the path of that namespace.
    """

    def __init__(self, names: Mapping[str, str], socket: int, namespace: str) -> None:
        self._names = names
        self._namespace = namespace
        self._there = Route(socket)
        self._here = Route()
        self._moved: list[_Device] = []

    def close(self) -> None:
        """Close the sockets; the devices stay where they are."""
        self._here.close()
        self._there.close()

    def move(self) -> None:
        """Move all devices and bring them up.

        Raises:
            Failure: a device cannot be moved. Those before it were moved: see `take_back`.
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
            link = self._here.link(old)
        except Failure as failure:
            what = f"link not found for interface {old} on runtime namespace"
            raise Failure(what, "", failure.errno or 0, failure.strerror or "") from None
        if new == old:  # which may be an alternative name of it
            new = link.name
        addresses = self._here.addresses(link.index, old)
        try:
            self._here.move(link.index, target, old, new)
        except Failure as failure:
            if self._has_gone(old):  # if the new name is taken, the kernel has moved it already
                self._moved.append(_Device(link, link.name, addresses))
            what = f"fail to move network device {old} to network namespace"
            raise _failed(what, failure) from None
        self._moved.append(_Device(link, new, addresses))
        self._settle(new, [a for a in addresses if a.is_lasting])

    def _has_gone(self, name: str) -> bool:
        try:
            self._here.link(name)
        except Failure as failure:
            return failure.errno == ENODEV
        return False

    def _settle(self, name: str, addresses: list[Address]) -> None:
        route = self._there
        try:
            index = route.link(name).index
            for address in addresses:
                route.add_address(index, name, address)
            route.set_up(index, name)
        except Failure as failure:
            raise _failed(f"fail to set up interface {name}", failure) from None

    def take_back(self) -> None:
        """Restore the devices that were moved, because the container does not start.

        After a failure it may be called again, and continues with the rest.

        Raises:
            Failure: a device could not be restored completely. All others are restored.
        """
        target = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        failures: list[Failure] = []
        try:
            for device in reversed(self._moved):
                device.failures = []
                self._take_back(device, target)
                failures += device.failures
        finally:
            close(target)
        self._moved = [device for device in self._moved if device.failures]
        if failures:
            raise failures[0]

    def _take_back(self, device: _Device, target: int) -> None:
        name = device.link.name
        try:
            if not device.is_back:
                index = self._there.link(device.new).index
                self._there.move(index, target, device.new, name)
                device.is_back = True
            index = self._here.link(name).index
        except Failure as failure:
            if failure.errno != ENODEV:  # somebody has removed it
                device.failures.append(_failed(f"fail to bring back {name}", failure))
            return
        if device.link.master:
            device.attempt(self._here.enslave, index, name, device.link.master)
        for address in device.addresses:
            device.attempt(self._here.add_address, index, name, address, True)
        if device.link.is_up:
            device.attempt(self._here.set_up, index, name)


class _Device:
    """A device that was moved.

    Args:
        link: the device as it was on the host.
        new: its name in the container.
        addresses: the addresses that it had on the host.
    """

    def __init__(self, link: Link, new: str, addresses: list[Address]) -> None:
        self.link = link
        self.new = new
        self.addresses = addresses
        self.is_back = False
        self.failures: list[Failure] = []

    def attempt(self, step: Callable[..., None], *arguments: object) -> None:
        """Take a step to restore the device, and keep its failure: the other steps follow."""
        try:
            step(*arguments)
        except Failure as failure:
            self.failures.append(_failed(f"fail to restore {self.link.name}", failure))


def _failed(what: str, failure: Failure) -> Failure:
    return Failure(what, "", failure.errno or 0, f"{failure.strerror}, of {failure.operation}")
