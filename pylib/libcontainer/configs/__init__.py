# SPDX-License-Identifier: Apache-2.0
"""What a container is to be: `Config` and all that it holds, named as in runc's libcontainer.

Nothing here knows of OCI's JSON (libcontainer.specconv does) or of a system call. The init reads
its part of it inside the container, so nothing is imported that is not built in.
"""

from libcontainer.configs.cgroup import (
    BlockIODevice,
    Cgroup,
    DeviceRule,
    HugepageLimit,
    NetworkPriority,
    RdmaLimit,
    Resources,
)
from libcontainer.configs.config import (
    Capabilities,
    Config,
    Hook,
    Hooks,
    IOPriority,
    MemoryPolicy,
    Rlimit,
    Scheduler,
)
from libcontainer.configs.mount import Device, Mount
from libcontainer.configs.process import ProcessConfig
from libcontainer.configs.seccomp import Seccomp, SyscallArgument, SyscallRule
from nsenter.bootstrap import TimeOffset
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespace, Namespaces

__all__ = [
    "BlockIODevice",
    "Capabilities",
    "Cgroup",
    "Config",
    "Device",
    "DeviceRule",
    "Hook",
    "Hooks",
    "HugepageLimit",
    "IDMap",
    "IOPriority",
    "MemoryPolicy",
    "Mount",
    "Namespace",
    "Namespaces",
    "NetworkPriority",
    "ProcessConfig",
    "RdmaLimit",
    "Resources",
    "Rlimit",
    "Scheduler",
    "Seccomp",
    "SyscallArgument",
    "SyscallRule",
    "TimeOffset",
]
