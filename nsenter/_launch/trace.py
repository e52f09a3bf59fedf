# SPDX-License-Identifier: Apache-2.0
"""Where a start spends its time: the trace of a launch as text, and drawn as SVG."""

from __future__ import annotations

from nsenter._host.records import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nsenter._launch.child import TracePoint

__all__ = ["Bar", "bars", "draw", "text"]

# What the launcher is to the rest: all of it, so the bar that the others are part of.
_WHOLE = "launcher"
_CELLS = 40  # characters of the widest bar in text


class Bar(Value):
    """What a stage did until it had come to a point.

    Args:
        stage, point: as in `TracePoint`.
        start, end: nanoseconds since the launch.
    """

    stage: str
    point: str
    start: int
    end: int

    @property
    def took(self) -> str:
        """The duration as a text."""
        return f"{(self.end - self.start) / 1e6:.3f} ms"


def bars(trace: Iterable[TracePoint]) -> tuple[Bar, ...]:
    """Return a bar for each point, sorted by their ends.

    A bar starts at the end of the same stage's bar before it. The first bar of a stage starts at
    the end of the last bar of any stage, because the new stage has waited for that one.
    """
    points = sorted(trace, key=lambda point: point.ns)
    if not points:
        return ()
    began = points[0].ns
    came: dict[str, int] = {}
    found, last = [], 0
    for point in points:
        now = point.ns - began
        start = came.get(point.stage, last)
        if point.stage != _WHOLE or now:
            found.append(Bar(point.stage, point.point, start, now))
        came[point.stage] = last = now
    return tuple(found)


def text(trace: Iterable[TracePoint]) -> str:
    """Return a line for each bar: its end, its duration, and the bar."""
    found = bars(trace)
    whole = max((bar.end for bar in found), default=0) or 1
    lines = ["       at       took  stage     came to"]
    for bar in found:
        first, end = (round(ns * _CELLS / whole) for ns in (bar.start, bar.end))
        cells = " " * first + ("━" * (end - first) or "╸")
        at = f"{bar.end / 1e6:.3f}"
        lines.append(f"{at:>9} {bar.took:>12}  {bar.stage:9} {bar.point:10} {cells}".rstrip())
    return "\n".join([*lines, ""])


# ---- SVG. All lengths are in pixels.

_LEFT, _RIGHT, _TOP, _BOTTOM = 96, 150, 44, 40
_PLOT = 640
_ROW, _BAR = 24, 16
_COLOURS = ("#64748b", "#2563eb", "#d97706", "#059669", "#9333ea")
_FONT = "font-family='system-ui, sans-serif' font-size='12'"


def draw(trace: Iterable[TracePoint], title: str = "") -> str:
    """Return the bars as an SVG document: a lane for each stage, a row for each bar, an axis."""
    found = bars(trace)
    lanes = [
        (stage, [bar for bar in found if bar.stage == stage])
        for stage in dict.fromkeys(bar.stage for bar in sorted(found, key=lambda bar: bar.start))
    ]
    # The launcher's is the whole: first, and the others are seen to make it up.
    lanes.sort(key=lambda lane: lane[0] != _WHOLE)
    whole = max((bar.end for bar in found), default=0) or 1
    height = _TOP + _ROW * len(found) + _BOTTOM
    width = _LEFT + _PLOT + _RIGHT
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
            f"width='{width}' height='{height}' {_FONT}>",
            f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
            f"<text x='{_LEFT}' y='24' font-size='14' fill='#0f172a'>{_escaped(title)}</text>",
            *_lanes(lanes, whole, width),
            *_axis(whole, height),
            *_rows(lanes, whole),
            "</svg>\n",
        ]
    )


def _x(ns: int, whole: int) -> float:
    return round(_LEFT + ns * _PLOT / whole, 1)


def _lanes(lanes: Sequence[tuple[str, Sequence[Bar]]], whole: int, width: int) -> Iterator[str]:
    y = _TOP
    for index, (stage, found) in enumerate(lanes):
        height = _ROW * len(found)
        if index % 2 == 0:
            yield f"<rect y='{y}' width='{width}' height='{height}' fill='#f1f5f9'/>"
        yield f"<text x='12' y='{y + 16}' font-weight='600' fill='#0f172a'>{_escaped(stage)}</text>"
        y += height


def _axis(whole: int, height: int) -> Iterator[str]:
    step = _step(whole)
    bottom = height - _BOTTOM
    for ns in range(0, whole + 1, step):
        x = _x(ns, whole)
        yield f"<line x1='{x}' y1='{_TOP}' x2='{x}' y2='{bottom + 4}' stroke='#cbd5e1'/>"
        label = f"{ns / 1e6:g}"
        yield f"<text x='{x}' y='{bottom + 18}' text-anchor='middle' fill='#475569'>{label}</text>"
    middle = _LEFT + _PLOT // 2
    yield f"<text x='{middle}' y='{height - 6}' text-anchor='middle' fill='#475569'>ms</text>"


def _step(whole: int) -> int:
    """Return the nanoseconds between ticks: 1, 2 or 5 times a power of ten, for 4 to 10 ticks."""
    step = 1000
    while True:
        for factor in (1, 2, 5):
            if whole <= step * factor * 10:
                return step * factor
        step *= 10


def _rows(lanes: Sequence[tuple[str, Sequence[Bar]]], whole: int) -> Iterator[str]:
    y = _TOP
    for index, (_, found) in enumerate(lanes):
        colour = _COLOURS[index % len(_COLOURS)]
        for bar in found:
            x, end = _x(bar.start, whole), _x(bar.end, whole)
            width = max(round(end - x, 1), 2)
            label = f"{_escaped(bar.point)} · {bar.took}"
            box = f"x='{x}' y='{y + 4}' width='{width}' height='{_BAR}' rx='2'"
            yield f"<rect {box} fill='{colour}'/>"
            yield f"<text x='{x + width + 6}' y='{y + 16}' fill='#0f172a'>{label}</text>"
            y += _ROW


def _escaped(text: str) -> str:
    """Return text for XML, which does not allow most control characters."""
    legal = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return legal.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
