"""A matrix product, computed by the threads of BLAS: when this is imported, and in each call."""

from __future__ import annotations

import ctypes

import numpy

from preloaded import SIZE, threads

THREADS = 4
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


def _use_threads() -> None:
    """By itself, OpenBLAS has no more of them than there are processors."""
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        paths = {line.split()[-1] for line in maps if "openblas" in line}
    for path in paths:
        library = ctypes.CDLL(path)
        for name in _SETTERS:
            if hasattr(library, name):
                getattr(library, name)(THREADS)
                return
    raise RuntimeError(f"numpy has another BLAS than OpenBLAS here: {sorted(paths)}")


def product() -> tuple[float, int]:
    """The sum of a product of matrices, and how many threads there are then."""
    matrix = numpy.ones((SIZE, SIZE))
    return float((matrix @ matrix).sum()), threads()


_use_threads()
at_import = product()


def both() -> tuple[tuple[float, int], tuple[float, int]]:
    return at_import, product()
