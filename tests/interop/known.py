# SPDX-License-Identifier: Apache-2.0
"""The known differences from runc 1.1.5. See `differences`."""
from __future__ import annotations

from interop.differences import Difference
from interop.runtimes import PYRUNC, CRUN

KNOWN = (
    Difference(PYRUNC, "descriptors", r"[+-] [012] .*", "stdio"),
    Difference(PYRUNC, "device rules", r"- c 10:200 rwm", "tun"),
    Difference(PYRUNC, "status", r"[+-] Cap(Inh|Amb):.*", "AMBIENT BUG"),
    Difference(PYRUNC, "devices", r".* ./mqueue .*", "mq"),
    Difference(PYRUNC, "mountinfo", r"[+-] /sys/fs/cgroup on .*", "ro"),
    Difference(PYRUNC, "mountinfo", r"[+-] .* of tmpfs tmpfs .*(size=4k,nr_inodes=1|relatime; ro).*", "size"),
    Difference(CRUN, "descriptors", r"[+-] [012] .*", "stdio"),
    Difference(CRUN, "device rules", r"- c 10:200 rwm", "tun"),
    Difference(CRUN, "device rules", r"\+ c 5:1 rwm", "console"),
    Difference(CRUN, "devices", r"\+ './core' -> '/proc/kcore'.*", "core"),
    Difference(CRUN, "mountinfo", r"[+-] /sys/fs/cgroup on .*", "ro"),
    Difference(CRUN, "mountinfo", r"[+-] /sys on .*", "ro"),
    Difference(CRUN, "mountinfo", r"[+-] /sys/fs/cgroup/memory .*", "ro"),
    Difference(CRUN, "mountinfo", r"[+-] /(proc|sys)/.* of (tmpfs|devtmpfs) .*", "size"),
    Difference(CRUN, "cgroup", r"[+-] (0:|4:memory).*", "hidden"),
)
