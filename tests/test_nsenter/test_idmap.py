"""nsenter.idmap accepts and refuses the maps that the kernel does, and reads subuid(5) files."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsenter import idmap
from nsenter.idmap import IDMap, IDMappings, SubIDRange

LAST = 2**32 - 2

ids = st.integers(0, LAST)


@st.composite
def id_maps(draw: Any, first: Any = ids, largest: Any = LAST + 1) -> Any:
    inside, outside = draw(first), draw(first)
    size = draw(st.integers(1, min(largest, LAST + 1 - max(inside, outside))))
    return IDMap(inside, outside, size)


# --- IDMap


def test_the_whole_of_the_ids_is_a_map() -> None:
    assert IDMap(0, 0, LAST + 1).size == LAST + 1
    assert IDMap(LAST, LAST, 1).host_id == LAST


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ((-1, 0, 1), "id map container_id -1: must be in 0..4294967294"),
        ((0, -5, 1), "id map host_id -5: must be in 0..4294967294"),
        ((LAST + 1, 0, 1), "id map container_id 4294967295: must be in"),
        ((0, LAST + 1, 1), "id map host_id 4294967295: must be in"),
        ((3, 0, 0), "id map container_id 3: size 0: must be at least 1"),
        ((0, 0, -1), "size -1: must be at least 1"),
        ((1, 0, LAST + 1), "id map container_id 1: size 4294967295: runs past 4294967294"),
        ((0, 2, LAST), "id map host_id 2: size 4294967294: runs past 4294967294"),
        ((0, 0, 2**32), "size 4294967296: runs past"),
        ((True, 0, 1), "id map container_id True: must be an integer"),
        ((0, "0", 1), "id map host_id '0': must be an integer"),
        ((0, 0, 1.0), "size 1.0: must be an integer"),
    ],
)
def test_a_bad_field_is_refused_by_name_and_value(fields: Any, error: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        IDMap(*fields)


def test_a_map_cannot_be_changed_and_is_hashable() -> None:
    line = IDMap(0, 1, 2)
    with pytest.raises(AttributeError):
        line.size = 3  # type: ignore[misc]
    assert {line} == {IDMap(0, 1, 2)}


# --- encode and parse


def test_encode_writes_what_runc_writes() -> None:
    # UIDMAP of "userns-3-ranges", captured from runc 1.1.5, without its NUL.
    captured = bytes.fromhex(
        "302031303030303020310a3120313030303031203939390a31303030203230303030302036343533360a"
    )
    maps = (IDMap(0, 100000, 1), IDMap(1, 100001, 999), IDMap(1000, 200000, 64536))
    assert idmap.encode(maps) == captured
    assert idmap.parse(captured) == maps


@given(st.lists(id_maps()))
def test_parse_undoes_encode(maps: Any) -> None:
    text = idmap.encode(maps)
    assert idmap.parse(text) == idmap.parse(text.decode()) == tuple(maps)
    assert idmap.parse(text.removesuffix(b"\n")) == tuple(maps)


@given(st.lists(id_maps()))
def test_parse_takes_the_kernels_columns(maps: Any) -> None:
    text = "".join(f"{m.container_id:10} {m.host_id:10} {m.size:10}\n" for m in maps)
    assert idmap.parse(text) == tuple(maps)


def test_parse_takes_the_map_of_this_process() -> None:
    assert idmap.parse(Path("/proc/self/uid_map").read_bytes())


@given(st.binary() | st.text())
def test_parse_refuses_with_a_value_error_or_means_what_it_read(text: Any) -> None:
    try:
        maps = idmap.parse(text)
    except ValueError as err:
        assert str(err).startswith("id map line ")
    else:
        raw = text if isinstance(text, bytes) else text.encode()
        assert [int(word) for word in raw.split()] == [
            number for m in maps for number in (m.container_id, m.host_id, m.size)
        ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("0 0 1\n\n", "id map line 2 '': expected three decimal numbers"),
        ("\n", "id map line 1 ''"),
        ("0 0 1\n0 0\n", "id map line 2 '0 0'"),
        ("0 0 1 1", "id map line 1 '0 0 1 1'"),
        ("0 0 +1", "id map line 1 '0 0 +1'"),
        ("0 -1 1", "id map line 1 '0 -1 1'"),
        ("0 0 1_0", "id map line 1 '0 0 1_0'"),
        ("0 0 0x1", "id map line 1 '0 0 0x1'"),
        ("0 0 \u0661", r"id map line 1 '0 0 \\u0661'"),
        (b"0 0 \xb9", r"id map line 1 '0 0 \\xb9'"),
        ("0 0 1\0", r"id map line 1 '0 0 1\x00'"),
        ("0 0 " + "1" * 5000, "id map line 1 '0 0 111"),
        ("5 0 1\n0 7 0\n", "id map line 2: id map container_id 0: size 0: must be at least 1"),
    ],
)
def test_a_bad_line_is_refused_by_number_and_text(text: Any, error: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        idmap.parse(text)


# --- check


def overlap(maps: list[IDMap]) -> bool:
    def share(a: range, b: range) -> bool:
        return max(a.start, b.start) < min(a.stop, b.stop)

    inside = [range(m.container_id, m.container_id + m.size) for m in maps]
    outside = [range(m.host_id, m.host_id + m.size) for m in maps]
    return any(
        share(side[i], side[j])
        for side in (inside, outside)
        for i in range(len(maps))
        for j in range(i)
    )


@given(st.lists(id_maps(st.integers(0, 60), 12), max_size=6))
def test_check_refuses_exactly_the_maps_that_overlap(maps: Any) -> None:
    if not overlap(maps):
        idmap.check(maps)
        return
    with pytest.raises(ValueError, match="id map lines overlap in") as caught:
        idmap.check(maps)
    named = re.findall(r"'(\d+) (\d+) (\d+)' \((\w+) (\d+)-(\d+)\)", str(caught.value))
    culprits = [IDMap(*map(int, words[:3])) for words in named]
    assert len(culprits) == 2 and overlap(culprits)
    assert all(culprit in maps for culprit in culprits)


def test_an_overlap_names_both_ranges_and_the_side() -> None:
    with pytest.raises(ValueError, match="id map lines overlap") as caught:
        idmap.check([IDMap(500, 0, 10), IDMap(9, 100, 1), IDMap(0, 200, 10)])
    assert str(caught.value) == (
        "id map lines overlap in container ids: "
        "'0 200 10' (container 0-9) and '9 100 1' (container 9-9)"
    )
    with pytest.raises(ValueError, match=r"overlap in host ids.*host 0-99.*host 50-50"):
        idmap.check([IDMap(7, 50, 1), IDMap(100, 0, 100)])


def singles(count: int, start: int = 0) -> list[IDMap]:
    return [IDMap(start + i, start + i, 1) for i in range(count)]


def map_of(length: int) -> list[IDMap]:
    """A map whose text has this length, of 4091 to 4099 bytes."""
    maps = [*singles(204, 10_000_000), IDMap(100_000, 10 ** (length - 4091), 1)]
    assert len(idmap.encode(maps)) == length
    return maps


def test_check_takes_340_lines_and_no_more() -> None:
    idmap.check(singles(340))
    with pytest.raises(ValueError, match="id map has 341 lines: the kernel takes at most 340"):
        idmap.check(singles(341))


def test_check_takes_4095_bytes_and_no_more() -> None:
    idmap.check(map_of(4095))
    with pytest.raises(ValueError, match="id map is 4096 bytes long: the kernel takes at most 40"):
        idmap.check(map_of(4096))


def test_a_map_without_lines_is_one_that_is_not_written() -> None:
    idmap.check([])


# --- check, against the kernel


@pytest.fixture
def kernel_takes() -> Any:
    """Writes a map to a new user namespace of the running kernel; says whether it was taken."""
    whole = (IDMap(0, 0, LAST + 1),)
    if os.geteuid() != 0 or idmap.parse(Path("/proc/self/uid_map").read_bytes()) != whole:
        pytest.skip("needs root and every id")
    if (unshare := shutil.which("unshare")) is None:
        pytest.skip("no unshare(1)")

    def write(text: bytes) -> bool:
        with subprocess.Popen(
            [unshare, "--user", "sh", "-c", "echo ready; read line"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdin and child.stdout
            if child.stdout.readline() != b"ready\n":
                pytest.skip("no user namespaces")
            fd = os.open(f"/proc/{child.pid}/uid_map", os.O_WRONLY)
            try:
                return os.write(fd, text) == len(text)
            except OSError:
                return False
            finally:
                os.close(fd)
                child.stdin.close()

    return write


@pytest.mark.parametrize(
    "maps",
    [
        [IDMap(0, 0, 1)],
        [IDMap(0, 0, LAST + 1)],
        [IDMap(LAST, LAST, 1)],
        [IDMap(5, 0, 5), IDMap(0, 5, 5)],
        [IDMap(0, 0, 6), IDMap(5, 10, 1)],
        [IDMap(0, 0, 6), IDMap(10, 5, 1)],
        [IDMap(0, 0, 10), IDMap(20, 20, 10), IDMap(4, 40, 1)],
        singles(340),
        singles(341),
        map_of(4095),
    ],
    ids=lambda maps: f"{len(maps)}-lines-{maps[-1].container_id}-{maps[-1].host_id}",
)
def test_the_kernel_agrees_with_check(kernel_takes: Any, maps: Any) -> None:
    try:
        idmap.check(maps)
    except ValueError:
        assert not kernel_takes(idmap.encode(maps))
    else:
        assert kernel_takes(idmap.encode(maps))


@pytest.mark.skipif(os.sysconf("SC_PAGESIZE") != 4096, reason="the limit is the page size")
def test_the_kernel_refuses_4096_bytes(kernel_takes: Any) -> None:
    assert not kernel_takes(idmap.encode(map_of(4096)))


@pytest.mark.parametrize(
    "text",
    [
        "0 0 0\n",
        "4294967295 0 1\n",
        "0 4294967295 1\n",
        "1 0 4294967295\n",
        "0 0\n",
        "0 0 1\n\n1 1 1\n",
    ],
)
def test_the_kernel_refuses_what_parse_refuses(kernel_takes: Any, text: Any) -> None:
    with pytest.raises(ValueError, match="id map line"):
        idmap.parse(text)
    assert not kernel_takes(text.encode())


# --- subordinate ids


SUBID = """\
# a comment
alice:100000:65536
bob:200000:65536

1234:300000:10
alice:0x10:1
alice:-1:1
alice:5
alice:5:5:5
alice::5
alice:7:
:1:2
alice:7:0
alice:4294967290:65536
alice:99999999999:1
alice:\u0661:1
alice: 5:5
+alice:1:1
alice:400000:1"""


@pytest.mark.parametrize(
    ("name", "uid", "expected"),
    [
        ("alice", 1000, [(100000, 65536), (400000, 1)]),
        ("alice", 1234, [(100000, 65536), (300000, 10), (400000, 1)]),
        (None, 1234, [(300000, 10)]),
        ("bob", 0, [(200000, 65536)]),
        ("carol", 1, []),
        ("", 1, []),
        ("ali", 123, []),
    ],
)
def test_a_user_has_the_lines_of_its_name_and_of_its_uid(
    name: Any, uid: Any, expected: Any
) -> None:
    assert idmap.parse_subid(SUBID, name, uid) == tuple(SubIDRange(*r) for r in expected)


@given(st.text())
def test_garbage_gives_nobody_anything_and_raises_nothing(text: Any) -> None:
    assert all(isinstance(r, SubIDRange) for r in idmap.parse_subid(text, "0", 0))


def test_a_bad_range_is_refused_by_field_and_value() -> None:
    with pytest.raises(ValueError, match="subordinate ids' start 5: count 0: must be at least 1"):
        SubIDRange(5, 0)
    with pytest.raises(ValueError, match="subordinate ids' start -1: must be in"):
        SubIDRange(-1, 1)


def test_a_missing_file_gives_nothing(tmp_path: Path) -> None:
    assert idmap.subordinate_ranges(tmp_path / "none", uid=1) == ()


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        idmap.subordinate_ranges(tmp_path, uid=1)


def test_the_calling_user_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text(f"{pwd.getpwuid(os.geteuid()).pw_name}:7:3\n{os.geteuid() + 1}:1:1\n")
    assert idmap.subordinate_ranges(file) == (SubIDRange(7, 3),)


def test_a_file_that_is_not_utf8_is_read_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_bytes(b"ren\xe9:1:1\n4242:5:6\n")
    assert idmap.subordinate_ranges(file, uid=4242) == (SubIDRange(5, 6),)


# --- maps of the caller


def test_map_root_makes_the_caller_root() -> None:
    assert idmap.map_root() == IDMappings(
        (IDMap(0, os.geteuid(), 1),), (IDMap(0, os.getegid(), 1),)
    )
    assert idmap.map_root(uid=7, gid=8) == IDMappings((IDMap(0, 7, 1),), (IDMap(0, 8, 1),))


def test_map_current_leaves_the_caller_who_it_is() -> None:
    assert idmap.map_current() == IDMappings(
        (IDMap(os.geteuid(), os.geteuid(), 1),), (IDMap(os.getegid(), os.getegid(), 1),)
    )
    assert idmap.map_current(uid=7, gid=8) == IDMappings((IDMap(7, 7, 1),), (IDMap(8, 8, 1),))


def test_an_explicit_id_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="id map host_id -1"):
        idmap.map_root(uid=-1)


@pytest.fixture
def subid(tmp_path: Path) -> Any:
    """map_auto for uid 4242, gid 4343, with these texts in the two files (None: no file)."""

    def run(subuid: str | None, subgid: str | None, **kwargs: int) -> IDMappings:
        for name, text in ("subuid", subuid), ("subgid", subgid):
            if text is not None:
                (tmp_path / name).write_text(text)
        return idmap.map_auto(
            **{"uid": 4242, "gid": 4343, **kwargs},
            subuid_path=tmp_path / "subuid",
            subgid_path=str(tmp_path / "subgid"),
        )

    return run


def test_map_auto_puts_the_ranges_end_to_end_above_root(subid: Any) -> None:
    maps = subid("4242:200000:10\n4242:100000:65536\n", "4242:300000:5\n")
    assert maps.uid == (IDMap(0, 4242, 1), IDMap(1, 100000, 65536), IDMap(65537, 200000, 10))
    assert maps.gid == (IDMap(0, 4343, 1), IDMap(1, 300000, 5))


def test_a_user_listed_by_name_and_by_uid_gets_its_ids_once(subid: Any) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    text = f"{me}:100000:10\n{os.geteuid()}:100000:10\n{me}:100005:20\n{me}:100010:1\n"
    assert subid(text, text, uid=os.geteuid()).uid[1:] == (IDMap(1, 100000, 25),)


def test_ranges_that_only_touch_stay_as_they_are_listed(subid: Any) -> None:
    text = "4242:100000:10\n4242:100010:10\n"
    assert subid(text, text).uid[1:] == (IDMap(1, 100000, 10), IDMap(11, 100010, 10))


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 12)), min_size=1, max_size=6))
def test_map_auto_gives_each_subordinate_id_exactly_once(
    tmp_path_factory: Any, ranges: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "subid"
    file.write_text("".join(f"0:{start}:{count}\n" for start, count in ranges))
    maps = idmap.map_auto(uid=0, gid=0, subuid_path=file, subgid_path=file).uid
    given_ids = sorted({i for start, count in ranges for i in range(start, start + count)})
    assert [i for m in maps for i in range(m.host_id, m.host_id + m.size)] == [0, *given_ids]
    assert [i for m in maps for i in range(m.container_id, m.container_id + m.size)] == [
        *range(len(given_ids) + 1)
    ]


def test_root_may_do_without_lines(subid: Any) -> None:
    assert subid(None, "", uid=0, gid=0) == idmap.map_root(uid=0, gid=0)


def test_root_gets_its_ranges_after_itself(subid: Any) -> None:
    maps = subid("root:100000:65536\n", None, uid=0, gid=0)
    assert maps == IDMappings((IDMap(0, 0, 1), IDMap(1, 100000, 65536)), (IDMap(0, 0, 1),))


def test_a_range_that_holds_the_caller_is_refused(subid: Any) -> None:
    with pytest.raises(ValueError, match=r"overlap in host ids.*'1 4000 1000'.*'0 4242 1'"):
        subid("4242:4000:1000\n", "4242:100000:1\n")


NAMED = next((u for u in pwd.getpwall() if u.pw_uid), None)


@pytest.mark.skipif(NAMED is None, reason="no user but root")
def test_without_lines_the_error_says_which_command_adds_them(subid: Any, tmp_path: Path) -> None:
    assert NAMED
    with pytest.raises(LookupError) as caught:
        subid("", "", uid=NAMED.pw_uid)
    assert str(caught.value) == (
        f"no subordinate ids: no line in {tmp_path}/subuid or {tmp_path}/subgid for "
        f"user {NAMED.pw_name} (uid {NAMED.pw_uid}); add it with: "
        f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {NAMED.pw_name}"
    )


@pytest.mark.skipif(NAMED is None, reason="no user but root")
def test_the_error_names_only_the_file_that_lacks_the_line(subid: Any, tmp_path: Path) -> None:
    assert NAMED
    with pytest.raises(LookupError) as caught:
        subid(f"{NAMED.pw_name}:100000:65536\n", None, uid=NAMED.pw_uid)
    assert f"no line in {tmp_path}/subgid for user" in str(caught.value)
    # usermod(8) refuses the option as long as the file is missing
    assert str(caught.value).endswith(
        f"touch {tmp_path}/subgid && usermod --add-subgids 165536-231071 {NAMED.pw_name}"
    )


@pytest.mark.skipif(NAMED is None, reason="no user but root")
@pytest.mark.parametrize(
    ("taken", "advised"),
    [
        ("x:100000:65536\n", "165536-231071"),
        ("x:165536:1\ny:5:10\n", "100000-165535"),
        ("x:165535:1\n", "165536-231071"),
        ("x:1:4000000\ny:100000:7\n", "4000001-4065536"),
    ],
)
def test_the_advice_never_gives_away_another_users_ids(
    subid: Any, taken: Any, advised: Any
) -> None:
    assert NAMED
    for subuid, subgid in (taken, ""), ("", taken):
        with pytest.raises(LookupError, match=f"--add-subuids {advised} --add-subgids {advised}"):
            subid(subuid, subgid, uid=NAMED.pw_uid)


def test_a_user_without_a_name_is_told_which_line_to_add(subid: Any) -> None:
    nameless = next(u for u in range(4_000_000, 5_000_000) if idmap._login_name(u) is None)
    with pytest.raises(LookupError) as caught:
        subid("", "", uid=nameless)
    assert str(caught.value).endswith(
        f"for uid {nameless}, which has no login name; add the line {nameless}:100000:65536"
    )


def test_the_command_of_the_advice_works() -> None:
    """In a copy of /etc: a new user, the command of the error, and then map_auto is content."""
    programs = [shutil.which(name) for name in ("unshare", "usermod")]
    if os.geteuid() != 0 or not all(programs):
        pytest.skip("needs root, unshare(1) and usermod(8)")
    code = """
import pathlib, pwd, subprocess
from nsenter import idmap
with open("/etc/passwd", "a") as file:
    file.write("nsenter-test:x:54321:54321::/:/bin/false\\n")
for path in map(pathlib.Path, ("/etc/subuid", "/etc/subgid")):
    path.unlink(missing_ok=True)
uid = pwd.getpwnam("nsenter-test").pw_uid
try:
    idmap.map_auto(uid=uid, gid=uid)
except LookupError as err:
    subprocess.run(str(err).split("add it with: ")[1], shell=True, check=True)
maps = idmap.map_auto(uid=uid, gid=uid)
assert maps.uid == maps.gid == (idmap.IDMap(0, uid, 1), idmap.IDMap(1, 100000, 65536)), maps
"""
    script = """
        set -e
        mount -t tmpfs none /mnt && cp -a /etc /mnt/etc && mount --bind /mnt/etc /etc
    """
    python = shlex.join([sys.executable, "-c", code])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{script}\nexec {python}"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"no mount namespace: {done.stderr}")
    assert done.returncode == 0, done.stderr
