# SPDX-License-Identifier: Apache-2.0
"""A run as data, and as a table for people."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from estimate import Estimate
from harness import Case, Ratio, Samples, estimates
from kit import Kit

import nsenter

__all__ = ["case_document", "cgroups_layout", "machine", "table", "told", "verdict_of"]

_VERSION_OPTIONS = {
    "runc": "--version", "crun": "--version", "unshare": "--version", "bwrap": "--version",
    "gcc": "-dumpfullversion",
}  # fmt: skip
_LIBRARIES = ("cffi", "pyroute2", "matplotlib")
_NAME_WIDTH = 50
_SCALES = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")),
    "bytes": ((2**20, "MiB"), (2**10, "KiB"), (1, "bytes")),
    "per second": ((1, "/s"),),
}


def _first_line(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cgroups_layout() -> str:
    """ "v1", "v2" or "hybrid"."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "v2"
    return "hybrid" if Path("/sys/fs/cgroup/unified").exists() else "v1"


def _library_versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def machine(kit: Kit) -> dict[str, Any]:
    """What a reader of the numbers must know of where they come from."""
    found = ((name, kit.peer(name), option) for name, option in _VERSION_OPTIONS.items())
    versions = {name: _first_line([path, option]) for name, path, option in found if path}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "cgroups": cgroups_layout(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "nsenter": nsenter.__version__,
        "load_average": os.getloadavg(),
        "versions": versions | dict(_library_versions()),
    }


def verdict_of(target: float, ratio: Estimate) -> str:
    """What the whole interval says of the target."""
    if ratio.high <= target:
        return "holds"
    return "missed" if ratio.low > target else "undecided"


def _ratio_document(ratio: Ratio, samples: Samples) -> dict[str, Any]:
    value = ratio.estimate(samples)
    return {
        "above": ratio.above,
        "below": list(ratio.below),
        "ratio": asdict(value),
        "target": ratio.target,
        "verdict": verdict_of(ratio.target, value) if ratio.target else None,
    }


def case_document(case: Case, samples: Samples) -> dict[str, Any]:
    """A case with what was found, ready for JSON."""
    return {
        "title": case.title,
        "about": case.about,
        "unit": case.unit,
        "missing": case.missing,
        "notes": {name: arm.note for arm in case.arms if arm.note for name in arm.all_series()},
        "values": {name: asdict(found) for name, found in estimates(case, samples).items()},
        "ratios": [_ratio_document(ratio, samples) for ratio in case.ratios],
        "axis": case.axis,
        "curves": {curve.name: [list(point) for point in curve.points] for curve in case.curves},
    }


def told(value: dict[str, float], unit: str) -> tuple[str, str]:
    """A median and its interval, in the unit in which people would say them."""
    divisor, word = next(
        (scale for scale in _SCALES[unit] if abs(value["median"]) >= scale[0]), _SCALES[unit][-1]
    )
    median, low, high = (value[key] / divisor for key in ("median", "low", "high"))
    digits = 0 if word in ("/s", "bytes") or median >= 100 else 1 if median >= 10 else 2
    return f"{median:.{digits}f} {word}", f"{low:.{digits}f} … {high:.{digits}f}"


def table(document: dict[str, Any]) -> str:
    """A case as text."""
    return "\n".join(_lines(document))


def _lines(case: dict[str, Any]) -> Iterator[str]:
    yield case["title"]
    for name, value in case["values"].items():
        median, interval = told(value, case["unit"])
        note = f"  ({case['notes'][name]})" if name in case["notes"] else ""
        yield f"  {name:{_NAME_WIDTH}} {median:>10}  [{interval}]{note}"
    for ratio in case["ratios"]:
        value = ratio["ratio"]
        said = f"{value['median']:.3f} x  [{value['low']:.3f} … {value['high']:.3f}]"
        target = f"  target ≤ {ratio['target']}: {ratio['verdict']}" if ratio["target"] else ""
        yield f"  {ratio['above']}  /  {' + '.join(ratio['below'])}"
        yield f"  {'':{_NAME_WIDTH}} {said}{target}"
    for name in case["missing"]:
        yield f"  left out: {name}"
