# SPDX-License-Identifier: Apache-2.0
"""Make the memory images that Python code in namespaces is started from.

Each is a copy of the memory of an interpreter that has booted, and is valid until the machine boots
again. With them, nsenter.call and nsenter.PythonInit need not boot one each time. One is for roots
that show this Python's files, the other for roots in which no file is opened. The first start makes
each by itself, but not in a container and not with NSENTER_IMAGE=use in the environment. With
NSENTER_IMAGE=off no image is used or made.

example: python -m nsenter image
"""

from __future__ import annotations

from nsenter._host.printable import printable
from nsenter._interpreter import image
from nsenter.commands import complain, read
from nsenter.commands.table import Option

FAILED = 1
_KINDS = (image.PAYLOAD, image.MEMORY)
_OPTIONS = (Option(("--remove",), "", "remove the images instead", "remove"),)


def main(words: list[str]) -> int:
    """Print the paths of the images; return 1 if none can be made here."""
    given = read("image", __doc__, _OPTIONS, words)
    if given is None:
        return 0
    from nsenter._interpreter.image_maker import ImageError, make, remove

    if given.all("remove"):
        removed = [path for kind in _KINDS for path in remove(kind)]
        print("\n".join(removed) or "there was none")
        return 0
    try:
        for kind in _KINDS:
            print(make(kind))
    except ImageError as error:
        complain(f"nsenter: no image: {printable(str(error))}")
        return FAILED
    return 0
