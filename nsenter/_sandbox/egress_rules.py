# SPDX-License-Identifier: Apache-2.0
"""Rules for what a sandbox may connect to, such as "packages.example.org:443".

A host that is not spelled in the one usual form is refused. If two programs could read a name
differently, then one of them has not checked the name that the other one uses.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    *("PORT", "Address", "Host", "Refused", "Rules"),
    *("canonical", "parse_host", "parse_target", "shown"),
]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Host = str | Address

PORT = 3128  # where the proxy listens inside

_LONGEST_NAME, _LONGEST_LABEL = 253, 63
_MOST_PORT = 65535
_EDGE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_INNER = _EDGE | {"-", "_"}
_DIGITS = frozenset("0123456789")


class Refused(Exception):
    """The sandbox's request is not allowed. The message says why."""


class _Rule(NamedTuple):
    """A name, the end of names, or a network; and a port.

    Args:
        suffix: the end, with a dot in front; only a dot for all names.
    """

    name: str
    suffix: str
    network: Network | None
    port: int

    def names(self, host: str) -> bool:
        """Return whether this rule is for a name."""
        if self.suffix:
            return self.suffix == "." or host.endswith(self.suffix)
        return host == self.name


def parse_host(text: str) -> Host:
    """Return the address or the name, in lower case, that a text means.

    Raises:
        Refused: it is neither, or not in its usual spelling.
    """
    if text.startswith("["):
        return _parse_ipv6(text)
    if ":" in text:
        raise Refused(f"{_quoted(text)}: an IPv6 address must be in brackets")
    labels = text.lower().split(".") if text.isascii() else []
    if _is_number(labels[-1] if labels else ""):
        return _parse_ipv4(text)
    if not labels or len(text) > _LONGEST_NAME or not all(map(_is_label, labels)):
        raise Refused(f"{_quoted(text)} is not a host name")
    return ".".join(labels)


def _parse_ipv6(text: str) -> Address:
    try:
        if not text.endswith("]") or "%" in text:
            raise ValueError
        return canonical(IPv6Address(text[1:-1]))
    except ValueError:
        raise Refused(f"{_quoted(text)} is not an IPv6 address in brackets") from None


def _parse_ipv4(text: str) -> Address:
    """Refuse what inet_aton(3) also takes, such as 127.1, 0x7f.0.0.1 or 017700000001."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise Refused(f"{_quoted(text)} is not an IPv4 address of four decimal numbers") from None


def canonical(address: Address) -> Address:
    """Return the IPv4 address that an IPv4-mapped one stands for; any other as it is."""
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _is_number(label: str) -> bool:
    return bool(label) and (label[0] in _DIGITS) and (set(label) <= _DIGITS or _is_hex(label))


def _is_hex(label: str) -> bool:
    return label.startswith("0x") and set(label[2:]) <= frozenset("0123456789abcdef")


def _is_label(label: str) -> bool:
    return (
        0 < len(label) <= _LONGEST_LABEL
        and set(label) <= _INNER
        and label[0] in _EDGE | {"_"}
        and label[-1] in _EDGE
    )


def _parse_port(text: str) -> int:
    if not text or len(text) > 5 or not set(text) <= _DIGITS or text[0] == "0":
        raise Refused(f"{_quoted(text)} is not a port number")
    port = int(text)
    if port > _MOST_PORT:
        raise Refused(f"{_quoted(text)} is not a port number")
    return port


def parse_target(text: str, default_port: int | None = None) -> tuple[Host, int]:
    """Return the host and the port of a text such as "example.org:443" or "[::1]:80".

    Args:
        default_port: the port of a text without one. None means that it must have one.

    Raises:
        Refused: the text is something else.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        if default_port is None:
            raise Refused(f"{_quoted(text)} has no port")
        return parse_host(text), default_port
    return parse_host(host), _parse_port(port)


def shown(host: Host, port: int) -> str:
    """Return the text for a host and a port."""
    return f"[{host}]:{port}" if isinstance(host, IPv6Address) else f"{host}:{port}"


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= 100 else f"{text[:100]}...")


class Rules:
    """The rules of one sandbox.

    Args:
        texts: each a name, an address or a network, with a port.

    Raises:
        ValueError: a text is not a rule; the message says which one, and why.
        TypeError: `texts` is one string, or has something else in it.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        if isinstance(texts, (str, bytes)):
            raise TypeError(f"allow must be a sequence of strings, not the string {texts!r}")
        self.texts = tuple(texts)
        self._rules = [_parse_rule(text) for text in self.texts]

    def allows(self, host: Host, port: int) -> bool:
        """Return whether a client may ask for this host and port."""
        if not isinstance(host, str):
            return self.lists(host, port)
        return any(rule.port == port and rule.names(host) for rule in self._rules)

    def has(self, host: Host) -> bool:
        """Return whether a rule names this host, other than by a wildcard, with any port."""
        if isinstance(host, str):
            return any(rule.name == host for rule in self._rules)
        return any(self.lists(host, rule.port) for rule in self._rules)

    def lists(self, address: Address, port: int) -> bool:
        """Return whether a rule names this address, or a network that has it."""
        address = canonical(address)
        return any(
            rule.port == port
            and rule.network is not None
            and rule.network.version == address.version
            and address in rule.network
            for rule in self._rules
        )


def _parse_rule(text: str) -> _Rule:
    if not isinstance(text, str):
        raise TypeError(
            f'allow: each rule must be a string such as "example.org:443", not {text!r}'
        )
    try:
        if "://" in text:
            raise Refused("a rule is a host and a port, not a URL")
        host, colon, port_text = text.rpartition(":")
        if not colon or text.endswith("]"):
            raise Refused('it has no port: add one, such as ":443"')
        return _rule_of(host, _parse_port(port_text))
    except Refused as error:
        raise ValueError(f"allow: {text!r}: {error}") from None


def _rule_of(host: str, port: int) -> _Rule:
    if "/" in host:
        return _Rule("", "", _parse_network(host), port)
    if host == "*":
        return _Rule("", ".", None, port)
    if host.startswith("*."):
        rest = parse_host(host[2:])
        if not isinstance(rest, str):
            raise Refused("an address cannot have a wildcard: write a network, as 192.0.2.0/24")
        return _Rule("", f".{rest}", None, port)
    if "*" in host:
        raise Refused('a wildcard must be the whole first label, as in "*.example.org"')
    if not host.isascii():
        raise Refused('it is not ASCII: write the name as DNS has it, which begins with "xn--"')
    found = parse_host(host)
    if isinstance(found, str):
        return _Rule(found, "", None, port)
    return _Rule("", "", _usable(ip_network(found)), port)


def _parse_network(text: str) -> Network:
    inner = text
    if text.startswith("["):
        inner = text[1:-1] if text.endswith("]") else ""
    elif ":" in text:
        raise Refused("an IPv6 network must be in brackets")
    address, _, bits = inner.partition("/")
    try:
        if not bits.isascii() or not bits.isdecimal():
            raise ValueError("the length of its prefix is not a number")
        network = ip_network((ip_address(address), int(bits)))
    except ValueError as error:
        raise Refused(f"it is not a network: {error}") from None
    return _usable(network)


def _usable(network: Network) -> Network:
    if network.is_multicast or (network.is_unspecified and network.num_addresses == 1):
        raise Refused("no connection can be made to this address")
    return network
