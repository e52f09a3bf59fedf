# SPDX-License-Identifier: Apache-2.0
"""Which addresses a name may lead to: the public ones, and not this machine's own.

Everything that the registries of IANA for special purposes list as not globally reachable is
refused (RFC 6890 and its successors), also in the forms in which an IPv6 address holds an IPv4
address.
"""

from __future__ import annotations

import socket
import struct
from errno import EPERM
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from nsenter._sandbox.egress_rules import Address

__all__ = ["is_this_machines", "why_not_elsewhere", "why_not_public"]

_IPV4 = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "an address of this host"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a shared address (carrier-grade NAT)"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "an address for protocols"),
        ("192.0.2.0/24", "an address for documentation"),
        ("192.88.99.0/24", "an address of a 6to4 relay"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "an address for benchmarks"),
        ("198.51.100.0/24", "an address for documentation"),
        ("203.0.113.0/24", "an address for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)
_IPV6 = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::1/128", "the loopback address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("fc00::/7", "a private address"),
        ("ff00::/8", "a multicast address"),
        ("2001::/32", "a Teredo address"),
        ("2001::/23", "an address for protocols"),
        ("2001:db8::/32", "an address for documentation"),
        ("3fff::/20", "an address for documentation"),
        ("64:ff9b:1::/48", "a local NAT64 address"),
    )
)
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIXTOFOUR = IPv6Network("2002::/16")
# ISATAP (RFC 5214): the second half of the address is one of these, and an IPv4 address.
_ISATAP = (0x00005EFE, 0x02005EFE)


def why_not_public(address: Address) -> str:
    """Return what an address is, such as "a private address"; "" if it is a public one."""
    if isinstance(address, IPv4Address):
        return _special(address)
    forms = [*_held_ipv4(address)]
    for inner, form in forms:
        what = _special(inner)
        if what:
            return f"{what} as {form}"
    if any(form in (_A_MAPPED, _A_NAT64) for _, form in forms):
        return ""
    return _special(address) or ("" if address in _PUBLIC_IPV6 else "a reserved address")


def why_not_elsewhere(address: Address) -> str:
    """Return what an address is; "" if it is a public one, and of another machine.

    Raises:
        OSError: the kernel does not say whose it is.
    """
    what = why_not_public(address)
    if what:
        return what
    forms = [] if isinstance(address, IPv4Address) else [*_held_ipv4(address)]
    if any(is_this_machines(one) for one in (address, *(inner for inner, _ in forms))):
        return "an address of this machine"
    return ""


def _special(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return next((what for network, what in _IPV4 if address in network), "")
    return next((what for network, what in _IPV6 if address in network), "")


_A_MAPPED, _A_NAT64 = "an IPv4-mapped address", "a NAT64 address"


def _held_ipv4(address: IPv6Address) -> Iterator[tuple[IPv4Address, str]]:
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    if address in _MAPPED:
        yield last, _A_MAPPED
    if address in _NAT64:
        yield last, _A_NAT64
    if address in _SIXTOFOUR:
        yield IPv4Address(number >> 80 & 0xFFFFFFFF), "a 6to4 address"
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        yield last, "an ISATAP address"


# rtnetlink(7)
_RTM_GETROUTE, _RTM_NEWROUTE = 26, 24
_NLM_F_REQUEST = 1
_RTA_DST = 1
_RTN_UNICAST = 1
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr
_SECONDS = 5.0


def is_this_machines(address: Address) -> bool:
    """Return whether the kernel would keep a packet to this address on this machine.

    The kernel's routes say so (rtnetlink(7)): they know every address of every interface, and
    ranges that are local by a route alone. Addresses to which there is no route at all do not
    matter, because nothing can be connected to them.

    Raises:
        OSError: the kernel gives no answer.
    """
    packed = address.packed
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    request = _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(_SECONDS)
        netlink.sendto(request, (0, 0))
        answer, (sender, _) = netlink.recvfrom(8192)
    if sender:
        raise PermissionError(EPERM, f"process {sender} has answered instead of the kernel")
    if len(answer) < _HEADER.size + _ROUTE.size:
        return False
    if _HEADER.unpack_from(answer)[1] != _RTM_NEWROUTE:  # an error: there is no route
        return False
    return bool(_ROUTE.unpack_from(answer, _HEADER.size)[7] != _RTN_UNICAST)
