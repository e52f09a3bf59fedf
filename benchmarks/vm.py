# SPDX-License-Identifier: Apache-2.0
"""A container and a sandbox with cgroups on cgroup v2, beside their peers: `make bench-vm`.

It runs in the emulated machine of the tests, because there cgroup v2 is all there is and crun can
make a cgroup. Its processor is emulated: what computes is slowed down more than what waits, so
the ratios are not those of a real machine. They show whether something got better or worse.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from cases.containers import bundle_of, containers_with_cgroups
from cases.limiting import limits_case
from harness import Effort, run_case
from kit import Kit
from report import case_document, table

_CGROUPS = Path("/sys/fs/cgroup/cgroup.controllers")
_EFFORT = Effort(rounds=int(os.environ.get("VM_ROUNDS", "15")), least=5, warm_up=1)


def main() -> None:
    if os.geteuid() != 0 or not _CGROUPS.exists():
        sys.exit("benchmarks/vm.py: must be root where cgroup v2 is at /sys/fs/cgroup")
    busybox = shutil.which("busybox")
    if busybox is None:
        sys.exit("benchmarks/vm.py: busybox is not installed; on Debian: busybox-static")
    with TemporaryDirectory(prefix="nsenter-bench-") as name:
        program = Path(name, "true")
        shutil.copy(busybox, program)
        kit = Kit(Path(name), noop=program, stay=program, floor=program, peaks=program)
        bundle = bundle_of(kit, "bundle", "true", cgroup_namespace=True)
        with ExitStack() as stack:
            for case in (
                containers_with_cgroups(kit, bundle, seconds=240), limits_case(kit, stack)
            ):  # fmt: skip
                print(table(case_document(case, run_case(case, _EFFORT))))


if __name__ == "__main__":
    main()
