"""nsenter.namespaces has runc's names and order, and refuses bad types and paths."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsenter.namespaces import (
    Namespace,
    Namespaces,
    NamespaceType,
    is_namespace_supported,
    namespace_types,
)

NET, MNT, USER, PID = (
    NamespaceType.NEWNET,
    NamespaceType.NEWNS,
    NamespaceType.NEWUSER,
    NamespaceType.NEWPID,
)

# type: /proc name, OCI name, clone flag (linux/sched.h)
FACTS = {
    "NEWUSER": ("user", "user", 0x10000000),
    "NEWIPC": ("ipc", "ipc", 0x08000000),
    "NEWUTS": ("uts", "uts", 0x04000000),
    "NEWNET": ("net", "network", 0x40000000),
    "NEWPID": ("pid", "pid", 0x20000000),
    "NEWNS": ("mnt", "mount", 0x00020000),
    "NEWCGROUP": ("cgroup", "cgroup", 0x02000000),
    "NEWTIME": ("time", "time", 0x00000080),
}

types = st.sampled_from(namespace_types())
paths = st.just("") | st.text(
    st.characters(exclude_characters=",\0", exclude_categories=["Cs"])
).map("/{}".format)
namespaces = st.builds(Namespace, types, paths)
lists = st.lists(namespaces, unique_by=lambda ns: ns.type).map(Namespaces)


# --- NamespaceType


def test_join_order_is_runcs_with_user_first() -> None:
    assert namespace_types() == tuple(FACTS)
    assert namespace_types() is namespace_types()


@pytest.mark.parametrize("word", FACTS)
def test_each_type_knows_its_flag_and_its_names(word: Any) -> None:
    kind = NamespaceType(word)
    assert (kind.ns_name(), kind.oci_name, kind.clone_flag) == FACTS[word]
    assert kind == word == str(kind) == kind.value


def test_clone_flags_agree_with_the_header_of_the_system() -> None:
    header = Path("/usr/include/linux/sched.h")
    if not header.exists():
        pytest.skip("no linux/sched.h")
    defined = dict(re.findall(r"#define CLONE_(NEW\w+)\s+(0x[0-9a-f]+)", header.read_text()))
    assert {word: int(flag, 16) for word, flag in defined.items()} == {
        kind.value: kind.clone_flag for kind in NamespaceType
    }


@pytest.mark.parametrize("word", FACTS)
def test_parse_takes_every_spelling_in_any_case(word: Any) -> None:
    ns_name, oci_name, _ = FACTS[word]
    for spelling in (word, f"CLONE_{word}", ns_name, oci_name):
        for cased in (spelling, spelling.lower(), spelling.upper(), spelling.title()):
            assert NamespaceType.parse(cased) is NamespaceType(word)


@pytest.mark.parametrize("word", ["", "NEWNETWORK", "CLONE_net", "ns", "net ", "nęt", "pid\n"])
def test_parse_names_the_bad_word_and_the_good_ones(word: Any) -> None:
    with pytest.raises(ValueError, match="unknown namespace type") as caught:
        NamespaceType.parse(word)
    text = str(caught.value)
    assert repr(word) in text and "CLONE_" in text
    for kind, (ns_name, oci_name, _) in FACTS.items():
        assert {kind, ns_name, oci_name} <= set(re.findall(r"\w+", text))


def test_the_types_are_an_enum_of_words() -> None:
    assert NamespaceType["NEWNET"] is NamespaceType("NEWNET") is NamespaceType.NEWNET
    assert [*NamespaceType.__members__.values()] == [*namespace_types()]
    assert repr(NamespaceType.NEWNET) == "<NamespaceType.NEWNET: 'NEWNET'>"
    assert f"{NamespaceType.NEWNET}" == str(NamespaceType.NEWNET) == "NEWNET"
    assert NamespaceType.NEWNET == "NEWNET"
    with pytest.raises(ValueError, match="'newnet' is not a valid NamespaceType"):
        NamespaceType("newnet")


def test_a_type_survives_pickle_and_copy() -> None:
    for kind in NamespaceType:
        assert pickle.loads(pickle.dumps(kind)) is kind
        assert copy.deepcopy(kind) is kind


# --- is_namespace_supported


@pytest.mark.parametrize("kind", NamespaceType)
def test_supported_is_what_proc_shows(kind: Any) -> None:
    there = Path("/proc/self/ns", kind.ns_name()).exists()
    assert is_namespace_supported(kind) is there
    assert is_namespace_supported(kind.oci_name) is there


@pytest.mark.parametrize("word", ["", ".", "..", "pid_for_children", "NEWNOTHING", "../ns/net"])
def test_an_unknown_type_is_not_supported(word: Any) -> None:
    assert is_namespace_supported(word) is False


def test_supported_answers_alike_in_many_threads() -> None:
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append([*map(is_namespace_supported, FACTS)]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and all(answer == answers[0] for answer in answers)


def run_with_its_own_proc(script: str) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare(1)")
    base = [unshare, "--user", "--map-root-user", "--mount"]
    probe = [*base, "mount", "-t", "tmpfs", "none", "/proc"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no user namespace in which to mount over /proc")
    prelude = """
        import os, subprocess
        from nsenter.namespaces import is_namespace_supported as supported
        def hide_proc(): subprocess.run(["mount", "-t", "tmpfs", "none", "/proc"], check=True)
        def show_proc(): subprocess.run(["umount", "/proc"], check=True)
    """
    subprocess.run(
        [*base, sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )


def test_no_without_proc_is_not_remembered_but_yes_is() -> None:
    run_with_its_own_proc(
        """
        hide_proc()
        assert not supported("net")
        show_proc()
        assert supported("net")
        hide_proc()
        assert supported("net")
        """
    )


def test_a_kernel_without_the_type_is_remembered() -> None:
    run_with_its_own_proc(
        """
        hide_proc()
        os.makedirs("/proc/self/ns")
        assert not supported("time")
        show_proc()
        assert not supported("time") and supported("net")
        """
    )


# --- Namespace


def test_a_namespace_without_a_path_is_new() -> None:
    ns = Namespace(NET)
    assert (ns.type, ns.path, ns.is_new) == (NET, "", True)
    assert not Namespace(NET, "/run/netns/a").is_new


def test_a_path_may_be_a_pathlike_and_is_kept_as_a_str() -> None:
    ns = Namespace(NET, Path("/run/netns/a"))
    assert ns == Namespace(NET, "/run/netns/a")
    assert type(ns.path) is str


def test_a_type_may_be_a_word_and_is_kept_as_a_type() -> None:
    assert Namespace("mount").type is MNT
    with pytest.raises(ValueError, match="unknown namespace type 'bad'"):
        Namespace("bad")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("run/netns/a", "must be absolute"),
        (".", "must be absolute"),
        ("/a,mnt:/b", "must not contain a comma"),
        ("/a\0", "must not contain a NUL"),
    ],
)
def test_a_path_that_cannot_travel_is_refused_by_type_and_path(path: Any, why: Any) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Namespace(NET, path)
    assert "NEWNET" in str(caught.value) and repr(path) in str(caught.value)


def test_a_path_of_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match=r"NEWNET namespace path b'/a'"):
        Namespace(NET, b"/a")


def test_a_newline_may_be_in_a_path() -> None:
    assert Namespace(NET, "/a\nb").path == "/a\nb"


def test_a_namespace_cannot_be_changed_and_is_hashable() -> None:
    ns = Namespace(NET)
    with pytest.raises(AttributeError):
        ns.path = "/a"  # type: ignore[misc]
    assert len({ns, Namespace(NET), Namespace(NET, "/a")}) == 2
    assert pickle.loads(pickle.dumps(ns)) == ns


def test_get_path_is_the_path_or_that_of_the_process() -> None:
    assert Namespace(MNT).get_path(7) == "/proc/7/ns/mnt"
    assert Namespace(MNT, "/a").get_path(7) == "/a"


def test_a_descriptor_and_a_process_become_paths() -> None:
    assert Namespace.from_fd(NET, 0) == Namespace(NET, "/proc/self/fd/0")
    assert Namespace.from_pid(MNT, 1) == Namespace(MNT, "/proc/1/ns/mnt")


@pytest.mark.parametrize("kind", NamespaceType)
def test_the_path_of_a_process_is_a_real_one(kind: Any) -> None:
    if is_namespace_supported(kind):
        path = Namespace.from_pid(kind, os.getpid()).path
        assert Path(path).readlink() == Path("/proc/self/ns", kind.ns_name()).readlink()


@pytest.mark.parametrize("fd", [-1, True, "3", 1.0, None])
def test_a_descriptor_that_is_none_is_refused(fd: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"fd {fd!r}: must be an integer >= 0")):
        Namespace.from_fd(NET, fd)


@pytest.mark.parametrize("pid", [0, -1, True, "1"])
def test_a_pid_that_is_none_is_refused(pid: Any) -> None:
    for call in (lambda: Namespace.from_pid(NET, pid), lambda: Namespace(NET).get_path(pid)):
        with pytest.raises(ValueError, match=re.escape(f"pid {pid!r}: must be an integer >= 1")):
            call()


# --- Namespaces


def test_the_same_type_twice_is_refused_by_name_and_place() -> None:
    with pytest.raises(ValueError, match=r"NEWNET is there twice, at \[0\] and \[2\]"):
        Namespaces([Namespace(NET), Namespace(PID), Namespace(NET, "/a")])


def test_add_replaces_the_path_where_the_type_stands() -> None:
    nss = Namespaces()
    nss.add(NET)
    nss.add(PID)
    nss.add(NET, Path("/a"))
    assert list(nss) == [Namespace(NET, "/a"), Namespace(PID)]


def test_a_bad_add_changes_nothing() -> None:
    nss = Namespaces([Namespace(NET, "/a")])
    with pytest.raises(ValueError, match="must be absolute"):
        nss.add(NET, "b")
    assert nss.path_of(NET) == "/a"


def test_remove_says_whether_there_was_one() -> None:
    nss = Namespaces([Namespace(NET), Namespace(PID)])
    assert nss.remove(NET) is True
    assert nss.remove(NET) is False
    assert list(nss) == [Namespace(PID)]


def test_look_ups_of_a_new_a_joined_and_an_absent_one() -> None:
    nss = Namespaces([Namespace(NET), Namespace(PID, "/a")])
    assert [nss.index(t) for t in (NET, PID, USER)] == [0, 1, -1]
    assert [nss.contains(t) for t in (NET, PID, USER)] == [True, True, False]
    assert [nss.path_of(t) for t in (NET, PID, USER)] == ["", "/a", ""]
    assert [nss.is_private(t) for t in (NET, PID, USER)] == [True, False, False]
    assert not Namespaces([Namespace(NET)]).is_private(USER)


def test_in_takes_a_type_or_the_very_namespace() -> None:
    nss = Namespaces([Namespace(NET, "/a")])
    assert NET in nss and "NEWNET" in nss and PID not in nss
    assert Namespace(NET, "/a") in nss and Namespace(NET) not in nss
    assert None not in nss


@given(lists)
def test_clone_flags_are_those_of_the_new_ones(nss: Any) -> None:
    assert nss.clone_flags() == sum(ns.type.clone_flag for ns in nss if ns.is_new)


@given(lists)
def test_it_is_measured_indexed_and_compared_like_a_list(nss: Any) -> None:
    items = list(nss)
    assert len(nss) == len(items)
    assert [nss[i] for i in range(len(nss))] == items
    assert nss == Namespaces(items) and nss != items
    assert repr(items) in repr(nss)


def test_order_counts_in_a_comparison() -> None:
    pair = [Namespace(NET), Namespace(PID)]
    assert Namespaces(pair) != Namespaces(reversed(pair))


def test_a_mutable_list_is_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(Namespaces())


def test_a_copy_is_independent() -> None:
    nss = Namespaces([Namespace(NET)])
    other = nss.copy()
    other.add(NET, "/a")
    assert nss == Namespaces([Namespace(NET)]) and other.path_of(NET) == "/a"


# --- JSON


@given(lists)
def test_json_round_trip_in_both_spellings(nss: Any) -> None:
    assert Namespaces.from_json(json.loads(json.dumps(nss.to_json()))) == nss
    assert Namespaces.from_json(json.loads(json.dumps(nss.to_oci()))) == nss


def test_runcs_spelling_has_both_keys_and_ocis_no_empty_path() -> None:
    nss = Namespaces([Namespace(NET), Namespace(MNT, "/a")])
    assert nss.to_json() == [{"type": "NEWNET", "path": ""}, {"type": "NEWNS", "path": "/a"}]
    assert nss.to_oci() == [{"type": "network"}, {"type": "mount", "path": "/a"}]


def test_a_list_that_go_wrote_as_null_is_empty() -> None:
    assert len(Namespaces.from_json(None)) == 0


def test_unknown_keys_are_ignored_as_the_specification_demands() -> None:
    assert Namespace.from_json({"type": "pid", "x-new": 1}) == Namespace(PID)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("net", "namespaces: expected a list, got 'net'"),
        ({}, "namespaces: expected a list, got {}"),
        ([{"type": "net"}, 5], "namespaces[1]: expected an object, got 5"),
        ([{"path": "/a"}], "namespaces[0].type: missing"),
        ([{"type": None}], "namespaces[0].type: expected a string, got None"),
        ([{"type": "nte"}], "namespaces[0].type: unknown namespace type 'nte'"),
        ([{"type": "net", "path": 1}], "namespaces[0].path: expected a string, got 1"),
        (
            [{"type": "pid"}, {"type": "net", "path": "a"}],
            "namespaces[1].path: NEWNET namespace path 'a': must be absolute",
        ),
        (
            [{"type": "net"}, {"type": "NEWNET"}],
            "namespaces: type NEWNET is there twice, at [0] and [1]",
        ),
    ],
)
def test_bad_json_is_refused_by_index_and_key(value: Any, error: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        Namespaces.from_json(value)
    with pytest.raises(ValueError, match=re.escape(error.replace("namespaces", "linux.ns", 1))):
        Namespaces.from_json(value, where="linux.ns")


# --- the module


def test_the_import_stays_cheap() -> None:
    code = "import sys, nsenter.namespaces as m; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"json", "typing", "pathlib", "subprocess", "asyncio", "ctypes"} & set(loaded)
