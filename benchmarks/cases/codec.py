# SPDX-License-Identifier: Apache-2.0
"""Encoding and decoding a message: ours, struct in Python, and pyroute2's netlink messages."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from harness import Arm, Case, Ratio
from kit import Kit

from nsenter._nsexec import ffi, lib
from nsenter.bootstrap import BootstrapData
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespace, NamespaceType

__all__ = ["case", "message"]

_LOOPS = 100
_SMALL, _LARGE = 240, 60_000
_SIZES = {"240 bytes": _SMALL, "60 KB": _LARGE}
_EACH = ("each",)
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=HHI")


def message(size: int) -> BootstrapData:
    """Every common attribute, and a path that fills it up to the size."""
    maps = (IDMap(0, 100000, 65536),)
    data = BootstrapData(
        clone_flags=0x3E020000,
        namespace_paths=(Namespace(NamespaceType.NEWNET, "/"),),
        uid_mappings=maps,
        gid_mappings=maps,
        setgroup=True,
        oom_score_adj=-500,
    )
    path = "/" + "x" * (size - len(data.encode()))
    data = data.replace(namespace_paths=(Namespace(NamespaceType.NEWNET, path),))
    assert len(data.encode()) == size
    return data


def _texts(data: BootstrapData) -> dict[int, bytes]:
    paths = ",".join(f"{ns.type.ns_name()}:{ns.path}" for ns in data.namespace_paths)
    return {
        27282: paths.encode(),
        27283: "".join(
            f"{m.container_id} {m.host_id} {m.size}\n" for m in data.uid_mappings
        ).encode(),
        27284: "".join(
            f"{m.container_id} {m.host_id} {m.size}\n" for m in data.gid_mappings
        ).encode(),
        27286: b"%d" % data.oom_score_adj,
    }


def _by_struct(data: BootstrapData) -> bytes:
    """The same bytes by struct, with the two checks without which they would be wrong."""
    parts = [_NUMBER.pack(8, 27281, data.clone_flags)]
    for number, text in _texts(data).items():
        if number == 27286:
            parts.append(_NUMBER.pack(8, 27285, bool(data.setgroup)))
        if len(text) > 65530 or b"\0" in text:
            raise ValueError(number)
        parts += [_ATTRIBUTE.pack(len(text) + 5, number), text, bytes(1 + -(len(text) + 5) % 4)]
    parts.append(_NUMBER.pack(8, 27287, data.rootless_euid))
    return _HEADER.pack(16 + sum(map(len, parts)), 62000, 1, 0, 0) + b"".join(parts)


def _parsed_by_struct(blob: bytes) -> dict[int, int | bytes]:
    """The attributes, not what they mean."""
    found: dict[int, int | bytes] = {}
    size, at = _HEADER.unpack_from(blob)[0], 16
    while at < size:
        length, number = _ATTRIBUTE.unpack_from(blob, at)
        if length < 4 or at + length > size:
            raise ValueError(number)
        found[number] = blob[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def _netlink_message() -> Any:
    """pyroute2's class for our message; None where it is not installed."""
    try:
        from pyroute2.netlink import nlmsg
    except ImportError:
        return None

    class bootstrap(nlmsg):  # type: ignore[misc]
        prefix = "NSX_"
        nla_map = (
            (27281, "NSX_FLAGS", "uint32"),
            (27282, "NSX_PATHS", "asciiz"),
            (27283, "NSX_UIDMAP", "asciiz"),
            (27284, "NSX_GIDMAP", "asciiz"),
            (27285, "NSX_SETGROUP", "uint32"),
            (27286, "NSX_OOM", "asciiz"),
            (27287, "NSX_ROOTLESS", "uint32"),
        )

    return bootstrap


def _by_netlink(kind: Any, data: BootstrapData) -> bytes:
    texts = {number: text.decode() for number, text in _texts(data).items()}
    sent = kind()
    sent["header"]["type"], sent["header"]["flags"] = 62000, 1
    sent["attrs"] = [
        ("NSX_FLAGS", data.clone_flags), ("NSX_PATHS", texts[27282]),
        ("NSX_UIDMAP", texts[27283]), ("NSX_GIDMAP", texts[27284]),
        ("NSX_SETGROUP", int(bool(data.setgroup))), ("NSX_OOM", texts[27286]),
        ("NSX_ROOTLESS", int(data.rootless_euid)),
    ]  # fmt: skip
    sent.encode()
    return bytes(sent.data)


def _parsed_by_netlink(kind: Any, blob: bytes) -> Any:
    got = kind(blob)
    got.decode()
    return got["attrs"]


def _mean(work: Callable[[], object], loops: int = _LOOPS) -> tuple[float]:
    started = time.perf_counter_ns()
    for _ in range(loops):
        work()
    return ((time.perf_counter_ns() - started) / loops,)


def _first(data: BootstrapData) -> Callable[[], tuple[float]]:
    """Values that nobody has encoded yet."""

    def measure() -> tuple[float]:
        fresh = [data.replace() for _ in range(_LOOPS)]
        return _mean(lambda: fresh.pop().encode())

    return measure


def _arms(size: str, data: BootstrapData, netlink: Any) -> list[Arm]:
    blob = data.encode()
    works: dict[str, tuple[Callable[[], object], str]] = {
        "encode, nsenter again": (data.encode, "the same value: its bytes are kept"),
        "encode, struct": (lambda: _by_struct(data), "checks lengths and NULs, and no more"),
        "decode, nsenter": (lambda: BootstrapData.decode(blob), "into values, all checked"),
        "decode, struct": (lambda: _parsed_by_struct(blob), "into bytes, lengths checked"),
    }
    assert _by_struct(data) == blob
    if netlink:
        works |= {
            "encode, pyroute2": (lambda: _by_netlink(netlink, data), "checks nothing"),
            "decode, pyroute2": (lambda: _parsed_by_netlink(netlink, blob), "into attributes"),
        }
        # It pads the last attribute as well as the others, and sets what is in the header.
        assert _by_netlink(netlink, data)[16:] == blob[16:]
    first = Arm(f"encode, nsenter ({size})", _first(data), _EACH, "a value's first time, checked")
    return [first, *(_looped(f"{n} ({size})", w, note) for n, (w, note) in works.items())]


def _looped(name: str, work: Callable[[], object], note: str) -> Arm:
    return Arm(name, lambda: _mean(work), _EACH, note)


def _parts(data: BootstrapData) -> list[Arm]:
    """What the time of encoding is made of: the texts, in Python, and what any call of C takes."""
    size = len(data.encode())

    def memory() -> bytes:
        return bytes(ffi.buffer(ffi.new("uint8_t[]", size)))

    return [
        _looped("of encode: the texts in Python (240 bytes)", data._texts, ""),
        _looped("of encode: memory, and bytes made of it (240 bytes)", memory, ""),
        _looped("of encode: a call of C that does nothing", lib.bootstrap_wire, "no arguments"),
    ]


def case(kit: Kit, stack: ExitStack) -> Case:
    netlink = _netlink_message()
    arms = [arm for size, n in _SIZES.items() for arm in _arms(size, message(n), netlink)]
    arms += _parts(message(_SMALL))
    series = {arm.name: arm.series() for arm in arms}
    ratios = []
    for size in _SIZES:
        ours = series[f"encode, nsenter ({size})"]
        target = 1.0 if size == "60 KB" else None
        ratios.append(Ratio(ours, (series[f"encode, struct ({size})"],), target))
        if netlink:
            ratios.append(Ratio(ours, (series[f"encode, pyroute2 ({size})"],)))
            decoded = series[f"decode, nsenter ({size})"]
            ratios.append(Ratio(decoded, (series[f"decode, pyroute2 ({size})"],)))
    about = (
        f"The mean of {_LOOPS} in a row. The small message has every common attribute, the large "
        "one a path that fills it up. Encoding checks all that the reader would refuse, decoding "
        "makes values."
    )
    missing = [] if netlink else ["pyroute2: not installed"]
    return Case("The codec", about, arms, ratios, missing=missing, seconds=15)
