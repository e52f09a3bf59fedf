# SPDX-License-Identifier: Apache-2.0
"""What the pyrunc program has its interpreters run, once find.py has found the package: the
command, or, beside it, the init that waits for it."""

import gc
import sys
from _frozen_importlib_external import SourceFileLoader
from posix import environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FAILED = 1
_INIT_VARIABLE = b"_PYRUNC_INIT"
_NO_IMAGE_VARIABLE = b"_PYRUNC_NO_IMAGE"
# Commands after which no image is made: an engine starts the container next, or one is made by it.
_NO_TIME = ("create", "image")
_IMAGE = "libcontainer.pyrunc.image"
# What is made while modules are imported stays: looking through it again and again takes as long
# as a module or ten.
OBJECTS_UNTIL_COLLECTED = 20_000


def _load_image(here: str) -> "Any":
    """By its path, as what finds modules would first read the folders of sys.path."""
    loader = SourceFileLoader(_IMAGE, f"{here}/{_IMAGE.replace('.', '/')}.py")
    image = sys.modules[_IMAGE] = type(sys)(_IMAGE)
    image.__file__ = loader.path
    loader.exec_module(image)
    return image


def main(here: str) -> None:
    """Be the command, or the init; does not return.

    Args:
        here: the directory that the package is in.
    """
    gc.set_threshold(OBJECTS_UNTIL_COLLECTED)
    try:
        _become_what_is_asked(here)
    except (ImportError, OSError, MemoryError) as error:  # once they are loaded, nothing is raised
        why = str(error) or type(error).__name__
        sys.stderr.write(f"pyrunc: the modules in {here} cannot be loaded: {why}\n")
        sys.exit(_FAILED)


def _become_what_is_asked(here: str) -> None:
    image = _load_image(here)
    no_image = environ.pop(_NO_IMAGE_VARIABLE, b"").decode("ascii", "backslashreplace")
    numbers = [int(number) for number in environ.pop(_INIT_VARIABLE, b"").split(b",") if number]
    if sys.argv[1:] == [image.INIT] and numbers:
        image.install(image.INIT)
        from libcontainer.init.main import main as become_init
        from nsenter.waiting import serve

        image.save()
        serve(become_init, *numbers)
    image.install(image.command_in(sys.argv[1:]))
    from libcontainer.pyrunc.main import main as run_command

    should_be_made, _, reason = no_image.partition(" ")

    def before_leaving(status: int) -> None:
        image.save(status)
        if should_be_made == "1" and image.command_in(sys.argv[1:]) not in _NO_TIME:
            from libcontainer.pyrunc.later import make_later

            make_later(sys.argv[0])

    run_command(numbers, before_leaving, reason)


if __name__ == "__main__":  # as pyrunc programs before pyrunc-start did
    sys.stderr.write("pyrunc: this program is older than its package: install pynsenter again\n")
    sys.exit(1)
