# SPDX-License-Identifier: Apache-2.0
"""OCI's config.json (runtime specification 1.0 to 1.3) as a `Config`.

What is unknown is passed over, as the specification asks; what is known and not done here is
refused by name. Each error names the place in the file.

What most files do not have is read by modules that are imported when it is there. The documents
that the runtime itself writes are `libcontainer.specconv.example` and `.features`.
"""

from __future__ import annotations

from libcontainer.specconv.process import process_from_spec
from libcontainer.specconv.resources import resources_from_spec
from libcontainer.specconv.spec import config_from_spec

__all__ = ["config_from_spec", "process_from_spec", "resources_from_spec"]
