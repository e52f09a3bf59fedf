# SPDX-License-Identifier: Apache-2.0
"""The rules of landlock(7): which files, TCP ports and other processes a process may use."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nsenter.options import Options

__all__ = ["SCOPES", "encode"]

_RIGHTS = "rwx"
_PORT_MAX = 65535
# What can be kept inside, and the letter of each.
SCOPES = {"abstract_unix_socket": "a", "signal": "s"}


def encode(options: Options) -> bytes:
    """The rules as csrc/message/launch_lists.h has them: two strings each.

    Raises:
        ValueError: a path is not absolute, rights are not letters of "rwx", a port or a scope is
            none.
    """
    fields: list[bytes] = []
    if options.landlock is None:
        fields += b"paths", b"any"
    else:
        fields += _paths(options.landlock)
    fields += _ports("bind", options.landlock_bind)
    fields += _ports("connect", options.landlock_connect)
    fields += _scope(options.landlock_scope)
    return b"".join(field + b"\0" for field in fields)


def _paths(rules: Mapping[str, str]) -> Iterator[bytes]:
    for path, rights in rules.items():
        raw = os.fsencode(path)
        if not raw.startswith(b"/") or b"\0" in raw:
            raise ValueError(f"landlock: a path must be absolute and without NUL, not {path!r}")
        if not rights or set(rights) - set(_RIGHTS) or len(set(rights)) != len(rights):
            raise ValueError(f"landlock: {path!r} must have letters of {_RIGHTS}, not {rights!r}")
        yield raw
        yield rights.encode()


def _ports(word: str, ports: Iterable[int] | None) -> Iterator[bytes]:
    if ports is None:
        return
    if isinstance(ports, (str, bytes)):
        raise ValueError(f"landlock_{word} must be a sequence of TCP ports, not {ports!r}")
    yield from (word.encode(), b"none")
    for port in ports:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= _PORT_MAX:
            raise ValueError(f"landlock_{word} must be TCP ports, 0 … {_PORT_MAX}, not {port!r}")
        yield from (word.encode(), b"%d" % port)


def _scope(names: Iterable[str]) -> Iterator[bytes]:
    if isinstance(names, (str, bytes)):
        raise ValueError(f"landlock_scope must be a sequence of names, not {names!r}")
    letters = set()
    for name in names:
        if name not in SCOPES:
            raise ValueError(f"landlock_scope must be {' or '.join(SCOPES)}, not {name!r}")
        letters.add(SCOPES[name])
    if letters:
        yield from (b"scope", "".join(sorted(letters)).encode())
