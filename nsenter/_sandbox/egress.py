# SPDX-License-Identifier: Apache-2.0
"""Egress: the network of a sandbox that may connect only to what a list allows."""

from __future__ import annotations

from collections.abc import Iterable

from nsenter._host.records import Value
from nsenter._sandbox.egress_rules import Rules
from nsenter._sandbox.parts import Part

__all__ = ["Egress"]

_MOST_CONNECTIONS = 10_000


class Egress(Value, Part):
    """A network that leads only to listed hosts, through an HTTP proxy outside the sandbox.

    The sandbox has a network namespace with a loopback device and nothing else: no route, no name
    service, and no address of the host. A proxy listens there, and the usual variables (http_proxy,
    https_proxy, all_proxy) name it. It resolves names itself, outside, and connects only to what
    the list allows:

    - CONNECT, for TLS alone: the server name in the ClientHello must be the name that CONNECT
      asked for. A hello without a server name, or with an encrypted one (ECH), is refused.
    - plain HTTP: each request of a connection is checked. Host must agree with the URL. Upgrade,
      and requests that two parsers could read differently, are refused.

    A name that leads to a loopback, link-local, private, shared, multicast or reserved address, or
    to an address of this machine, is refused unless a rule lists that address too. The proxy
    connects to the address that it has checked, so a name cannot change its meaning in between.
    Every refusal is in the result.

    A host that is allowed can pass on what it gets: see "Network" in docs/sandbox.md. A rule
    with a wildcard also lets code put data into the names that it asks for.

    Args:
        allow: what may be connected to, each with a port: a name ("packages.example.org:443"); all
            names below one, at any depth ("*.example.com:443", which is not example.com itself);
            every name ("*:443"); an address ("192.0.2.7:8080", "[2001:db8::7]:443") or a network
            ("192.0.2.0/24:443", "[2001:db8::/32]:443"). An address and a network also allow a
            listed name to lead there.
        connections: the number of connections that one run can have at a time. More are refused.
        idle_timeout: seconds after which a connection ends if no byte passes.

    Raises:
        ValueError: a rule or a number is not valid.
        TypeError: `allow` is not a sequence of strings.

    Example:
        >>> nsenter.Egress(["packages.example.org:443", "*.example.com:443"])
        Egress(allow=('packages.example.org:443', '*.example.com:443'))
    """

    allow: Iterable[str]
    connections: int = 64
    idle_timeout: float = 60.0

    def __post_init__(self) -> None:
        self.__dict__["allow"] = Rules(self.allow).texts
        if not _is_number(self.connections, int) or not 1 <= self.connections <= _MOST_CONNECTIONS:
            wanted = f"a whole number from 1 to {_MOST_CONNECTIONS}"
            raise ValueError(f"connections must be {wanted}, not {self.connections!r}")
        if not _is_number(self.idle_timeout, (int, float)) or not 0 < self.idle_timeout < 1e6:
            raise ValueError(
                f"idle_timeout must be a number of seconds above 0, not {self.idle_timeout!r}"
            )

    def for_sandbox(self) -> Part:
        """Return the network of one sandbox, with a proxy of its own."""
        from nsenter._sandbox.egress_process import EgressProxy

        return EgressProxy(self)


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
