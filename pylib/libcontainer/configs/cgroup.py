# SPDX-License-Identifier: Apache-2.0
"""The cgroup of a container, and its limits.

The numbers are those of OCI's linux.resources, with the same meaning (config-linux.md of the
runtime specification). None means that a limit is not given, and is left unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

from nsenter._host.records import Value


class DeviceRule(Value):
    """A rule about access to devices. If several rules match, the last one applies.

    Args:
        type: "b" (block), "c" (character) or "a" (all).
        major, minor: the device number; -1 means any.
        permissions: letters of "rwm": read, write, make a node.
        allow: True allows the access, False denies it.
    """

    type: str = "a"
    major: int = -1
    minor: int = -1
    permissions: str = "rwm"
    allow: bool = False


class BlockIODevice(Value):
    """A weight or a limit for one block device.

    Args:
        major, minor: the device number.
        value: the weight, or the bytes or operations per second.
        leaf_weight: the leaf weight (cgroup v1).
    """

    major: int
    minor: int
    value: int
    leaf_weight: int = 0


class HugepageLimit(Value):
    """A limit for huge pages.

    Args:
        page_size: the size of the pages, such as "2MB" or "1GB".
        limit: how many bytes of these pages may be used.
    """

    page_size: str
    limit: int


class NetworkPriority(Value):
    """The priority of the packets that are sent through a network interface (net_prio, v1)."""

    interface: str
    priority: int


class RdmaLimit(Value):
    """Limits for the handles and objects of one RDMA device. None means that no limit is given."""

    device: str
    hca_handles: int | None = None
    hca_objects: int | None = None


class Resources(Value):
    """The limits of a cgroup, in bytes, microseconds, CPU shares or processes."""

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
    # If True, the device rules of the cgroup are left unchanged, as in `update`.
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
    # The names of files of cgroup v2, and what is written to them after all other limits.
    unified: Mapping[str, str] = {}

    def limits_anything(self) -> bool:
        """Return whether there is any limit, apart from the device rules."""
        return self.replace(devices=(), skip_devices=False) != Resources()


class Cgroup(Value):
    """The cgroup of a container, and its limits.

    Args:
        path: the path of the cgroup: below the root of the hierarchy if it starts with "/",
            otherwise below the caller's own cgroup. "" means a path made from the container's id.
            For the systemd driver: "slice:prefix:name".
        name: the container's id.
        systemd: ask systemd to make the cgroup.
        rootless: ignore errors that the caller has no right to make a cgroup, unless a path or a
            limit was asked for.
        owner_uid: the uid on the host of the container's root, who may manage the cgroup
            (delegation, cgroup v2). None means nobody.
        resources: the limits.
        systemd_props: additional properties for the systemd driver, by name.
        disabled: give the container no cgroup of its own, and so no limits.
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
