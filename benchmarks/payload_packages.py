# SPDX-License-Identifier: Apache-2.0
"""What runs inside and imports large packages.

These functions are in a module of their own: what a module imports is sent with it, so the launches
of `payload` would be measured with these packages in their module archive.
"""

from __future__ import annotations


def with_pandas() -> float:
    """A function that needs a larger one."""
    import pandas

    return float(pandas.Series(range(10)).sum())


def with_numpy() -> float:
    """A function that needs a large package with extensions."""
    import numpy

    return float(numpy.ones(100).sum())
