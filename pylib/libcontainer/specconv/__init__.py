# SPDX-License-Identifier: Apache-2.0
"""Convert the config.json of the OCI runtime specification (1.0 to 1.3) into a `Config`.

Unknown keys are ignored, as the specification requires. Known ones that are not supported are
refused by name. Each error says where in the file it is.

Keys that most files do not have are read by modules that are imported only if the key is present.
The documents that the runtime itself writes are in `libcontainer.specconv.example` and `.features`.
"""

from __future__ import annotations

from libcontainer.specconv.process import process_from_spec
from libcontainer.specconv.resources import resources_from_spec
from libcontainer.specconv.spec import config_from_spec

__all__ = ["config_from_spec", "process_from_spec", "resources_from_spec"]
