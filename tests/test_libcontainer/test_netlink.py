# SPDX-License-Identifier: Apache-2.0
"""libcontainer.netlink: what it reads and writes is what others take rtnetlink(7) to be."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from libcontainer import netlink
from libcontainer.netlink import Address, Route
from nsenter.system import Failure

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
PERMANENT, LENT = b"\x80\0\0\0", b"\0\0\0\0"


@pytest.fixture
def route() -> Iterator[Route]:
    made = Route()
    yield made
    made.close()


def test_a_link_is_found_by_its_name(route: Route) -> None:
    assert route.link("lo")[0] == socket.if_nametoindex("lo")


def test_one_that_is_not_there_is_named(route: Route) -> None:
    with pytest.raises(Failure) as caught:
        route.link("nope0")
    assert (caught.value.errno, caught.value.subject) == (errno.ENODEV, "nope0")


def test_the_addresses_are_those_of_the_one_device(route: Route) -> None:
    index, is_up = route.link("lo")
    found = {str(address) for address in route.addresses(index, "lo")}
    assert not is_up or "127.0.0.1/8" in found
    assert route.addresses(1 << 30, "nobody") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="without root everything is refused alike")
def test_what_the_kernel_refuses_is_said_in_its_own_words(route: Route) -> None:
    with pytest.raises(Failure) as caught:
        route.set_up(1 << 30, "nobody")
    assert caught.value.errno == errno.ENODEV


def test_an_address_is_written_as_others_read_it() -> None:
    attributes = {IFA_LOCAL: b"\n\1\2\3", IFA_BROADCAST: b"\n\1\2\xff", IFA_FLAGS: PERMANENT}
    address = Address(socket.AF_INET, 24, 0, attributes)
    assert str(address) == "10.1.2.3/24"
    body = address.body(7)
    read = ifaddrmsg((len(body) + 16).to_bytes(4, "little") + bytes(12) + body)
    read.decode()
    assert (read["family"], read["prefixlen"], read["index"]) == (socket.AF_INET, 24, 7)
    assert read.get_attr("IFA_LOCAL") == "10.1.2.3"
    assert read.get_attr("IFA_BROADCAST") == "10.1.2.255"


@pytest.mark.parametrize(
    ("scope", "flags", "is_lasting"),
    [(0, PERMANENT, True), (0, LENT, False), (254, PERMANENT, False), (253, PERMANENT, False)],
)
def test_only_what_is_lasting_and_global_goes_along(
    scope: int, flags: bytes, is_lasting: bool
) -> None:
    address = Address(socket.AF_INET, 24, scope, {IFA_LOCAL: bytes(4), IFA_FLAGS: flags})
    assert address.is_lasting is is_lasting


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 3,
        b"\0" * 4,  # a length of 0 would never end
        b"\3\0\1\0",
        b"\xff\xff\1\0abcd",
        b"\5\0\1\0x",
    ],
)
def test_attributes_end_with_the_bytes(data: bytes) -> None:
    assert len(list(netlink._parts(data))) <= 1


@pytest.mark.parametrize("size", [0, 15, 17, 1 << 31])
def test_messages_end_with_the_bytes(size: int) -> None:
    data = size.to_bytes(4, "little") + bytes(12)
    assert list(netlink._messages(data)) == []
