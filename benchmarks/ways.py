# SPDX-License-Identifier: Apache-2.0
"""Each of the ways by itself, in a process to be counted or followed from outside.

`ways.py WAY COUNT NOOP` goes a way so many times: "direct", "stages", "python" are launches,
"encode" and "decode" the codec. `ways.py --opcodes WAY COUNT NOOP` prints how many instructions of
Python's own the cheapest of so many takes.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

_FIVE = ("pid", "net", "ipc", "uts", "mnt")


def _launch(way: str, noop: Path) -> Callable[[], None]:
    from nsenter.bootstrap import bootstrap_data
    from nsenter.launch import Program, PythonInit, launch
    from nsenter.namespaces import Namespace, Namespaces

    data = bootstrap_data(Namespaces([Namespace(kind) for kind in _FIVE]))
    if way == "stages":  # a score is set by a stage
        data = data.replace(oom_score_adj=100)
    target = PythonInit("payload:main") if way == "python" else Program([noop])

    def once() -> None:
        with launch(data, target) as child:
            assert child.wait() == 0

    return once


def _codec(way: str) -> Callable[[], object]:
    from nsenter.bootstrap import BootstrapData, TimeOffset
    from nsenter.idmap import IDMap
    from nsenter.namespaces import Namespace

    maps = (IDMap(0, 100000, 65536), IDMap(65536, 1000, 1))
    data = BootstrapData(
        clone_flags=0x10000080, namespace_paths=(Namespace("net", "/run/netns/blue"),),
        uid_mappings=maps, gid_mappings=maps, setgroup=True, oom_score_adj=-500,
        time_offsets=(TimeOffset("monotonic", 3600),),
    )  # fmt: skip
    blob = data.encode()
    if way == "decode":
        return lambda: BootstrapData.decode(blob)
    return lambda: data.replace().encode()


def _opcodes_of(work: Callable[[], object]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


def main(way: str, times: int, noop: Path, *, opcodes: bool = False) -> None:
    work = _codec(way) if way in ("encode", "decode") else _launch(way, noop)
    gc.disable()
    if opcodes:
        work()  # what is made once is made
        print(min(_opcodes_of(work) for _ in range(times)))
        return
    for _ in range(times):
        work()


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--opcodes"]
    main(words[0], int(words[1]), Path(words[2]), opcodes="--opcodes" in sys.argv)
