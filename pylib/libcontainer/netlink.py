# SPDX-License-Identifier: Apache-2.0
"""The messages of rtnetlink(7) that are needed to move a network device.

A socket belongs to the network namespace in which it was created, whichever process uses it.
"""

from __future__ import annotations

import _socket
import errno
import sys

from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Address", "Link", "Route"]

_AF_NETLINK = 16
_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_SECONDS = 10.0  # the kernel answers at once

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
_NLM_F_DUMP = 0x300
_NLM_F_DUMP_INTR = 0x10
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 18, 20, 22
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_NET_NS_FD = 3, 10, 28
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST = 1, 2, 3, 4
_IFA_CACHEINFO, _IFA_FLAGS, _IFA_RT_PRIORITY = 6, 8, 9
_CARRIED = (_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_RT_PRIORITY)
# The kernel's list has those of other protocols, too, which are made by their own programs.
_FAMILIES = (_socket.AF_INET, _socket.AF_INET6)
_NLMSGERR_ATTR_MSG = 1
_IFF_UP = 1
_IFA_F_PERMANENT = 0x80
_IFA_F_NOPREFIXROUTE = 0x200
_RT_SCOPE_UNIVERSE = 0
_HEADER, _LINK, _ADDRESS, _ATTRIBUTE, _ERRNO = 16, 16, 8, 4, 4
_ROOM = 1 << 16
_MOST_DUMPS = 10


class _InterruptedError(Exception):
    """The list changed while the kernel was sending it, so entries may be missing."""


class Link:
    """A network device.

    Attributes:
        index: the number of the device in its network namespace.
        name: the name of the device, also if it was looked up by an alternative name.
        is_up: whether the device is up.
        master: the index of the device of which it is a port, such as a bridge; 0 means none.
    """

    def __init__(self, index: int, name: str, *, is_up: bool, master: int) -> None:
        self.index = index
        self.name = name
        self.is_up = is_up
        self.master = master


class Address:
    """An address of a device.

    Attributes:
        is_lasting: whether the address was assigned permanently and can be used in other networks.
            This is false for addresses that the host has configured by itself or has leased.
    """

    def __init__(self, family: int, prefix: int, scope: int, attributes: dict[int, bytes]) -> None:
        self._head = bytes((family, prefix, 0, scope))
        flags = int.from_bytes(attributes.get(_IFA_FLAGS, b""), sys.byteorder)
        self.is_lasting = bool(flags & _IFA_F_PERMANENT) and scope == _RT_SCOPE_UNIVERSE
        self._attributes = {kind: attributes[kind] for kind in _CARRIED if kind in attributes}
        if not flags & _IFA_F_PERMANENT and _IFA_CACHEINFO in attributes:
            self._attributes[_IFA_CACHEINFO] = attributes[_IFA_CACHEINFO]  # how long it is lent
        if flags & _IFA_F_NOPREFIXROUTE:
            self._attributes[_IFA_FLAGS] = _u32(_IFA_F_NOPREFIXROUTE)
        self._label = {k: v for k, v in attributes.items() if k == _IFA_LABEL}

    def body(self, index: int, *, with_label: bool = False) -> bytes:
        """Return a struct ifaddrmsg with its attributes.

        A label begins with the name of its device, so it is left out if the device has another
        name.
        """
        label = self._label if with_label else {}
        return self._head + _u32(index) + _attributes(self._attributes | label)

    def __str__(self) -> str:
        raw = self._attributes.get(_IFA_LOCAL) or self._attributes.get(_IFA_ADDRESS, b"")
        try:
            return f"{_socket.inet_ntop(self._head[0], raw)}/{self._head[1]}"
        except (OSError, ValueError):
            return raw.hex()


class Route:
    """A socket of rtnetlink(7).

    Args:
        fd: an open socket, which this object owns from now on. -1 creates one in the network
            namespace of this process.
    """

    def __init__(self, fd: int = -1) -> None:
        if fd < 0:
            kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
            self._socket = _socket.socket(_AF_NETLINK, kind, 0)
        else:
            self._socket = _socket.socket(fileno=fd)
        self._socket.settimeout(_SECONDS)
        self._number = 0
        with suppress(OSError):  # errors say less then
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)

    def close(self) -> None:
        """Close the socket."""
        close(self._socket.detach())

    def link(self, name: str) -> Link:
        """Return a device by its name or an alternative name.

        Raises:
            Failure: there is no such device.
        """
        body = _link() + _attributes({_IFLA_IFNAME: _text(name)})
        for kind, data in self._ask("RTM_GETLINK", name, _RTM_GETLINK, 0, body):
            if kind == _RTM_NEWLINK and len(data) >= _LINK:
                told = dict(_parts(data[_LINK:]))
                own = told.get(_IFLA_IFNAME, b"").partition(b"\0")[0]
                return Link(
                    _number(data[4:8]),
                    own.decode("utf-8", "surrogateescape") or name,
                    is_up=bool(_number(data[8:12]) & _IFF_UP),
                    master=_number(told.get(_IFLA_MASTER, b"")),
                )
        raise Failure("RTM_GETLINK", name, errno.ENODEV)

    def set_up(self, index: int, name: str) -> None:
        """Bring a device up.

        Raises:
            Failure: the kernel refuses it.
        """
        self._do("RTM_NEWLINK", name, _RTM_NEWLINK, _link(index, _IFF_UP, _IFF_UP))

    def enslave(self, index: int, name: str, master: int) -> None:
        """Make a device a port of another one.

        Raises:
            Failure: the kernel refuses it.
        """
        body = _link(index) + _attributes({_IFLA_MASTER: _u32(master)})
        self._do("RTM_NEWLINK", f"{name} with a master", _RTM_NEWLINK, body)

    def move(self, index: int, namespace: int, old: str, new: str) -> None:
        """Move a device to another network namespace and rename it, in one step.

        Args:
            index: the number of the device.
            namespace: a descriptor of the network namespace.
            old: the name of the device, for the error.
            new: its name in the other network namespace.

        Raises:
            Failure: the name is taken there, or the device cannot be moved.
        """
        attributes = {_IFLA_IFNAME: _text(new), _IFLA_NET_NS_FD: _u32(namespace)}
        body = _link(index) + _attributes(attributes)
        self._do("RTM_NEWLINK", f"{old} as {new}", _RTM_NEWLINK, body)

    def addresses(self, index: int, name: str) -> list[Address]:
        """Return the addresses of a device.

        Raises:
            Failure: the kernel refuses it.
        """
        for _ in range(_MOST_DUMPS):
            with suppress(_InterruptedError):
                return self._addresses(index, name)
        raise Failure("RTM_GETADDR", name, errno.EAGAIN, "its addresses change all the time")

    def _addresses(self, index: int, name: str) -> list[Address]:
        found = []
        body = bytes(_ADDRESS)
        for kind, data in self._ask("RTM_GETADDR", name, _RTM_GETADDR, _NLM_F_DUMP, body):
            if kind == _RTM_NEWADDR and len(data) >= _ADDRESS and _number(data[4:8]) == index:
                family, prefix, _, scope = data[:4]
                if family in _FAMILIES:
                    found.append(Address(family, prefix, scope, dict(_parts(data[_ADDRESS:]))))
        return found

    def add_address(
        self, index: int, name: str, address: Address, with_label: bool = False
    ) -> None:
        """Give a device an address. It is not an error if the device has the address already.

        Raises:
            Failure: the kernel refuses it.
        """
        try:
            self._do(
                "RTM_NEWADDR", f"{address} of {name}", _RTM_NEWADDR,
                address.body(index, with_label=with_label), _NLM_F_CREATE | _NLM_F_EXCL,
            )  # fmt: skip
        except Failure as failure:
            if failure.errno != errno.EEXIST:
                raise

    # ---- messages

    def _do(self, what: str, subject: str, kind: int, body: bytes, flags: int = 0) -> None:
        self._ask(what, subject, kind, flags | _NLM_F_ACK, body)

    def _ask(
        self, what: str, subject: str, kind: int, flags: int, body: bytes
    ) -> list[tuple[int, bytes]]:
        """Send a message; return the answers, each as its type and the bytes after its header.

        Raises:
            Failure: the kernel refuses it; the error has the kernel's own text if there is one.
            _InterruptedError: a list is incomplete and must be requested again.
        """
        self._number += 1
        header = _u32(_HEADER + len(body)) + _u16(kind) + _u16(flags | _NLM_F_REQUEST)
        try:
            self._socket.sendto(header + _u32(self._number) + _u32(0) + body, (0, 0))
            return self._answers(what, subject, is_dump=flags & _NLM_F_DUMP == _NLM_F_DUMP)
        except TimeoutError:
            raise Failure(what, subject, errno.ETIMEDOUT) from None
        except OSError as error:
            if isinstance(error, Failure):
                raise
            raise Failure(what, subject, error.errno or 0) from None

    def _answers(self, what: str, subject: str, *, is_dump: bool) -> list[tuple[int, bytes]]:
        """Yield all answers: the kernel refuses another dump until one is read to its end."""
        found: list[tuple[int, bytes]] = []
        is_whole = True
        while True:
            for kind, flags, body in self._datagram(what, subject):
                is_whole = is_whole and not flags & _NLM_F_DUMP_INTR
                if kind == _NLMSG_ERROR:
                    _check(what, subject, flags, body, behind=_size_of_refused(flags, body))
                    return found
                if kind == _NLMSG_DONE:
                    # A dump that fails halfway tells its error only here.
                    _check(what, subject, flags, body, behind=0)
                    if not is_whole:
                        raise _InterruptedError
                    return found
                found.append((kind, body))
                if not is_dump and kind == _RTM_NEWLINK:
                    return found

    def _datagram(self, what: str, subject: str) -> Iterator[tuple[int, int, bytes]]:
        """Return the messages of the next datagram that answers the last request."""
        data, _, flags, sender = self._socket.recvmsg(_ROOM)
        if sender[0]:  # not the kernel's
            return
        if flags & _socket.MSG_TRUNC:
            why = f"an answer of over {_ROOM} bytes"
            raise Failure(what, subject, errno.EMSGSIZE, why)
        for kind, kind_flags, number, body in _messages(data):
            if number == self._number:
                yield kind, kind_flags, body


def _size_of_refused(flags: int, body: bytes) -> int:
    """Return the size of the refused message after the errno: the whole one, or its header."""
    return _HEADER if flags & _NLM_F_CAPPED else _aligned(_number(body[_ERRNO : _ERRNO + 4]))


def _check(what: str, subject: str, flags: int, body: bytes, *, behind: int) -> None:
    """Raise an error if an answer begins with an errno.

    Args:
        what: the operation, for the error.
        subject: what the operation is about.
        flags: the flags of the answer.
        body: the bytes after its header.
        behind: how many bytes are between the errno and the text of the kernel.
    """
    code = -int.from_bytes(body[:_ERRNO], sys.byteorder, signed=True)
    if code <= 0:  # the end of a dump may tell a length
        return
    said = ""
    if flags & _NLM_F_ACK_TLVS:
        text = dict(_parts(body[_ERRNO + behind :])).get(_NLMSGERR_ATTR_MSG, b"")
        said = text.rstrip(b"\0").decode("utf-8", "replace")
    failure = Failure(what, subject, code)
    raise Failure(what, subject, code, f"{failure.strerror} ({said})" if said else "")


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield the messages of a datagram: type, flags, number, and the bytes after the header."""
    while len(data) >= _HEADER:
        size = _number(data[:4])
        if not _HEADER <= size <= len(data):
            return
        kind, flags, number = _number(data[4:6]), _number(data[6:8]), _number(data[8:12])
        yield kind, flags, number, data[_HEADER:size]
        data = data[_aligned(size) :]


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the attributes of a message."""
    while len(data) >= _ATTRIBUTE:
        size, kind = _number(data[:2]), _number(data[2:4])
        if not _ATTRIBUTE <= size <= len(data):
            return
        yield kind, data[_ATTRIBUTE:size]
        data = data[_aligned(size) :]


def _attributes(values: dict[int, bytes]) -> bytes:
    packed = b""
    for kind, value in values.items():
        part = _u16(_ATTRIBUTE + len(value)) + _u16(kind) + value
        packed += part + bytes(-len(part) % 4)
    return packed


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """Return a struct ifinfomsg."""
    return bytes(4) + _u32(index) + _u32(flags) + _u32(change)


def _text(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape") + b"\0"


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def _u16(number: int) -> bytes:
    return number.to_bytes(2, sys.byteorder)


def _u32(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, sys.byteorder)
