# SPDX-License-Identifier: Apache-2.0
"""What is measured, and the rounds in which it is: everything once a round, in shuffled order."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from estimate import Estimate, estimate, paired_ratio

__all__ = ["Arm", "Case", "Ratio", "Samples", "run_rounds"]


@dataclass(frozen=True)
class Arm:
    """One thing that is done and timed, clean-up outside of the timing.

    Args:
        name: its name, the same wherever it is used.
        quantities: what each of the times that it gives is; each is a series
            "name: quantity".
        measure: do it once; returns one time in nanoseconds for each quantity.
    """

    name: str
    quantities: tuple[str, ...]
    measure: Callable[[], Sequence[float]]

    def series(self) -> list[str]:
        return [f"{self.name}: {quantity}" for quantity in self.quantities]


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


@dataclass
class Case:
    """What is compared with each other.

    Args:
        missing: peers that are not on this machine.
    """

    title: str
    arms: list[Arm]
    ratios: list[Ratio]
    missing: list[str] = field(default_factory=list)

    def series(self) -> list[str]:
        return [name for arm in self.arms for name in arm.series()]

    def estimates(self, samples: Samples) -> dict[str, Estimate]:
        return {name: estimate(samples[name]) for name in self.series()}


Samples = dict[str, list[float]]


def _measure_all(arms: Sequence[Arm], pause: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for arm in random.sample(arms, len(arms)):
        time.sleep(pause)
        found.update(zip(arm.series(), arm.measure(), strict=True))
    return found


def run_rounds(cases: Iterable[Case], rounds: int, *, warm_up: int, pause: float) -> Samples:
    """Measure each arm once a round; one that several cases have, only once.

    Args:
        warm_up: rounds before the first that counts.
        pause: seconds before each measurement.
    """
    arms = list({arm.name: arm for case in cases for arm in case.arms}.values())
    samples: Samples = {name: [] for arm in arms for name in arm.series()}
    gc.collect()
    gc.freeze()
    gc.disable()
    for i in range(-warm_up, rounds):
        found = _measure_all(arms, pause)
        gc.collect(0)
        if i >= 0:
            for name, value in found.items():
                samples[name].append(value)
    gc.enable()
    return samples
