# SPDX-License-Identifier: Apache-2.0
"""libcontainer.netlink reads and writes messages as other programs with rtnetlink(7) do."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from libcontainer import netlink
from libcontainer.netlink import Address, Route
from nsenter._host.syscalls import Failure

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
PERMANENT, LENT = b"\x80\0\0\0", b"\0\0\0\0"


@pytest.fixture
def route() -> Iterator[Route]:
    made = Route()
    yield made
    made.close()


def test_a_link_is_found_by_its_name(route: Route) -> None:
    found = route.link("lo")
    assert (found.index, found.name) == (socket.if_nametoindex("lo"), "lo")


def test_one_that_is_not_there_is_named(route: Route) -> None:
    with pytest.raises(Failure) as caught:
        route.link("nope0")
    assert (caught.value.errno, caught.value.subject) == (errno.ENODEV, "nope0")


def test_the_addresses_are_those_of_the_one_device(route: Route) -> None:
    loopback = route.link("lo")
    found = {str(address) for address in route.addresses(loopback.index, "lo")}
    assert not loopback.is_up or "127.0.0.1/8" in found
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


# ---- a kernel that answers as it is told

NLMSG_ERROR, NLMSG_DONE, RTM_NEWADDR = 2, 3, 20
MULTI, DUMP_INTR, ACK_TLVS, DUMP = 0x2, 0x10, 0x200, 0x300
Answer = Callable[[int], bytes]


def words(*numbers: tuple[int, int]) -> bytes:
    return b"".join(number.to_bytes(size, "little", signed=number < 0) for number, size in numbers)


def message(kind: int, body: bytes, flags: int = MULTI, off: int = 0) -> Answer:
    """One that answers the question of a number, or one that is `off` from it."""

    def answer(number: int) -> bytes:
        head = words((16 + len(body), 4), (kind, 2), (flags, 2), (number + off, 4), (0, 4))
        return head + body + bytes(-len(body) % 4)

    return answer


def told(index: int, last_byte: int, flags: int = MULTI) -> Answer:
    """An address, 10.0.0.x, of a device."""
    local = words((8, 2), (IFA_LOCAL, 2)) + bytes((10, 0, 0, last_byte))
    return message(
        RTM_NEWADDR, bytes((socket.AF_INET, 24, 0, 0)) + words((index, 4)) + local, flags
    )


def done(number: int = 0, flags: int = MULTI, text: bytes = b"") -> Answer:
    said = words((4 + len(text), 2), (1, 2)) + text if text else b""
    return message(NLMSG_DONE, words((number, 4)) + said, flags | (ACK_TLVS if text else 0))


class Kernel:
    """In the place of a socket: a list of datagrams for each question, in the order of questions.

    As the kernel, it refuses a dump while another one is not read to its end.
    """

    def __init__(self, *talks: list[Answer], sender: int = 0, recv_flags: int = 0) -> None:
        self.talks = [*talks]
        self.left: list[Answer] = []
        self.number = 0
        self.sender = sender
        self.recv_flags = recv_flags

    def settimeout(self, seconds: float) -> None:
        pass

    def sendto(self, data: bytes, to: object) -> None:
        self.number = int.from_bytes(data[8:12], "little")
        is_busy = bool(self.left) and data[6] | data[7] << 8 & DUMP
        busy = message(NLMSG_ERROR, words((-errno.EBUSY, 4)) + data[:16], 0)
        self.left += [busy] if is_busy else self.talks.pop(0)

    def recvmsg(self, size: int) -> tuple[bytes, list[object], int, tuple[int, int]]:
        if not self.left:
            raise TimeoutError
        return self.left.pop(0)(self.number), [], self.recv_flags, (self.sender, 0)


def asked(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of device 7, as that kernel tells them."""
    route = Route()
    real = route._socket
    monkeypatch.setattr(route, "_socket", kernel)
    try:
        return [str(address) for address in route.addresses(7, "eth7")]
    finally:
        real.close()


def test_a_dump_of_several_datagrams_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel([told(7, 1), told(8, 2), told(7, 3), done()])
    assert asked(kernel, monkeypatch) == ["10.0.0.1/24", "10.0.0.3/24"]


@pytest.mark.parametrize(
    "torn",
    [
        [told(7, 1, MULTI | DUMP_INTR), told(7, 2), told(7, 3), done()],
        [told(7, 1), told(7, 2, MULTI | DUMP_INTR), done()],
        [told(7, 1), done(flags=MULTI | DUMP_INTR)],
    ],
    ids=["at its beginning", "in its middle", "at its end"],
)
def test_a_list_that_changed_meanwhile_is_asked_for_again(
    torn: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(torn, [told(7, 9), done()])
    assert asked(kernel, monkeypatch) == ["10.0.0.9/24"]


def test_a_list_that_never_stops_changing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(*([done(flags=MULTI | DUMP_INTR)] for _ in range(50)))
    with pytest.raises(Failure, match=r"eth7.*change all the time"):
        asked(kernel, monkeypatch)


def test_a_dump_that_fails_in_its_middle_is_no_short_list(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel([told(7, 1), done(-errno.ENOBUFS, text=b"no room left\0")])
    with pytest.raises(Failure, match=r"no room left") as caught:
        asked(kernel, monkeypatch)
    assert caught.value.errno == errno.ENOBUFS


def test_an_answer_to_another_question_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = message(NLMSG_DONE, bytes(4), off=1)
    refused = message(NLMSG_ERROR, words((-errno.EPERM, 4)), 0, off=-1)
    kernel = Kernel([forged, refused, told(7, 1), done()])
    assert asked(kernel, monkeypatch) == ["10.0.0.1/24"]


def test_another_process_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failure) as caught:
        asked(Kernel([told(7, 1), done()], sender=4711), monkeypatch)
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_datagram_that_was_cut_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel([told(7, 1), done()], recv_flags=socket.MSG_TRUNC)
    with pytest.raises(Failure) as caught:
        asked(kernel, monkeypatch)
    assert caught.value.errno == errno.EMSGSIZE
