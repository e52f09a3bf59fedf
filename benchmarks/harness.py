# SPDX-License-Identifier: Apache-2.0
"""What is measured, and the rounds in which it is: everything once a round, in shuffled order."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from estimate import Estimate, estimate, paired_ratio

__all__ = [
    "WAITED",
    "Arm",
    "Case",
    "Curve",
    "Effort",
    "Ratio",
    "Samples",
    "estimates",
    "run_case",
]

Samples = dict[str, list[float]]

# What most arms measure: from before the start until the process was waited for.
WAITED = "→ waited for"


@dataclass(frozen=True)
class Arm:
    """One thing that is done and measured, clean-up outside of the measurement.

    Args:
        name: its name, unique in its case.
        measure: do it once; returns one value for each quantity.
        quantities: what each of the values is; each is a series "name: quantity".
        note: how it differs from the others; said beside its numbers.
        prepare: what has to be done once before its rounds, where they are not interleaved.
    """

    name: str
    measure: Callable[[], Sequence[float]]
    quantities: tuple[str, ...] = (WAITED,)
    note: str = ""
    prepare: Callable[[], None] | None = None

    def series(self, quantity: str | None = None) -> str:
        """The name of one of its series; the last by default."""
        return f"{self.name}: {quantity or self.quantities[-1]}"

    def all_series(self) -> list[str]:
        return [self.series(quantity) for quantity in self.quantities]


@dataclass(frozen=True)
class Ratio:
    """A series beside the sum of others, pair by pair.

    Args:
        target: the ratio to reach; None: for information.
    """

    above: str
    below: tuple[str, ...]
    target: float | None = None

    def estimate(self, samples: Samples) -> Estimate:
        below = [sum(values) for values in zip(*(samples[s] for s in self.below), strict=True)]
        return paired_ratio(samples[self.above], below)


@dataclass(frozen=True)
class Curve:
    """How a series grows.

    Args:
        name: what grows.
        points: places on the axis, each with its series.
    """

    name: str
    points: tuple[tuple[float, str], ...]

    @classmethod
    def through(
        cls, name: str, places: Sequence[int], arms: Sequence[Arm], quantity: str | None = None
    ) -> Curve:
        """One arm for each place; of its last quantity, or the one that is named."""
        pairs = zip(places, arms, strict=True)
        return cls(name, tuple((float(place), arm.series(quantity)) for place, arm in pairs))


@dataclass
class Case:
    """What is compared with each other.

    Args:
        title: one line.
        about: what is measured and what is in it, in sentences.
        unit: of all its values: "ns", "bytes" or "per second".
        axis: what its curves are drawn over.
        missing: what is left out, by name, with the reason.
        seconds: how long its rounds may take in all.
        interleaved: whether all arms take turns; else one after another, because what is around
            them has to be changed from one to the next.
        rest: seconds before each measurement, where that is how the thing is used.
    """

    title: str
    about: str
    arms: list[Arm]
    ratios: list[Ratio] = field(default_factory=list)
    unit: str = "ns"
    axis: str = ""
    curves: list[Curve] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    seconds: float = 20.0
    interleaved: bool = True
    rest: float = 0.0

    def all_series(self) -> list[str]:
        return [name for arm in self.arms for name in arm.all_series()]


@dataclass(frozen=True)
class Effort:
    """How much is made of each case.

    Args:
        rounds: the most.
        least: the fewest, whatever they take.
        share: of the case's seconds.
        warm_up: rounds before the first that counts.
        pause: seconds before each measurement.
    """

    rounds: int = 300
    least: int = 12
    share: float = 1.0
    warm_up: int = 3
    pause: float = 0.0


def _measure_all(arms: Sequence[Arm], pause: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for arm in random.sample(arms, len(arms)):
        time.sleep(pause)
        found.update(zip(arm.all_series(), arm.measure(), strict=True))
    return found


def _rounds(
    arms: Sequence[Arm], seconds: float, pause: float, effort: Effort
) -> Iterator[dict[str, float]]:
    for _ in range(effort.warm_up):
        _measure_all(arms, pause)
    deadline = time.monotonic() + seconds
    for done in range(effort.rounds):
        if done >= effort.least and time.monotonic() > deadline:
            return
        yield _measure_all(arms, pause)
        gc.collect(0)


def run_case(case: Case, effort: Effort) -> Samples:
    """Measure each arm once a round, until the rounds are made or their time is over."""
    seconds, pause = case.seconds * effort.share, max(case.rest, effort.pause)
    groups = [case.arms] if case.interleaved else [[arm] for arm in case.arms]
    samples: Samples = {name: [] for name in case.all_series()}
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for arms in groups:
            for arm in arms:
                if arm.prepare is not None:
                    arm.prepare()
            for found in _rounds(arms, seconds / len(groups), pause, effort):
                for name, value in found.items():
                    samples[name].append(value)
    finally:
        gc.enable()
        gc.unfreeze()
    return samples


def estimates(case: Case, samples: Samples) -> dict[str, Estimate]:
    return {name: estimate(samples[name]) for name in case.all_series()}
