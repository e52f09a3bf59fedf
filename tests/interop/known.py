# SPDX-License-Identifier: Apache-2.0
"""The known differences from runc 1.1.5. See `differences`."""
from __future__ import annotations

from interop.differences import Difference
from interop.runtimes import PYRUNC, CRUN

KNOWN = (
    Difference(PYRUNC, "descriptors", r"[+-] [012] .*", "stdio"),
    Difference(PYRUNC, "limits of the cgroup", r"[+-] devices/devices.list .*", "tun"),
    Difference(PYRUNC, "status", r"[+-] Cap(Inh|Amb):.*", "AMBIENT BUG"),
    Difference(PYRUNC, "devices", r".* ./mqueue .*", "mq"),
    Difference(PYRUNC, "mountinfo", r"[+-] /sys/fs/cgroup on .*", "ro"),
    Difference(PYRUNC, "mountinfo", r"[+-] .* of tmpfs tmpfs .*(size=4k,nr_inodes=1|relatime; ro).*", "size"),
)
