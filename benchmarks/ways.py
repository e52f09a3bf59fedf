# SPDX-License-Identifier: Apache-2.0
"""Launches by each of the ways, in a process of its own, to be counted or followed from outside.

`ways.py WAY COUNT NOOP`; the ways: "direct", "stages", "python".
"""

from __future__ import annotations

import sys
from pathlib import Path

from nsenter.bootstrap import bootstrap_data
from nsenter.launch import Program, PythonInit, launch
from nsenter.namespaces import Namespace, Namespaces

WAYS = ("direct", "stages", "python")
_FIVE = ("pid", "net", "ipc", "uts", "mnt")


def main(way: str, count: int, noop: Path) -> None:
    data = bootstrap_data(Namespaces([Namespace(kind) for kind in _FIVE]))
    if way == "stages":  # a score is set by a stage
        data = data.replace(oom_score_adj=100)
    target = PythonInit("payload:main") if way == "python" else Program([noop])
    for _ in range(count):
        with launch(data, target) as child:
            assert child.wait() == 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
