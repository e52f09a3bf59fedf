# SPDX-License-Identifier: Apache-2.0
"""`pyrunc restore`."""

from __future__ import annotations

from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> NoReturn:
    """Refuse: checkpoints require CRIU, which is not supported."""
    raise ContainerError("restore is not supported: pyrunc does not work with CRIU")
