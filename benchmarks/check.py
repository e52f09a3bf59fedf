# SPDX-License-Identifier: Apache-2.0
"""The gate: counts what does not depend on the machine's mood, and fails where it has grown.

`check.py` compares with baseline.json, `check.py --update` writes it. As root; takes strace and
valgrind.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cases.containers import bundle_of, run_command
from kit import Kit, made_kit
from report import cgroups_layout

_BASELINE = Path(__file__).with_name("baseline.json")
_CLONES = ("clone", "clone3", "fork", "vfork")
_WAYS = ("direct", "stages", "python")
# What is counted is the difference of a run of few and one of many: what is done once is in both.
_FEW, _MANY = 4, 24
_FEW_MESSAGES, _MANY_MESSAGES = 100, 600
# The same everywhere: each variable is encoded once more for each launch.
_ENVIRONMENT = {
    "PATH": os.defpath,
    "HOME": "/",
    "LC_ALL": "C",
    "PYTHONHASHSEED": "0",
    "NSENTER_IMAGE": "off",  # whether there is one depends on what has run before
}


@dataclass(frozen=True)
class Count:
    """
    Attributes:
        value: how many.
        parts: what it is made of, to say what has grown.
    """

    value: float
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantity:
    """One thing that is counted.

    Attributes:
        count: counts it.
        share: by how much of it it may grow.
        slack: by how many at least.
        depends: the parts of the environment without which two counts cannot be compared.
    """

    count: Callable[[], Count]
    share: float
    slack: float = 0.0
    depends: tuple[str, ...] = ()

    def limit(self, before: float) -> float:
        return before + max(before * self.share, self.slack)


def _environment() -> dict[str, str]:
    optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = f"{platform.python_compiler()}{', optimized' if optimized else ''}"
    return {
        "python": f"{platform.python_version()} ({build})",
        "python minor": ".".join(platform.python_version_tuple()[:2]),
        "libc": " ".join(platform.libc_ver()),
        "architecture": platform.machine(),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "cgroups": cgroups_layout(),
    }


# ---- counting


def _tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise SystemExit(f"check.py: {name} is missing: .ci/install-packages bench")
    return found


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"check.py: {' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout + done.stderr


def _calls(kit: Kit, argv: list[str]) -> dict[str, float]:
    """System calls by their names, of all processes together."""
    summary = kit.folder / "calls"
    _run([_tool("strace"), "-f", "-qq", "-c", "-U", "calls,name", "-o", str(summary), *argv])
    rows = re.findall(r"^ *(\d+) +(\w+)$", summary.read_text(), re.MULTILINE)
    # A call that strace itself has interrupted is made again.
    return {name: float(count) for count, name in rows if name not in ("total", "restart_syscall")}


def _faults(argv: list[str]) -> int:
    """Page faults that took no disk, of all processes together."""
    pid = os.posix_spawn(argv[0], argv, _ENVIRONMENT)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, argv
    return usage.ru_minflt


def _per_launch(kit: Kit, way: str) -> dict[str, float]:
    few, many = (_calls(kit, kit.script("ways.py", way, n, kit.noop)) for n in (_FEW, _MANY))
    calls = {name: (many[name] - few.get(name, 0)) / (_MANY - _FEW) for name in many}
    return {name: count for name, count in calls.items() if count > 0}


def _total(parts: dict[str, float]) -> Count:
    return Count(sum(parts.values()), parts)


def _processes(parts: dict[str, float]) -> Count:
    return _total({name: count for name, count in parts.items() if name in _CLONES})


def _faults_per_launch(kit: Kit, way: str) -> Count:
    """The least of a few: what else goes on adds some and takes none."""
    few, many = (
        min(_faults(kit.script("ways.py", way, n, kit.noop)) for _ in range(3))
        for n in (_FEW, _MANY)
    )
    return Count((many - few) / (_MANY - _FEW))


def _instructions(kit: Kit, way: str) -> Count:
    few, many = (
        _collected(kit.script("ways.py", way, n, kit.noop)) for n in (_FEW_MESSAGES, _MANY_MESSAGES)
    )
    return Count((many - few) / (_MANY_MESSAGES - _FEW_MESSAGES))


def _collected(argv: list[str]) -> int:
    valgrind = [_tool("valgrind"), "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    found = re.search(r"Collected : (\d+)", _run([*valgrind, *argv]))
    assert found, argv
    return int(found[1])


def _opcodes(kit: Kit, way: str) -> Count:
    return Count(float(_run(kit.script("ways.py", "--opcodes", way, 5, kit.noop))))


def _quantities(kit: Kit) -> dict[str, Quantity]:
    """What is counted. Where stages wait for each other, a few calls are made more or less."""
    found = {}
    for way in ("encode", "decode"):
        found[f"{way}: instructions"] = Quantity(
            partial(_instructions, kit, way), 0.03, 100,
            depends=("python", "libc", "architecture"),
        )  # fmt: skip
    for way in _WAYS:
        calls = _per_launch(kit, way)
        exact = way == "direct"
        found[f"{way}: system calls"] = Quantity(
            partial(_total, calls), 0.02 if exact else 0.06, 1,
            depends=("python minor",) if way != "python" else ("python", "libc"),
        )  # fmt: skip
        found[f"{way}: processes"] = Quantity(partial(_processes, calls), 0)
        found[f"{way}: page faults"] = Quantity(
            partial(_faults_per_launch, kit, way), 0.1, 5,
            depends=("python", "libc", "kernel", "architecture"),
        )  # fmt: skip
        found[f"{way}: Python instructions of the launcher"] = Quantity(
            partial(_opcodes, kit, way), 0.02 if exact else 0.15,
            depends=("python minor",),
        )  # fmt: skip
    return found | _of_a_container(kit)


def _of_a_container(kit: Kit) -> dict[str, Quantity]:
    pyrunc = str(Path(kit.python).with_name("pyrunc"))
    argv = run_command(kit, "pyrunc", pyrunc, bundle_of(kit, "bundle", "noop"))
    for _ in range(3):  # the image of its modules is written, and what it needs of it
        _faults(argv)
    calls = _calls(kit, argv)
    where = ("python", "libc", "kernel", "cgroups")
    return {
        "pyrunc run: system calls": Quantity(partial(_total, calls), 0.05, depends=where),
        "pyrunc run: processes": Quantity(partial(_processes, calls), 0),
        "pyrunc run: page faults": Quantity(
            lambda: Count(min(_faults(argv) for _ in range(3))), 0.1,
            depends=(*where, "architecture"),
        ),
    }  # fmt: skip


# ---- comparing


def _grown_parts(now: Count, before: dict[str, float]) -> str:
    grown = {name: count - before.get(name, 0) for name, count in now.parts.items()}
    most = sorted(grown.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{name} +{more:.1f}" for name, more in most if more >= 0.5)


def _compare(name: str, quantity: Quantity, now: Count, before: Any) -> tuple[bool, str]:
    """Whether it is well, and what to say of it."""
    if before is None:
        return False, f"{name}: {now.value:.1f}, and the baseline has none"
    was = before["value"]
    text = f"{name}: {was:.1f} → {now.value:.1f} ({now.value / was - 1:+.1%})"
    if now.value > quantity.limit(was):
        parts = _grown_parts(now, before["parts"])
        return False, f"{text}, at most {quantity.limit(was):.1f}{f': {parts}' if parts else ''}"
    if now.value < was - max(was * quantity.share, quantity.slack):
        return True, f"{text}: better; --update makes this the baseline"
    return True, text


def _check(quantities: dict[str, Quantity], found: dict[str, Count]) -> int:
    baseline = json.loads(_BASELINE.read_text())
    here, there = _environment(), baseline["environment"]
    failures = []
    for name, quantity in quantities.items():
        other = [part for part in quantity.depends if here[part] != there[part]]
        if other:
            reasons = "; ".join(f"{part} {here[part]}, not {there[part]}" for part in other)
            print(f"  not compared: {name}: {reasons}")
            continue
        well, text = _compare(name, quantity, found[name], baseline["counts"].get(name))
        print(f"  {text}")
        if not well:
            failures.append(text)
    if failures:
        print("\ncheck.py: these have grown by more than they may:", file=sys.stderr)
        print("".join(f"  {text}\n" for text in failures), file=sys.stderr)
        print("Where that is meant: benchmarks/check.py --update, and commit benchmarks/"
              "baseline.json with the reason.", file=sys.stderr)  # fmt: skip
    return 1 if failures else 0


def _update(found: dict[str, Count]) -> None:
    counts = {
        name: {"value": round(count.value, 2), "parts": dict(sorted(count.parts.items()))}
        for name, count in found.items()
    }
    document = {"environment": _environment(), "counts": counts}
    _BASELINE.write_text(json.dumps(document, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/check.py", description=__doc__)
    parser.add_argument("--update", action="store_true", help="make these the baseline")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("benchmarks/check.py: must be root, as the benchmarks")
    with made_kit() as kit, ThreadPoolExecutor(2) as pool:
        quantities = _quantities(kit)
        counts = pool.map(lambda quantity: quantity.count(), quantities.values())
        found = dict(zip(quantities, counts, strict=True))
        if arguments.update:
            _update(found)
        return _check(quantities, found)


if __name__ == "__main__":
    sys.exit(main())
