# SPDX-License-Identifier: Apache-2.0
"""`pyrunc features`."""

from __future__ import annotations

from libcontainer.pyrunc.output import show
from libcontainer.specconv.features import features
from nsenter._host import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Print OCI's features document."""
    show(json_text.dumps(features(), indent=4))
    return 0
