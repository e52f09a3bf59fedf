# SPDX-License-Identifier: Apache-2.0
"""`pyrunc image`."""

from __future__ import annotations

import sys

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.output import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Make the memory images of pyrunc's interpreters, or remove them; print their paths."""
    from libcontainer.init.image_contents import IMAGE
    from libcontainer.pyrunc import command_image
    from nsenter._interpreter import image_maker

    script = sys.argv[0]
    if context.options["remove"]:
        removed = [*command_image.remove(script), *image_maker.remove(IMAGE, {})]
        show("\n".join(removed) or "there were none")
        return 0
    try:
        show(image_maker.make(IMAGE, {}))
        show(command_image.make(script))
    except image_maker.ImageError as error:
        raise ContainerError(f"no image: {error}") from None
    return 0
