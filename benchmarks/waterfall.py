# SPDX-License-Identifier: Apache-2.0
"""One launch, stage by stage, by the clock that the stages themselves read."""

from __future__ import annotations

import statistics
from typing import Any

from cases.launching import all_namespaces
from kit import Kit

from nsenter.launch import Program, PythonInit, launch

__all__ = ["waterfalls"]


def _medians(kit: Kit, target: Program | PythonInit, launches: int) -> list[dict[str, Any]]:
    """When each stage came where: the median, in nanoseconds from the spawn."""
    data = all_namespaces()
    seen: dict[tuple[str, str], list[int]] = {}
    for i in range(launches + 3):
        with launch(data, target, trace=True) as child:
            start = child.trace[0].ns
            for point in child.trace:
                if i >= 3:  # it is warm
                    seen.setdefault((point.stage, point.point), []).append(point.ns - start)
    points = [
        {"stage": stage, "point": point, "ns": statistics.median(times)}
        for (stage, point), times in seen.items()
    ]
    return sorted(points, key=lambda point: point["ns"])


def waterfalls(kit: Kit) -> dict[str, list[dict[str, Any]]]:
    launches = 10 if kit.quick else 100
    return {
        "a program": _medians(kit, Program([kit.noop]), launches),
        "Python": _medians(kit, PythonInit("payload:main"), launches),
    }
