"""Each mount option has its effect, alone and after other options."""

from __future__ import annotations

from typing import Any

import pytest

from full_spec import FULL, SHORT
from libcontainer.configs import IDMap, Mount
from libcontainer.configs.mount import EXT_COPYUP
from libcontainer.specconv import config_from_spec
from libcontainer.specconv.mounts import EXTENSIONS, FLAGS, IDMAP, PROPAGATION, RECURSIVE

# mount(2), sys/mount.h
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC = 1, 2, 4, 8, 32, 0x1000, 0x4000
NOATIME, RELATIME, STRICTATIME = 0x400, 1 << 21, 1 << 24
PRIVATE, SLAVE, SHARED = 1 << 18, 1 << 19, 1 << 20
# mount_setattr(2)
ATTR_RDONLY, ATTR_NOSUID, ATTR_NOATIME, ATTR_STRICTATIME, ATTR_ATIME = 1, 2, 0x10, 0x20, 0x70


def mount(*options: str, **fields: Any) -> Mount:
    given = {"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": list(options)}
    spec = SHORT | {"mounts": [given | fields]}
    return config_from_spec(spec, id="x", bundle="/bundle").mounts[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), {}),
        (("defaults",), {}),
        (("ro", "nosuid"), {"flags": RDONLY | NOSUID}),
        (("rw", "exec"), {"cleared_flags": RDONLY | NOEXEC}),
        (("ro", "rw"), {"cleared_flags": RDONLY}),
        (("rw", "ro"), {"flags": RDONLY}),
        (("noatime", "atime"), {"cleared_flags": NOATIME}),
        (("relatime", "strictatime"), {"flags": RELATIME | STRICTATIME}),
        (("private", "rshared"), {"propagation_flags": (PRIVATE, SHARED | REC)}),
        (("rro",), {"rec_attr_set": ATTR_RDONLY}),
        (("rro", "rrw"), {"rec_attr_clr": ATTR_RDONLY}),
        (("rnoatime",), {"rec_attr_set": ATTR_NOATIME, "rec_attr_clr": ATTR_ATIME}),
        (
            ("rnoatime", "rstrictatime"),
            {"rec_attr_set": ATTR_STRICTATIME, "rec_attr_clr": ATTR_ATIME},
        ),
        (("rnoatime", "ratime"), {"rec_attr_clr": ATTR_ATIME}),
        (("rrelatime",), {"rec_attr_clr": ATTR_ATIME}),
        (("rnosuid", "rro"), {"rec_attr_set": ATTR_NOSUID | ATTR_RDONLY}),
        (("tmpcopyup",), {"extensions": EXT_COPYUP}),
        (("idmap",), {"idmap": True}),
        (("ridmap",), {"idmap": True, "idmap_recursive": True}),
        (("ridmap", "idmap"), {"idmap": True}),
        (("size=1m", "ro", "mode=755"), {"flags": RDONLY, "data": "size=1m,mode=755"}),
        (("acl", "lowerdir=/a:/b"), {"data": "acl,lowerdir=/a:/b"}),
    ],
)
def test_options_add_up(options: tuple[str, ...], told: dict[str, Any]) -> None:
    usual = {"destination": "/x", "source": "tmpfs", "device": "tmpfs"}

    assert dict(mount(*options)._told()) == usual | told


@pytest.mark.parametrize("option", sorted({*FLAGS, *PROPAGATION, *RECURSIVE, *EXTENSIONS, *IDMAP}))
def test_no_known_option_is_data(option: str) -> None:
    assert mount(option, source="/x").data == ""


def test_no_option_is_in_two_tables() -> None:
    tables = (FLAGS, PROPAGATION, RECURSIVE, EXTENSIONS, IDMAP)

    assert len(set().union(*tables)) == sum(map(len, tables))


def test_who_binds_has_the_type_bind() -> None:
    for option, flags in (("bind", BIND), ("rbind", BIND | REC)):
        bound = mount(option, type="whatever", source="/src")
        assert (bound.device, bound.flags, bound.is_bind) == ("bind", flags, True)


def test_the_type_bind_binds() -> None:
    assert mount(type="bind", source="/src").flags == BIND


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("/src/../y", "/src/../y"),
        ("src", "/bundle/src"),
        ("./a/../b", "/bundle/b"),
        ("..", "/"),
    ],
)
def test_what_is_bound_is_relative_to_the_bundle(source: str, path: str) -> None:
    assert mount("bind", source=source).source == path


def test_other_sources_are_left_alone() -> None:
    assert mount(source="shm").source == "shm"


def test_a_relative_destination_is_below_the_root() -> None:
    assert mount(destination="a/b").destination == "/a/b"


def test_a_remount_needs_no_type() -> None:
    assert mount("remount", "ro", type="").flags == REMOUNT | RDONLY


def test_mappings_make_it_id_mapped() -> None:
    ids = [{"containerID": 1, "hostID": 2, "size": 3}]
    mapped = mount("bind", source="/src", uidMappings=ids, gidMappings=ids)

    assert mapped.idmap and not mapped.idmap_recursive
    assert mapped.uid_mappings == mapped.gid_mappings == (IDMap(1, 2, 3),)


def test_mounts_stay_in_order() -> None:
    mounts = config_from_spec(FULL, id="x", bundle="/bundle").mounts

    assert [m.destination for m in mounts] == [m["destination"] for m in FULL["mounts"]]
