# SPDX-License-Identifier: Apache-2.0
"""The pictures of a run, from its document alone: `pictures.py RESULTS.json FOLDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw"]

_OURS, _FLOOR, _PEER = "#1f6f8b", "#3a3a3a", "#c9c4bb"
_LINES = ("#1f6f8b", "#d9822b", "#3a3a3a", "#8a5a9e")
_STAGES = {"launcher": "#8a8a8a", "parent": "#d9822b", "child": "#8a5a9e", "init": "#1f6f8b"}
_STYLE = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10,
    "axes.titlelocation": "left", "axes.edgecolor": "#999999", "xtick.color": "#555555",
    "ytick.color": "#333333", "legend.frameon": False, "savefig.dpi": 110,
}  # fmt: skip
_WIDTH = 8.2
_OURS_ARE = ("nsenter", "pyrunc", "libcontainer", "launch(")

Case = dict[str, Any]
Row = tuple[str, float, float, float]  # name, median, low, high


def _color(name: str) -> str:
    if name.startswith("floor"):
        return _FLOOR
    return _OURS if name.startswith(_OURS_ARE) and name != "nsenter(1)" else _PEER


def _bars(axes: Axes, rows: Sequence[Row], unit: str) -> None:
    """The first row at the top, each with its number."""
    names = [row[0] for row in rows]
    medians = [row[1] for row in rows]
    errors = [[m - low for _, m, low, _ in rows], [high - m for _, m, _, high in rows]]
    colors = [_color(name) for name in names]
    axes.barh(names, medians, color=colors, xerr=errors, height=0.7,
              error_kw={"ecolor": "#777777", "elinewidth": 0.8, "capsize": 2})  # fmt: skip
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    widest = max(row[3] for row in rows)
    for at, (_, median, _, high) in enumerate(rows):
        digits = 2 if median < 10 else 1 if median < 100 else 0
        text = f"{median:.{digits}f}"
        axes.text(high + widest * 0.015, at, f"{text} {unit}", va="center", fontsize=8)
    axes.set_xlim(0, widest * 1.16)


def _waited(case: Case) -> dict[str, dict[str, float]]:
    """The values of a case by arm, of its last quantity."""
    found: dict[str, dict[str, float]] = {}
    for series, value in case["values"].items():
        found[series.rpartition(": ")[0]] = value
    return found


def _row(name: str, value: dict[str, float], divisor: float) -> Row:
    return name, value["median"] / divisor, value["low"] / divisor, value["high"] / divisor


def _rows(case: Case, divisor: float) -> list[Row]:
    """A row for each arm, the quickest first."""
    rows = [_row(name, value, divisor) for name, value in _waited(case).items()]
    return sorted(rows, key=lambda row: row[1])


def _floor(case: Case) -> float:
    return next(v["median"] for name, v in _waited(case).items() if name.startswith("floor"))


def _draw_launch(cases: dict[str, Case]) -> Figure:
    """Launches as multiples of the floor."""
    known = [cases[name] for name in ("all", "but-net") if name in cases]
    figure, places = plt.subplots(len(known), 1, figsize=(_WIDTH, 2.2 * len(known)), squeeze=False)
    for axes, case in zip(places[:, 0], known, strict=True):
        floor = _floor(case)
        _bars(axes, _rows(case, floor), "\N{MULTIPLICATION SIGN}")
        axes.axvline(1, color=_FLOOR, linewidth=0.8, linestyle=":")
        axes.set_title(f"{case['title']}: times the floor ({floor / 1e3:.0f} µs)")
    return figure


def _draw_kinds(cases: dict[str, Case]) -> Figure:
    """One namespace of each kind: floor, ours, unshare."""
    values = _waited(cases["single"])
    kinds = list(dict.fromkeys(name.partition(": ")[0] for name in values))
    who = list(dict.fromkeys(name.partition(": ")[2] for name in values))
    who.sort(key=lambda name: ("floor", "nsenter", "unshare").index(name))
    figure, axes = plt.subplots(figsize=(_WIDTH, 2.8))
    width = 0.8 / len(who)
    for i, name in enumerate(who):
        found = [values[f"{kind}: {name}"] for kind in kinds]
        heights = [v["median"] / 1e6 for v in found]
        errors = [[(v["median"] - v["low"]) / 1e6 for v in found],
                  [(v["high"] - v["median"]) / 1e6 for v in found]]  # fmt: skip
        label = {"floor": "floor, in C", "nsenter": "nsenter, launch()"}.get(name, name)
        places = [at + (i - (len(who) - 1) / 2) * width for at in range(len(kinds))]
        axes.bar(places, heights, width * 0.92, label=label, color=_color(name), yerr=errors,
                 error_kw={"ecolor": "#777777", "elinewidth": 0.8})  # fmt: skip
    axes.set_xticks(range(len(kinds)), kinds)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("ms")
    axes.set_title("A no-op in one new namespace of each kind")
    axes.legend(ncols=len(who), loc="upper right")
    axes.margins(y=0.18)
    return figure


_TIMED = ("container", "container-v2", "join", "python", "call")


def _draw_groups(cases: dict[str, Case]) -> Figure:
    """Bars of several cases below each other, each with a scale of its own."""
    known = [cases[name] for name in _TIMED if name in cases]
    heights = [len(_waited(case)) + 1.5 for case in known]
    figure, places = plt.subplots(
        len(known), 1, figsize=(_WIDTH, 0.27 * sum(heights)), squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for axes, case in zip(places[:, 0], known, strict=True):
        _bars(axes, _rows(case, 1e6), "ms")
        axes.set_title(case["title"])
    return figure


def _codec_rows(case: Case, work: str, size: str) -> list[Row]:
    return [
        _row(name.removeprefix(f"{work}, ").removesuffix(f" ({size})"), value, 1e3)
        for name, value in _waited(case).items()
        if name.startswith(f"{work}, ") and name.endswith(f"({size})")
    ]


def _draw_codec(cases: dict[str, Case]) -> Figure:
    """What is done, and the size of the message, each with a scale of its own."""
    figure, places = plt.subplots(2, 2, figsize=(_WIDTH, 3.4))
    shown = [(work, size) for work in ("encode", "decode") for size in ("240 bytes", "60 KB")]
    for axes, (work, size) in zip(places.flat, shown, strict=True):
        _bars(axes, _codec_rows(cases["codec"], work, size), "µs")
        axes.set_title(f"{work}, {size}")
    return figure


_GROWTHS = ("caller", "mounts", "maps", "joined", "alive", "concurrency")
_LOGARITHMIC = ("caller", "mounts", "alive", "concurrency")


def _draw_growth(cases: dict[str, Case]) -> Figure:
    """How a launch grows; each with zero in sight."""
    known = [name for name in _GROWTHS if name in cases]
    rows = (len(known) + 1) // 2
    figure, places = plt.subplots(rows, 2, figsize=(_WIDTH, 2.4 * rows), squeeze=False)
    for axes in places.flat[len(known) :]:
        axes.axis("off")
    for axes, name in zip(places.flat, known, strict=False):
        _draw_curves(axes, cases[name], logarithmic=name in _LOGARITHMIC)
    return figure


def _draw_curves(axes: Axes, case: Case, *, logarithmic: bool) -> None:
    divisor = 1.0 if case["unit"] == "per second" else 1e6
    for color, (name, points) in zip(_LINES, case["curves"].items(), strict=False):
        xs = [x for x, _ in points]
        found = [case["values"][series] for _, series in points]
        middle, low, high = ([v[k] / divisor for v in found] for k in ("median", "low", "high"))
        axes.plot(xs, middle, "o-", color=color, label=name, ms=3.5)
        axes.fill_between(xs, low, high, color=color, alpha=0.15)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.margins(y=0.25)
    axes.set_xlabel(case["axis"], fontsize=8)
    axes.set_ylabel("starts per second" if divisor == 1 else "ms", fontsize=8)
    axes.set_title(case["title"])
    if len(case["curves"]) > 1:
        axes.legend(fontsize=8, loc="best")


def _draw_waterfall(document: dict[str, Any]) -> Figure:
    """Each point as a bar from the one before it of the same stage, or from the stage's start."""
    falls = document["waterfalls"]
    heights = [len(points) for points in falls.values()]
    figure, places = plt.subplots(
        len(falls), 1, figsize=(_WIDTH, 0.27 * sum(heights) + 1.2), squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for axes, (name, points) in zip(places[:, 0], falls.items(), strict=True):
        _draw_fall(axes, points)
        axes.set_title(f"One launch of {name} in all namespaces, from the spawn")
        axes.set_xlabel("ms")
    return figure


def _draw_fall(axes: Axes, points: Sequence[dict[str, Any]]) -> None:
    before = 0.0
    last = points[-1]["ns"] / 1e6
    for at, point in enumerate(points):
        end = point["ns"] / 1e6
        axes.barh(at, end - before, left=before, color=_STAGES[point["stage"]], height=0.66)
        axes.text(end + last * 0.008, at, f"{end:.2f}", va="center", fontsize=8)
        before = end
    axes.set_yticks(range(len(points)), [f"{p['stage']}: {p['point']}" for p in points])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, last * 1.08)


def _draw_memory(cases: dict[str, Case]) -> Figure:
    """Peaks of the processes on the way, one beside the other."""
    values = cases["peaks"]["values"]
    rows = [_row(name, value, 2**20) for name, value in values.items()]
    figure, axes = plt.subplots(figsize=(_WIDTH, 0.25 * len(rows) + 0.8))
    _bars(axes, rows, "MiB")
    axes.set_title(cases["peaks"]["title"])
    return figure


def draw(document: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what there are cases for; returns the files, all of them PNG."""
    cases = document["cases"]
    pictures = {
        "launch": (("all", "but-net"), lambda: _draw_launch(cases)),
        "kinds": (("single",), lambda: _draw_kinds(cases)),
        "containers": (_TIMED, lambda: _draw_groups(cases)),
        "codec": (("codec",), lambda: _draw_codec(cases)),
        "growth": (_GROWTHS, lambda: _draw_growth(cases)),
        "memory": (("peaks",), lambda: _draw_memory(cases)),
    }
    drawn = []
    with mpl.rc_context(_STYLE):
        for name, (shown, make) in pictures.items():
            if any(case in cases for case in shown):
                drawn.append(_save(make(), folder / f"{name}.png"))
        drawn.append(_save(_draw_waterfall(document), folder / "waterfall.png"))
    return drawn


def _save(figure: Figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return path


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
