"""Everything in memory that a payload can write to is limited, in bytes and in files."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

import nsenter
from nsenter import Dev, Options, Proc, Tmpfs, presets
from nsenter.mounts import Bind

MiB = 1 << 20
SIZE, INODES = 64 * MiB, 16384
# What each place takes, up to a bound of this script's own; and which of them there are: the mounts
# in memory, or all with a name.
FILL = """
import json, os, sys
def bytes_in(folder):
    taken, path = 0, folder + "/fill"
    try:
        with open(path, "wb", buffering=0) as file:
            while taken < 200 << 20:
                taken += file.write(bytes(1 << 20))
    except OSError:
        pass
    os.unlink(path)
    return taken
def files_in(folder):
    made = []
    try:
        while len(made) < 20000:
            name = f"{folder}/{len(made)}"
            os.symlink("x", name)
            made.append(name)
    except OSError:
        pass
    for name in made:
        os.unlink(name)
    return len(made)
places = set(sys.argv[1:])
if not places:
    for line in open("/proc/self/mountinfo"):
        if line.split(" - ")[1].startswith(("tmpfs ", "ramfs ")):
            places |= {line.split()[4], line.split()[4] + "/shm"}
places = [place for place in places if os.path.isdir(place) and os.access(place, os.W_OK)]
print(json.dumps({place: (bytes_in(place), files_in(place)) for place in places}))
"""
SYSTEM = [Bind(path) for path in presets._system()]


def filled(options: Options, *places: str) -> dict[str, tuple[int, int]]:
    said = nsenter.check_output([sys.executable, "-I", "-S", "-c", FILL, *places], options)
    return {place: (size, files) for place, (size, files) in json.loads(said).items()}


def own_root(**fields: Any) -> Options:
    mounts = [*SYSTEM, *presets._interpreter(), Proc(), Dev(), Tmpfs("/mnt")]
    return Options(new="user,mnt,pid", **{"root": "tmpfs", "mounts": mounts, **fields})


def assert_bounded(
    found: dict[str, tuple[int, int]], size: int = SIZE, inodes: int = INODES
) -> None:
    for place, (taken, files) in found.items():
        assert 0 < taken <= size, (place, taken)
        assert 0 < files < inodes, (place, files)


def test_each_writable_place_of_a_sandbox() -> None:
    found = filled(presets.sandbox())
    assert found.keys() == {"/tmp", "/dev/shm"}
    assert_bounded(found)
    assert min(size for size, _ in found.values()) > SIZE - 2 * MiB


def test_a_sandbox_with_a_size_of_its_own() -> None:
    found = filled(presets.sandbox(tmp_size=2 * MiB))
    assert found.keys() == {"/tmp", "/dev/shm"}
    assert_bounded(found, 2 * MiB)


def test_each_writable_place_of_an_empty_root() -> None:
    found = filled(own_root())
    assert found.keys() == {"/", "/dev", "/dev/shm", "/mnt"}
    assert_bounded(found)


def test_the_root_with_bounds_of_its_own() -> None:
    found = filled(own_root(root=Tmpfs("/", size=3 * MiB, inodes=500)))
    assert_bounded({"/": found["/"]}, 3 * MiB, 500)


def test_mounts_over_the_callers_tree() -> None:
    # Not on /tmp, where the checkout may be.
    mounts = [Tmpfs("/mnt"), Dev("/mnt/dev"), Tmpfs("/mnt/tmp")]
    options = Options(new="user,mnt", mounts=mounts)
    places = {"/mnt", "/mnt/dev", "/mnt/dev/shm", "/mnt/tmp"}
    found = filled(options, *places)
    assert found.keys() == places
    assert_bounded(found)


def test_more_can_be_asked_for() -> None:
    options = own_root(
        mounts=[
            *SYSTEM,
            *presets._interpreter(),
            Proc(),
            Tmpfs("/mnt", size=90 * MiB, inodes=17000),
        ]
    )
    taken, files = filled(options)["/mnt"]
    assert 88 * MiB < taken <= 90 * MiB
    assert INODES < files < 17000


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        (Tmpfs("/a", size=0), "size must be a whole number above 0"),
        (Tmpfs("/a", inodes=-1), "inodes must be a whole number above 0"),
        (Dev(size=1.5), "size must be a whole number above 0"),
        (Dev(inodes=True), "inodes must be a whole number above 0"),
    ],
)  # fmt: skip
def test_what_is_no_bound_is_refused(mount: nsenter.mounts.Mount, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        nsenter.run(["true"], Options(new="user,mnt", mounts=[mount]))


def test_a_root_in_memory_is_at_the_root() -> None:
    with pytest.raises(ValueError, match='Tmpfs whose target is "/"'):
        nsenter.run(["true"], Options(new="user,mnt", root=Tmpfs("/x")))
