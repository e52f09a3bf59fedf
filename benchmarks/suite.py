# SPDX-License-Identifier: Apache-2.0
"""A run as pyperf keeps them, for `python -m pyperf compare_to BEFORE AFTER`.

pyperf's own runner measures one thing after another, each in processes of its own; here all take
turns, so that what slows the machine down slows all of them down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyperf
from harness import Samples

__all__ = ["write"]

# By unit: pyperf's word for it, and how many of ours it takes. It has none for rates.
_UNITS = {"ns": ("second", 1e9), "bytes": ("byte", 1.0)}


def write(cases: dict[str, Any], samples: dict[str, Samples], path: Path) -> None:
    """All times and sizes, one benchmark for each series, named "case: series"."""
    benchmarks = []
    for name, case in cases.items():
        if case["unit"] not in _UNITS:
            continue
        unit, many = _UNITS[case["unit"]]
        for series, values in samples[name].items():
            metadata = {"name": f"{name}: {series}", "unit": unit}
            positive = [value / many for value in values if value > 0]
            if positive:
                run = pyperf.Run(positive, metadata=metadata, collect_metadata=False)
                benchmarks.append(pyperf.Benchmark([run]))
    pyperf.BenchmarkSuite(benchmarks).dump(str(path), replace=True)
