"""Rules match the hosts that they name, in one spelling, and no others."""

from __future__ import annotations

import contextlib
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nsenter._sandbox.egress import Egress
from nsenter._sandbox.egress_addresses import is_this_machines, why_not_public
from nsenter._sandbox.egress_rules import Refused, Rules, parse_host, parse_target, shown

RULES = Rules(
    ["good.example.org:443", "*.example.com:443", "192.0.2.7:8080", "[2001:db8::7]:443",
     "10.1.0.0/16:80", "[fd00::/8]:80"]
)  # fmt: skip


def is_allowed(text: str) -> bool:
    try:
        return RULES.allows(*parse_target(text))
    except Refused:
        return False


@pytest.mark.parametrize(
    "text",
    ["good.example.org:443", "GOOD.Example.ORG:443", "a.example.com:443", "a.b.example.com:443",
     "192.0.2.7:8080", "[2001:db8::7]:443", "[2001:DB8:0:0::7]:443", "[::ffff:192.0.2.7]:8080",
     "10.1.255.255:80", "[fdff::1]:80"],
)  # fmt: skip
def test_what_is_allowed(text: str) -> None:
    assert is_allowed(text)


@pytest.mark.parametrize(
    "text",
    ["good.example.org:80", "good.example.org:0443", "good.example.org:4430", "good.example.org",
     "good.example.org:", "good.example.org:443:443", "good.example.org.:443", ".example.com:443",
     "good.example.org\0:443", "good.example.org\0.evil:443", " good.example.org:443",
     "good.example.org :443", "good.example.org:443 ", "good.example.org: 443",
     "good.example.org:+443", "good.example.org:\uff14\uff14\uff13", "\uff47ood.example.org:443",
     "good.example\u3002org:443", "user@good.example.org:443", "good.example.org@evil.example:443",
     "evil.example/good.example.org:443", "good.example.org#:443", "good.example.org%00:443",
     "xgood.example.org:443", "x.good.example.org:443", "good.example.org.evil.example:443",
     "example.com:443", "evilexample.com:443", "example.com.evil.example:443",
     "a..example.com:443", "-.example.com:443", "a-.example.com:443", "*.example.com:443",
     "192.0.2.7:443", "192.0.2.8:8080", "192.0.2.07:8080", "192.0.2.0x7:8080", "192.0.519:8080",
     "3221225991:8080", "0xc0000207:8080", "0300.0.2.7:8080", "192.0.2.7.:8080", "[192.0.2.7]:8080",
     "2001:db8::7:443", "[2001:db8::7%eth0]:443", "[2001:db8::7:443", "[[2001:db8::7]]:443",
     "[::ffff:0:192.0.2.7]:8080", "[::192.0.2.7]:8080", "10.2.0.1:80", "[fe80::1]:80", ":443",
     "", ":", "[]:443"],
)  # fmt: skip
def test_what_is_not_allowed(text: str) -> None:
    assert not is_allowed(text)


def test_any_name_is_no_address() -> None:
    rules = Rules(["*:443"])
    assert rules.allows("anything.example", 443)
    assert not rules.allows("anything.example", 80)
    assert not rules.allows(IPv4Address("8.8.8.8"), 443)
    assert not rules.lists(IPv4Address("8.8.8.8"), 443)


TEXTS = st.one_of(
    st.text(max_size=30),
    st.text("gode.xamplr:43[]/%@0 \t\r\n\0", max_size=30),
    st.from_regex(r"\A[0-9a-fx.:\[\]]{1,20}:[0-9]{1,6}\Z"),
)


@given(TEXTS)
def test_any_text_is_refused_or_is_shown_as_it_was(text: str) -> None:
    try:
        host, port = parse_target(text)
    except Refused as error:
        assert str(error).isprintable()
        return
    if isinstance(host, str):
        assert shown(host, port) == text.lower()
        assert not host.replace(".", "").isdecimal()
    elif isinstance(host, IPv4Address) and not text.startswith("["):
        assert shown(host, port) == text


@given(
    st.sampled_from(["good.example.org", "a.example.com", "192.0.2.7"]),
    st.integers(0, 16),
    st.integers(0, 1),
    st.text(max_size=2),
)
def test_a_changed_name_is_not_allowed(name: str, at: int, removed: int, added: str) -> None:
    changed = name[:at] + added + name[at + removed :]
    assume(changed.lower() != name)
    assume(not (changed.lower().endswith(".example.com")))
    for port in (443, 8080):
        assert not is_allowed(f"{changed}:{port}")


@given(st.text(max_size=12))
def test_below_a_wildcard_there_are_names_alone(text: str) -> None:
    if is_allowed(f"{text}.example.com:443"):
        assert all(
            label and set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")
            for label in text.lower().split(".")
        )


@pytest.mark.parametrize(
    ("rule", "why"),
    [("example.org", "no port"), ("example.org:", "not a port"), ("example.org:0", "not a port"),
     ("example.org:65536", "not a port"), ("example.org:http", "not a port"),
     ("https://example.org:443", "not a URL"), ("exa*mple.org:443", "first label"),
     ("*.*.example.org:443", "not a host name"), ("*.192.0.2.7:443", "wildcard"),
     ("bücher.example:443", "xn--"), ("::1:443", "in brackets"), ("[::1]", "no port"),
     ("2001:db8::/32:443", "in brackets"), ("10.0.0.1/8:443", "not a network"),
     ("10.0.0.0/255.0.0.0:443", "not a network"), ("10.0.0.0/33:443", "not a network"),
     ("224.0.0.1:443", "no connection"), ("0.0.0.0:443", "no connection"),
     ("[ff02::1]:443", "no connection"), ("127.1:443", "not an IPv4"), ("a b:443", "not a host"),
     ("", "no port"), (":443", "not a host name")],
)  # fmt: skip
def test_a_rule_that_is_none_is_named(rule: str, why: str) -> None:
    with pytest.raises(ValueError, match="allow: ") as caught:
        Egress(["fine.example:443", rule])
    assert repr(rule) in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize("allow", ["example.org:443", b"x", [443], [None], [b"example.org:443"]])
def test_rules_are_strings(allow: object) -> None:
    with pytest.raises(TypeError, match="allow"):
        Egress(allow)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [{"connections": 0}, {"connections": True}, {"connections": 1.5}, {"idle_timeout": 0},
     {"idle_timeout": -1}, {"idle_timeout": float("nan")}, {"idle_timeout": float("inf")},
     {"idle_timeout": "1"}],
)  # fmt: skip
def test_a_limit_that_is_none_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        Egress([], **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9",
     "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "198.18.0.1", "224.0.0.1",
     "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "fe80::1",
     "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001::1", "2001:db8::1",
     "64:ff9b:1::a00:1", "100::1", "4000::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
)  # fmt: skip
def test_addresses_that_are_not_public(text: str) -> None:
    assert why_not_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
     "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1", "2001:4860::8888"],
)  # fmt: skip
def test_addresses_that_are_public(text: str) -> None:
    assert not why_not_public(ip_address(text))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
@example(IPv4Address("127.0.0.1"))
@example(IPv4Address("8.8.8.8"))
def test_an_ipv4_address_is_the_same_in_another_form(address: IPv4Address) -> None:
    number = int(address)
    is_public = not why_not_public(address)
    for form in (
        IPv6Address(0xFFFF << 32 | number),  # IPv4-mapped
        IPv6Address(0x64FF9B << 96 | number),  # NAT64
        IPv6Address(0x2002 << 112 | number << 80 | 1),  # 6to4
        IPv6Address(0x2A00 << 112 | 0x5EFE << 32 | number),  # ISATAP
        IPv6Address(0x2A00 << 112 | 0x02005EFE << 32 | number),
    ):
        assert (not why_not_public(form)) == is_public, form
    assert why_not_public(IPv6Address(number))  # IPv4-compatible


@given(
    st.one_of(
        st.integers(0, 2**32 - 1).map(IPv4Address),
        st.integers(0, 2**125 - 1).map(lambda low: IPv6Address(1 << 125 | low)),
        st.integers(0, 2**128 - 1).map(IPv6Address),
    )
)
def test_what_is_public_is_so_for_python_as_well(address: IPv4Address | IPv6Address) -> None:
    holds_another = address in ip_network("2002::/16") if address.version == 6 else False
    if not why_not_public(address) and not holds_another:
        assert address.is_global or getattr(address, "ipv4_mapped", None), address


def test_addresses_of_this_machine() -> None:
    assert is_this_machines(IPv4Address("127.5.5.5"))
    assert is_this_machines(IPv4Address("127.0.0.1"))
    assert not is_this_machines(IPv4Address("8.8.8.8"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 53))  # sends nothing
        except OSError:
            return  # this machine has no route, and so no other address
        assert is_this_machines(IPv4Address(probe.getsockname()[0]))


@given(TEXTS)
def test_any_host_is_refused_or_read(text: str) -> None:
    with contextlib.suppress(Refused):
        assert parse_host(text)
