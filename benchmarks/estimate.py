# SPDX-License-Identifier: Apache-2.0
"""Medians with a confidence interval, by ranks: nothing is assumed of how the times are spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Estimate", "estimate", "paired_ratio"]

_Z_95 = 1.96


@dataclass(frozen=True)
class Estimate:
    """A median and the interval that has the true one in it 95 times of 100."""

    median: float
    low: float
    high: float
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """The number of values under the true median is binomial(n, ½): so two of the ranks bound
    it. With fewer than six values no two do, and the interval is all there is of them."""
    ordered = sorted(values)
    n = len(ordered)
    reach = _Z_95 * math.sqrt(n) / 2
    low = max(0, math.floor(n / 2 - reach) - 1)
    high = min(n - 1, math.ceil(n / 2 + reach))
    return Estimate(statistics.median(ordered), ordered[low], ordered[high], n)


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """The ratio within each round: what slows a whole round down is in both and cancels out.

    Where the rounds were not interleaved one of the two may have more of them.
    """
    return estimate([a / b for a, b in zip(above, below, strict=False)])
