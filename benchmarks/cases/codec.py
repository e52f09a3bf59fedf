# SPDX-License-Identifier: Apache-2.0
"""Encoding and decoding a message of 240 bytes. For information: no target hangs on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from harness import Arm, Case
from kit import Kit

from nsenter.bootstrap import BootstrapData
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespace, NamespaceType

__all__ = ["case"]

_SIZE = 240
_LOOPS = 50


def _typical() -> BootstrapData:
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
    path = "/" + "x" * (_SIZE - len(data.encode()))
    data = replace(data, namespace_paths=(Namespace(NamespaceType.NEWNET, path),))
    assert len(data.encode()) == _SIZE
    return data


def _timed(work: Callable[[], object]) -> tuple[float]:
    started = time.perf_counter_ns()
    for _ in range(_LOOPS):
        work()
    return ((time.perf_counter_ns() - started) / _LOOPS,)


def case(kit: Kit, stack: ExitStack) -> Case:
    data = _typical()
    blob = data.encode()
    arms = [
        Arm("encode", ("one of 240 bytes",), lambda: _timed(data.encode)),
        Arm("decode", ("one of 240 bytes",), lambda: _timed(lambda: BootstrapData.decode(blob))),
    ]
    return Case("the codec", arms, [])
