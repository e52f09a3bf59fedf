# SPDX-License-Identifier: Apache-2.0
"""The tests of this folder are for the guest that run.py starts: elsewhere there are none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

collect_ignore_glob = [] if "VM_GUEST" in os.environ else ["*"]
sys.path.insert(0, str(Path(__file__).parent))
