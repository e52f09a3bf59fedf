# SPDX-License-Identifier: Apache-2.0
"""The cgroup of a container and what it is limited to.

Numbers are as in OCI's linux.resources and mean the same (config-linux.md of the runtime
specification); None: not said, left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from nsenter._host.records import Value


class DeviceRule(Value):
    """Access to devices, a line of the list; a later one wins.

    Args:
        type: "a" (all), "b" or "c".
        major, minor: the number; -1: any.
        permissions: of "rwm".
        allow: whether this is allowed or denied.
    """

    type: str = "a"
    major: int = -1
    minor: int = -1
    permissions: str = "rwm"
    allow: bool = False


class BlockIODevice(Value):
    """A number for one block device: a weight, bytes or operations per second."""

    major: int
    minor: int
    value: int
    leaf_weight: int = 0


class HugepageLimit(Value):
    """At most `limit` bytes of huge pages of `page_size` ("2MB", "1GB")."""

    page_size: str
    limit: int


class NetworkPriority(Value):
    """The priority of what is sent by an interface (net_prio, v1)."""

    interface: str
    priority: int


class RdmaLimit(Value):
    """At most so many handles and objects of one RDMA device; None: no limit said."""

    device: str
    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(Value):
    """What a cgroup limits. Units: bytes, microseconds, CPU shares, processes."""

    nested = {
        "devices": DeviceRule,
        "blkio_weight_device": BlockIODevice,
        "blkio_throttle_read_bps_device": BlockIODevice,
        "blkio_throttle_write_bps_device": BlockIODevice,
        "blkio_throttle_read_iops_device": BlockIODevice,
        "blkio_throttle_write_iops_device": BlockIODevice,
        "hugetlb_limit": HugepageLimit,
        "net_prio_ifpriomap": NetworkPriority,
        "rdma": RdmaLimit,
    }

    devices: tuple[DeviceRule, ...] = ()
    # A container that is to be allowed what it is says so; what manages the host's does not.
    skip_devices: bool = False
    memory: int | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None
    memory_swappiness: int | None = None
    memory_check_before_update: bool = False
    oom_kill_disable: bool = False
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_burst: int | None = None
    cpu_period: int | None = None
    cpu_rt_quota: int | None = None
    cpu_rt_period: int | None = None
    cpu_idle: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    blkio_weight: int | None = None
    blkio_leaf_weight: int | None = None
    blkio_weight_device: tuple[BlockIODevice, ...] = ()
    blkio_throttle_read_bps_device: tuple[BlockIODevice, ...] = ()
    blkio_throttle_write_bps_device: tuple[BlockIODevice, ...] = ()
    blkio_throttle_read_iops_device: tuple[BlockIODevice, ...] = ()
    blkio_throttle_write_iops_device: tuple[BlockIODevice, ...] = ()
    hugetlb_limit: tuple[HugepageLimit, ...] = ()
    net_prio_ifpriomap: tuple[NetworkPriority, ...] = ()
    net_cls_classid: int | None = None
    rdma: tuple[RdmaLimit, ...] = ()
    # File names of cgroup v2 with their content, written last.
    unified: Mapping[str, str] = {}

    def limits_anything(self) -> bool:
        """Whether it says more than which devices may be used."""
        return self.replace(devices=(), skip_devices=False) != Resources()


class Cgroup(Value):
    """Where a container's cgroup is and what it limits.

    Args:
        path: below the hierarchy's root when it starts with "/", else below the caller's own
            cgroup; "": made of the container's id. "slice:prefix:name" with the systemd driver.
        name: the container's id.
        systemd: whether systemd is asked to make it.
        rootless: errors of a caller without rights are passed over, where nothing was asked.
        owner_uid: of the host; the container's root, who may manage it (delegation, v2).
        resources: limits.
        systemd_props: more properties for the systemd driver, by name.
        disabled: the container has no cgroup of its own, and so no limits.
    """

    nested = {"resources": Resources}

    path: str = ""
    name: str = ""
    systemd: bool = False
    rootless: bool = False
    owner_uid: int | None = None
    resources: Resources = Resources()
    systemd_props: Mapping[str, str] = {}
    disabled: bool = False
