# SPDX-License-Identifier: Apache-2.0
"""The configuration of a container: `Config` and its parts, named as in runc's libcontainer.

Nothing in this package depends on the JSON of OCI, which libcontainer.specconv reads, or makes a
system call. The init reads its part of the configuration inside the container. This package
therefore imports only modules that are built into the interpreter.
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
    ConfigForInit,
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
    "ConfigForInit",
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
