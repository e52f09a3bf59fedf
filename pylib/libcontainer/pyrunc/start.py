# SPDX-License-Identifier: Apache-2.0
"""The entry point of pyrunc's interpreters after find.py has found the package.

One interpreter runs the command. The other is the prebooted interpreter of the init.
"""

import gc
import sys
from posix import environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_FAILED = 1
_INIT_VARIABLE = b"_PYRUNC_INIT"
_NO_IMAGE_VARIABLE = b"_PYRUNC_NO_IMAGE"
# Commands after which no image is made: an engine starts the container next, or one is made by it.
_NO_TIME = ("create", "image")
_INIT = "init"  # no command: how csrc/products/early_init.c starts the init
# What is made while modules are imported stays: looking through it again and again takes as long
# as a module or ten.
OBJECTS_UNTIL_COLLECTED = 20_000


def main(here: str) -> None:
    """Run the command, or become the init; do not return.

    Args:
        here: the directory that contains the package.
    """
    gc.set_threshold(OBJECTS_UNTIL_COLLECTED)
    try:
        _become_what_is_asked()
    except (ImportError, OSError, MemoryError) as error:  # once they are loaded, nothing is raised
        why = str(error) or type(error).__name__
        sys.stderr.write(f"pyrunc: the modules in {here} cannot be loaded: {why}\n")
        sys.exit(_FAILED)


def _command_in(words: "Iterable[str]") -> str:
    """Return the first word that may be a command.

    The word may be the value of an option instead. Then images are made later than possible, but
    nothing else changes.
    """
    return next((word for word in words if word.isalpha()), "")


def _become_what_is_asked() -> None:
    no_image = environ.pop(_NO_IMAGE_VARIABLE, b"").decode("ascii", "backslashreplace")
    numbers = [int(number) for number in environ.pop(_INIT_VARIABLE, b"").split(b",") if number]
    if sys.argv[1:] == [_INIT] and numbers:
        from libcontainer.init.main import main as become_init
        from nsenter._interpreter.prebooted import serve

        serve(become_init, *numbers)
    from libcontainer.pyrunc.main import main as run_command

    should_be_made, _, reason = no_image.partition(" ")

    def before_leaving(status: int) -> None:
        if should_be_made == "1" and _command_in(sys.argv[1:]) not in _NO_TIME:
            from libcontainer.pyrunc.image_request import make_later

            make_later(sys.argv[0])

    run_command(numbers, before_leaving, reason)


if __name__ == "__main__":  # as pyrunc programs before pyrunc-start did
    sys.stderr.write("pyrunc: this program is older than its package: install pynsenter again\n")
    sys.exit(1)
