# SPDX-License-Identifier: Apache-2.0
"""A run as a table for people, and as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from estimate import Estimate
from harness import Case, Ratio, Samples
from kit import Kit

import nsenter

__all__ = ["as_json", "as_table", "machine"]

_VERSION_OPTIONS = {
    "runc": "--version", "unshare": "--version", "bwrap": "--version", "gcc": "-dumpfullversion",
}  # fmt: skip
_MICRO = 1000
_NAME_WIDTH = 58


def _first_line(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine(kit: Kit) -> dict[str, Any]:
    """What a reader of the numbers must know of where they come from."""
    found = ((name, kit.peer(name), option) for name, option in _VERSION_OPTIONS.items())
    versions = {name: _first_line([path, option]) for name, path, option in found if path}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nsenter": nsenter.__version__,
        "load_average": os.getloadavg(),
        "versions": versions,
    }


def _verdict(target: float | None, ratio: Estimate) -> str:
    if target is None:
        return ""
    if ratio.high <= target:
        return "holds"
    return "missed" if ratio.low > target else "undecided"


def _ratio_name(ratio: Ratio) -> str:
    return f"{ratio.above}  /  {' + '.join(ratio.below)}"


def _line(name: str, value: Estimate, unit: int, digits: int) -> str:
    median, low, high = (f"{x / unit:.{digits}f}" for x in (value.median, value.low, value.high))
    return f"  {name:{_NAME_WIDTH}} {median:>9}  [{low}, {high}]"


def _case_lines(case: Case, samples: Samples) -> Iterator[str]:
    yield f"{case.title}"
    for name, value in case.estimates(samples).items():
        yield _line(name, value, _MICRO, 1) + " µs"
    for ratio in case.ratios:
        value = ratio.estimate(samples)
        yield f"  {_ratio_name(ratio)}"
        target = f"  target ≤ {ratio.target}: " if ratio.target else ""
        yield _line("", value, 1, 3) + f" x{target}{_verdict(ratio.target, value)}"
    for name in case.missing:
        yield f"  left out: {name} is not installed"


def as_table(cases: Mapping[str, Case], samples: Samples, about: Mapping[str, Any]) -> str:
    head = (
        f"{about['processors']} x {about['processor']}, Linux {about['kernel']}, "
        f"Python {about['python']}; medians [95 % confidence]"
    )
    blocks = ["\n".join(_case_lines(case, samples)) for case in cases.values()]
    return "\n\n".join([head, *blocks])


def _ratio_document(ratio: Ratio, samples: Samples) -> dict[str, Any]:
    value = ratio.estimate(samples)
    return {
        "above": ratio.above,
        "below": list(ratio.below),
        "ratio": asdict(value),
        "target": ratio.target,
        "verdict": _verdict(ratio.target, value) or None,
    }


def _case_document(case: Case, samples: Samples) -> dict[str, Any]:
    return {
        "title": case.title,
        "missing": case.missing,
        "nanoseconds": {name: asdict(e) for name, e in case.estimates(samples).items()},
        "ratios": [_ratio_document(ratio, samples) for ratio in case.ratios],
    }


def as_json(
    cases: Mapping[str, Case], samples: Samples, about: Mapping[str, Any], settings: dict[str, Any]
) -> str:
    document = {
        "machine": about,
        "command": sys.argv,
        "settings": settings,
        "cases": {name: _case_document(case, samples) for name, case in cases.items()},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
