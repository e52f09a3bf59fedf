# SPDX-License-Identifier: Apache-2.0
"""Make the memory image that Python code in namespaces is started from.

It is a copy of the memory of an interpreter that has booted, and is valid until the machine boots
again. With it, nsenter.call and nsenter.PythonInit need not boot one each time. The first start
makes it by itself, but not in a container and not with NSENTER_IMAGE=use in the environment. With
NSENTER_IMAGE=off no image is used or made.

example: python -m nsenter image
"""

from __future__ import annotations

import sys

from nsenter.commands import read
from nsenter.commands.table import Option
from nsenter.printable import printable

FAILED = 1
_OPTIONS = (Option(("--remove",), "", "remove the image instead", "remove"),)


def main(words: list[str]) -> int:
    """Print the path of the image; 1 if none can be made here."""
    given = read("image", __doc__, _OPTIONS, words)
    if given is None:
        return 0
    from nsenter import image
    from nsenter.image_maker import ImageError, make, remove

    if given.all("remove"):
        print("\n".join(remove(image.PAYLOAD)) or "there was none")
        return 0
    try:
        print(make(image.PAYLOAD))
    except ImageError as error:
        print(f"nsenter: no image: {printable(str(error))}", file=sys.stderr)
        return FAILED
    return 0
