# SPDX-License-Identifier: Apache-2.0
"""Detect that the imported package `nsenter` belongs to another distribution.

The package index has a distribution with that name. Its only file, nsenter/__init__.py, overwrites
the one of this distribution.
"""

import sys

__all__ = ["CURE", "check"]

CURE = (
    "remove that and install this again: pip uninstall nsenter; "
    "pip install --force-reinstall --no-deps pynsenter"
)


def check() -> None:
    """Refuse a package that is not ours.

    Raises:
        ImportError: it is another's; says which file, and what to do.
    """
    package = sys.modules["nsenter"]
    if getattr(package, "__distribution__", "") == "pynsenter":
        return
    file = getattr(package, "__file__", None)
    what = f"{file} is not that of the distribution 'pynsenter', but another's"
    if file is None:
        what = "nsenter/__init__.py is gone, as after another distribution was uninstalled"
    raise ImportError(f"{what}, such as that which is called 'nsenter'; {CURE}")
