# SPDX-License-Identifier: Apache-2.0
"""Deliberate breaks of the lines that keep a promise of SECURITY.md, and the tests that notice.

A row replaces one piece of text in one file. The text must stand there exactly once: if it does
not, the row is stale and `tests/test_mutants.py` fails, so that whoever changes the line looks at
the row as well. `tests/mutants/run.py` applies the rows one by one and expects the tests to fail.
"""

from __future__ import annotations

from dataclasses import dataclass

CORE = "tests/test_nsenter"
CONTAINERS = "tests/test_libcontainer"


@dataclass(frozen=True)
class Mutant:
    """One break.

    Args:
        promise: what no longer holds, as a sentence about the product; it is the row's name.
        file: the path of the source file, from the top of the checkout.
        old: the text that is replaced; it stands in the file exactly once.
        new: the text that replaces it.
        tests: pytest's arguments for the tests of which at least one must fail.
    """

    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _row(promise: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(promise, file, old, new, tests)


_MESSAGE = f"{CORE}/test_bootstrap.py"
_DAMAGED = f"{_MESSAGE}::test_malformed_is_refused_with_attribute_and_offset"
_OPTIONS = f"{CORE}/test_options.py::test_root_gets_what_the_options_say"
_ATTACKS = f"{CORE}/test_sandbox.py::test_it_gets_nowhere_in_a_sandbox_of_root"

_ROOTFS = f"{CONTAINERS}/test_rootfs_hostile.py"

PARSER = [
    _row(
        "an attribute that runs past the end of the message is refused",
        "csrc/message/wire.c",
        "if (len > size - at)",
        "if (size == 0)",
        f"{_DAMAGED}[nla-len-past-end]",
    ),
    _row(
        "an attribute shorter than its own header is refused",
        "csrc/message/wire.c",
        "if (len < WIRE_ATTR_HEADER)",
        "if (size == 0)",
        f"{_DAMAGED}[nla-len-short]",
    ),
    _row(
        "an attribute that stands twice is refused",
        "csrc/message/wire.c",
        "if (slot->present)",
        "if (size == 0)",
        f"{_DAMAGED}[duplicate-flags]",
    ),
    _row(
        "a text with a NUL inside is refused",
        "csrc/message/wire.c",
        "if (nul != payload + len - 1)",
        "if (len == 0)",
        f"{_DAMAGED}[string-with-inner-nul]",
    ),
    _row(
        "bytes behind the end of the message are refused",
        "csrc/message/wire.c",
        "if (stated < size)",
        "if (size == 0)",
        f"{_MESSAGE}::test_bytes_behind_the_end_of_the_message_are_refused",
    ),
    _row(
        "a value that does not fit a u16 length is refused before a byte is written",
        "csrc/message/wire.c",
        "attr->text.len > WIRE_ATTR_MAX - WIRE_ATTR_HEADER - nul",
        "attr->text.len > 10 * WIRE_ATTR_MAX",
        f"{_MESSAGE}::test_a_value_over_the_u16_limit_is_refused_before_a_byte_is_written",
        f"{_MESSAGE}::test_a_mapping_tool_over_the_u16_limit_is_refused",
    ),
    _row(
        "clone flags other than namespaces are refused",
        "csrc/message/bootstrap.c",
        "if (attr->number & ~(uint32_t)NAMESPACE_FLAGS)",
        "if (attr->number == 1)",
        f"{_DAMAGED}[flags-not-namespaces]",
    ),
    _row(
        "a namespace that is both joined and new is refused",
        "csrc/message/bootstrap.c",
        "if (ns->flag & out->cloneflags)",
        "if (ns->flag == 1)",
        f"{_DAMAGED}[ns-joined-and-new]",
    ),
    _row(
        "an id map without a new user namespace is refused",
        "csrc/message/bootstrap.c",
        "if (!(cloneflags & CLONE_NEWUSER))",
        "if (cloneflags == 1)",
        f"{_DAMAGED}[map-without-userns]",
    ),
    _row(
        "the path of a mapping tool must be absolute",
        "csrc/message/bootstrap.c",
        "if (attr->text.len == 0 || attr->text.data[0] != '/')",
        "if (attr->text.len == 0)",
        f"{_MESSAGE}::test_a_mapping_tool_is_an_absolute_path",
    ),
    _row(
        "the path of a namespace must be absolute",
        "csrc/base/namespaces.c",
        "if (rest.data[0] != '/')",
        "if (rest.len == 0)",
        f"{_MESSAGE}::test_a_path_of_a_namespace_in_a_message_is_absolute",
    ),
    _row(
        "ranges of an id map do not overlap on the host's side",
        "csrc/message/idmap.c",
        "if (ranges_meet(maps[i].host, maps[i].size, last->host, last->size))",
        "if (n > 100000)",
        f"{_MESSAGE}::test_a_bad_id_map_is_refused",
    ),
    _row(
        "an id map has at most 340 lines",
        "csrc/message/idmap.c",
        "if (n == IDMAP_LINES_MAX)",
        "if (n == IDMAP_LINES_MAX + 1)",
        f"{_MESSAGE}::test_an_id_map_has_at_most_340_lines",
    ),
    _row(
        "a message beyond any well-formed one is refused",
        "csrc/message/wire.c",
        "if (*size > wire_max_size(message))",
        "if (*size == 0)",
        f"{_DAMAGED}[nlmsg-len-2gib]",
    ),
]

STAGES = [
    _row(
        "a process that joins namespaces is not dumpable",
        "csrc/stages/nsexec.c",
        "sys_prctl(PR_SET_DUMPABLE, dumpable);",
        "(void)dumpable;",
        f"{CORE}/test_join.py::test_an_init_that_has_joined_is_not_dumpable",
    ),
    _row(
        "a joiner holds no descriptor of the host before the container sees it",
        "csrc/stages/nsexec.c",
        "if (confinement_close_others(ns->launch.keep_fds, needed, count, err) < 0)",
        "if (count == 0)",
        f"{CONTAINERS}/test_seized_joiners.py::test_exec_gives_nothing_of_the_host_away",
    ),
    _row(
        "a joiner has given up its capabilities before the container sees it",
        "csrc/stages/nsexec.c",
        "(nsexec_arrive(ns, err) < 0 || credentials_hold(&ns->launch, err) < 0))",
        "nsexec_arrive(ns, err) < 0)",
        f"{CONTAINERS}/test_seized_joiners.py::test_exec_gives_nothing_of_the_host_away",
    ),
    _row(
        "groups of the host do not get into a joined user namespace",
        "csrc/stages/become_root.c",
        "if (launched && (namespaces_flags(&boot->join) & CLONE_NEWUSER) &&",
        "if (!launched && (namespaces_flags(&boot->join) & CLONE_NEWUSER) &&",
        f"{CORE}/test_join.py::"
        "test_supplementary_groups_of_the_host_do_not_get_into_a_joined_user_namespace",
    ),
    _row(
        "id maps are not written through another pid namespace's /proc",
        "csrc/stages/write_maps.c",
        "if (check_proc(err) < 0)",
        "if (!boot)",
        f"{CORE}/test_any_parent.py::"
        "test_a_stranger_with_the_same_number_in_the_hosts_proc_is_given_no_maps",
    ),
    _row(
        "setgroups is denied before a rootless caller's gid map is written",
        "csrc/stages/write_maps.c",
        "if (boot->rootless_euid && !boot->setgroup && deny_setgroups(pid, err) < 0)",
        "if (!boot)",
        f"{CORE}/test_maps.py",
    ),
    _row(
        "setgroups is denied by a child that maps itself",
        "csrc/stages/write_maps.c",
        '{ "/proc/self/setgroups", { "deny", 4 } },',
        '{ "/proc/self/setgroups", { "deny", 0 } },',
        f"{CORE}/test_maps.py",
    ),
    _row(
        "a mapping tool that maps nothing has failed whatever it says",
        "csrc/stages/write_maps.c",
        "return check_written(path, tool_path, err);",
        "return 0;",
        f"{CORE}/test_faults.py::test_mapping_tool_that_maps_nothing_has_failed_whatever_it_says",
    ),
    _row(
        "only descriptors on an allow list reach the payload",
        "csrc/inside/confinement.c",
        "ret = fallback_close_range(next, fd - 1, flags);",
        "ret = 0;",
        f"{CORE}/test_launch.py::test_the_descriptors_passed_and_no_others_are_inherited",
        f"{CONTAINERS}/test_seized_joiners.py::test_exec_gives_nothing_of_the_host_away",
    ),
    _row(
        "only descriptors on an allow list reach a payload that is started directly",
        "csrc/products/spawn.c",
        "long ret = fallback_close_range(FIRST_AFTER_STREAMS, ~0U, CLOSE_RANGE_CLOEXEC);",
        "long ret = 0;",
        f"{CORE}/test_launch.py::test_the_descriptors_passed_and_no_others_are_inherited",
    ),
    _row(
        "a program is started with the default signal dispositions",
        "csrc/base/signals.c",
        "sys_sigaction(sig, &by_default, NULL); /* SIGKILL",
        "(void)by_default; /* SIGKILL",
        f"{CORE}/test_launch.py::test_signals_are_as_for_a_new_program",
    ),
    _row(
        "a payload is not started if its caller is gone",
        "csrc/products/spawn.c",
        "if (die_with(spawn) < 0) {",
        "if (spawn->caller == -2) {",
        f"{CORE}/test_faults.py::"
        "test_launcher_killed_before_any_step_of_a_direct_child_leaves_no_payload",
    ),
    _row(
        "PID 1 keeps no capability but CAP_KILL",
        "csrc/stages/pid1.c",
        "if (credentials_keep_only(1ULL << CAP_KILL, err) < 0)",
        "if (verdict_fd < 0)",
        f"{CORE}/test_options_init.py::"
        "test_the_init_holds_nothing_and_has_no_rights_but_to_send_signals",
    ),
    _row(
        "PID 1 cannot be looked into",
        "csrc/stages/pid1.c",
        "\tsys_prctl(PR_SET_DUMPABLE, NOT_DUMPABLE);\n\tsys_prctl(PR_GET_NAME",
        "\tsys_prctl(PR_GET_NAME",
        f"{CORE}/test_options_init.py::test_the_program_cannot_look_into_its_init",
    ),
    _row(
        "PID 1 that has executed nsinit cannot be looked into",
        "csrc/stages/pid1.c",
        "\tsys_prctl(PR_SET_DUMPABLE, NOT_DUMPABLE);\n\tif (numbers[DIES_WITH_PARENT])",
        "\tif (numbers[DIES_WITH_PARENT])",
        f"{CORE}/test_preload.py::test_a_call_cannot_look_into_its_init",
    ),
    _row(
        "PID 1 that has executed nsinit gives up what it had",
        "csrc/stages/pid1.c",
        "if (shed(numbers[VERDICT_FD], &err) < 0)",
        "if (sys_close(numbers[GATE_FD]), err.errnum = 0)",
        f"{CORE}/test_preload_faults.py::test_its_init_holds_nothing",
    ),
    _row(
        "PID 1 holds no descriptor but its own",
        "csrc/stages/pid1.c",
        "ret = fallback_close_range((unsigned)verdict_fd + 1, ~0U, CLOSE_NOW);",
        "ret = 0;",
        f"{CORE}/test_options_init.py::"
        "test_the_init_holds_nothing_and_has_no_rights_but_to_send_signals",
    ),
    _row(
        "descriptors are closed where close_range is refused as well",
        "csrc/base/fallback.c",
        "return close_each(folder, first, last, flags);",
        "return 0;",
        "tests/test_outer_filters.py::"
        "test_no_descriptor_of_the_caller_is_inherited_without_close_range",
    ),
    _row(
        "our filter is in force where seccomp(2) is refused as well",
        "csrc/base/fallback.c",
        "return SYS5(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) < 0 ? ret : 0;",
        "return program->len == 0 ? ret : 0;",
        "tests/test_outer_filters.py::test_the_filter_is_in_force_without_seccomp",
    ),
]

CONFINEMENT = [
    _row(
        "no capability is inheritable unless it is ambient",
        "csrc/inside/credentials.c",
        "const struct sets sets = { mask, mask, ambient };",
        "const struct sets sets = { mask, mask, mask };",
        _OPTIONS,
    ),
    _row(
        "capabilities that are not given leave the bounding set",
        "csrc/inside/credentials.c",
        "if (chooses && (drop_bounding(mask_of(launch->capabilities), err) < 0))",
        "if (chooses && (drop_bounding(~0ULL, err) < 0))",
        _OPTIONS,
    ),
    _row(
        "supplementary groups are those that were asked for",
        "csrc/inside/credentials.c",
        "ret = launch->groups.data ? SYS2(SYS_setgroups, count, launch->groups.data) : 0;",
        "ret = 0;",
        _OPTIONS,
    ),
    _row(
        "no_new_privs is set",
        "csrc/inside/confinement.c",
        "if (launch->no_new_privs && (ret = sys_prctl(PR_SET_NO_NEW_PRIVS, 1)) < 0)",
        "if (launch->no_new_privs && (ret = 0) < 0)",
        _OPTIONS,
    ),
    _row(
        "the working directory is inside the root",
        "csrc/inside/confinement.c",
        "if (ret < 0 || buf[0] != '/')",
        "if (ret == -1000)",
        f"{CORE}/test_options_root.py::test_a_directory_of_the_callers_is_no_working_directory",
    ),
    _row(
        "a process with die_with_parent dies with its parent",
        "csrc/inside/confinement.c",
        "sys_prctl(PR_SET_PDEATHSIG, SIGKILL);",
        "(void)ret;",
        f"{CORE}/test_options.py::test_it_dies_with_the_process_that_started_it",
    ),
    _row(
        "Landlock's rules are in force",
        "csrc/inside/landlock.c",
        "ret = SYS2(SYS_landlock_restrict_self, fd, 0);",
        "ret = 0;",
        f"{CORE}/test_options.py::test_landlock_leaves_what_its_rules_say_and_nothing_else",
    ),
    _row(
        "Landlock governs every right that the kernel knows of",
        "csrc/inside/landlock.c",
        "uint64_t rights = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR;",
        "uint64_t rights = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR;",
        f"{CORE}/test_options.py::test_landlock_leaves_what_its_rules_say_and_nothing_else",
    ),
    _row(
        "the filter of system calls is in force",
        "csrc/inside/seccomp.c",
        "ret = fallback_set_filter(&program, flags);",
        "ret = program.len == 0;",
        _OPTIONS,
    ),
    _row(
        "a bind is read-only unless it is writable",
        "csrc/inside/mounts.c",
        "(record->writable ? 0 : MOUNT_READ_ONLY),",
        "0,",
        f"{CORE}/test_options_root.py::test_binds_are_read_only_unless_they_are_to_be_written",
    ),
    _row(
        "a bind has no set-user-ID programs",
        "csrc/inside/mounts.c",
        ".set = MOUNT_NO_SUID | (record->devices ? 0 : MOUNT_NO_DEV) |",
        ".set = (record->devices ? 0 : MOUNT_NO_DEV) |",
        f"{CORE}/test_options_root.py::test_all_mounts_of_a_root_are_nosuid_and_nodev",
    ),
    _row(
        "mounts of a new root do not reach the caller",
        "csrc/inside/root.c",
        'long ret = SYS5(SYS_mount, "none", "/", 0, MS_REC | MS_PRIVATE, 0);',
        "long ret = 0;",
        f"{CORE}/test_options_root.py::test_mounts_do_not_reach_a_caller_whose_tree_is_shared",
    ),
    _row(
        "the old root is gone",
        "csrc/inside/root.c",
        'ret = SYS2(SYS_umount2, ".", DETACH);',
        "ret = 0;",
        f"{CORE}/test_options_root.py::test_nothing_of_the_old_root_is_left_in_sight",
    ),
    _row(
        "a mount point is looked for inside the root",
        "csrc/inside/mount_api.c",
        "fd = SYS4(SYS_openat2, root, path, &how, sizeof(how));",
        "fd = SYS4(SYS_openat, root, path + (*path == '/'), how.flags, 0);",
        f"{CORE}/test_options_root.py::test_a_link_in_the_root_leads_a_mount_nowhere_else",
    ),
    _row(
        "what is mounted in memory holds so many files at most",
        "csrc/inside/mount_api.c",
        'static const char bounds[] = "size=67108864,nr_inodes=16384";',
        'static const char bounds[] = "size=67108864";',
        f"{CORE}/test_bounds.py::test_each_writable_place_of_a_sandbox",
    ),
    _row(
        "what is mounted in memory holds so many bytes at most",
        "csrc/inside/mount_api.c",
        'static const char bounds[] = "size=67108864,nr_inodes=16384";',
        'static const char bounds[] = "nr_inodes=16384";',
        f"{CORE}/test_bounds.py::test_each_writable_place_of_a_sandbox",
    ),
    _row(
        "Landlock's scopes are in force",
        "csrc/inside/landlock.c",
        "if (rule.kind == RULE_SCOPE)",
        "if (version < 0)",
        f"{CORE}/test_landlock.py::test_scopes",
    ),
    _row(
        "Landlock's rules for ports are in force",
        "csrc/inside/landlock.c",
        "handled.handled_access_net |= net_right(&rule);",
        "(void)net_right;",
        f"{CORE}/test_landlock.py::test_no_port_at_all",
    ),
    _row(
        "limits of resources are set",
        "csrc/inside/limits.c",
        "long ret = SYS4(SYS_prlimit64, 0, limit.resource, &both, 0);",
        "long ret = both.soft == 1;",
        _OPTIONS,
    ),
]

PYTHON = [
    _row(
        "memory that the init runs from cannot be changed",
        "nsenter/_interpreter/sealed_memory.py",
        "seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE",
        "seals = fcntl.F_SEAL_SHRINK",
        f"{CORE}/test_module_archive.py::test_nobody_can_change_a_bundle",
    ),
    _row(
        "variables of an outer launcher reach no payload",
        "nsenter/launch.py",
        "encoded.pop(name, None)",
        "encoded.get(name)",
        f"{CORE}/test_callers.py::test_a_caller_that_is_a_payload_itself_passes_none_of_that_on",
    ),
    _row(
        "the hostname of the caller is not changed",
        "nsenter/launch.py",
        "if not joined and not data.clone_flags & kind.clone_flag:",
        "if joined and not data.clone_flags:",
        f"{CORE}/test_launch.py::test_a_bad_argument_is_refused_and_nothing_is_started",
    ),
    _row(
        "a sandbox has no capabilities",
        "nsenter/presets.py",
        '"capabilities": (),',
        '"capabilities": None,',
        f"{CORE}/test_presets.py::test_a_sandbox_of_root_runs_python_as_nobody",
    ),
    _row(
        "a sandbox filters system calls",
        "nsenter/presets.py",
        '"seccomp": seccomp.strict(),',
        '"seccomp": None,',
        f"{CORE}/test_presets.py::test_what_the_filter_denies_fails_at_once",
    ),
    _row(
        "a sandbox's root is read-only",
        "nsenter/presets.py",
        '"read_only": True,',
        '"read_only": False,',
        f"{CORE}/test_presets.py::test_a_sandbox_of_a_user_runs_python_as_that_user",
    ),
    _row(
        "the strict filter denies the kernel's keyrings",
        "nsenter/seccomp.py",
        "keyctl 250 219, ",
        "",
        _ATTACKS,
    ),
    _row(
        "no word can be put into a terminal as if it were typed",
        "nsenter/seccomp.py",
        "_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C",
        "_TIOCSTI, _TIOCLINUX = 0x1, 0x541C",
        f"{CORE}/test_presets.py::test_no_words_are_put_into_a_terminal",
    ),
    _row(
        "no file is made setuid or setgid",
        "nsenter/seccomp.py",
        "_SETUID_SETGID = 0o6000",
        "_SETUID_SETGID = 0o4000",
        f"{CORE}/test_presets.py::test_no_file_is_made_setuid_or_setgid",
    ),
    _row(
        "system calls that are younger than the list are not there",
        "nsenter/seccomp.py",
        "_YOUNGEST = 456",
        "_YOUNGEST = 1 << 20",
        f"{CORE}/test_presets.py::test_system_calls_that_are_younger_than_the_list_are_not_there",
    ),
    _row(
        "the numbers of 32 bits lead around no filter",
        "nsenter/seccomp.py",
        "_step(_EQUAL, token, yes=1) + missing",
        "_step(_EQUAL, token, yes=1, no=1) + missing",
        f"{CORE}/test_sandbox.py::test_the_numbers_of_32_bits_lead_around_no_filter",
    ),
    _row(
        "no namespace is made by clone",
        "nsenter/seccomp.py",
        "_NAMESPACES = 0x7E020000",
        "_NAMESPACES = 0x6E020000",
        f"{CORE}/test_presets.py::test_no_namespace_is_made_by_clone",
    ),
    _row(
        "memory keeps its randomised layout",
        "nsenter/seccomp.py",
        "_PERSONALITIES = (0xFFFFFFFF, 0, 0x8, 0x20000, 0x20008)",
        "_PERSONALITIES = (0xFFFFFFFF, 0, 0x8, 0x20000, 0x20008, 0x40000)",
        f"{CORE}/test_presets.py::test_personalities",
    ),
    _row(
        "a sandbox ends with its caller",
        "nsenter/presets.py",
        '"die_with_parent": True,',
        '"die_with_parent": False,',
        f"{CORE}/test_sandbox.py::test_nothing_stays_when_the_caller_is_killed",
    ),
    _row(
        "a sandbox has a network of its own",
        "nsenter/presets.py",
        '"new": "all",',
        '"new": "user,mnt,pid,ipc,uts,cgroup,time",',
        _ATTACKS,
    ),
    _row(
        "an answer is plain data unless its function is trusted",
        "nsenter/calling.py",
        "if self._caller.trusted and kind in",
        "if kind in",
        f"{CORE}/test_sandbox.py::test_a_crafted_pickle_is_not_opened",
    ),
    _row(
        "a folder of another inode is not imported from",
        "nsenter/_inside/file_imports.py",
        "if (found.st_dev, found.st_ino) != (device, inode):",
        "if found.st_dev != device:",
        f"{CORE}/test_imports.py::test_a_library_over_the_callers_own_is_not_opened",
        f"{CORE}/test_imports.py::test_a_place_is_known_by_its_device_and_inode",
    ),
    _row(
        "a folder that the payload can write to is not imported from in a root that is made",
        "nsenter/_inside/file_imports.py",
        "if self._read_only and not posix.fstatvfs(fd).f_flag & _ST_RDONLY:",
        "if self._read_only and not posix.fstatvfs(fd).f_flag:",
        f"{CORE}/test_imports.py::test_a_place_is_known_by_its_device_and_inode",
    ),
    _row(
        "a process that joins a mount namespace imports from no file",
        "nsenter/_interpreter/installed.py",
        "if not _joins_only_harmless(options.join):",
        "if not installed:",
        f"{CORE}/test_imports.py::test_who_may_look_on_or_change_the_mounts_is_not_given_files",
    ),
    _row(
        "a folder as a root is somebody else's",
        "nsenter/_interpreter/installed.py",
        'if options.root != "tmpfs" and not isinstance(options.root, Tmpfs):',
        "if options.root is None:",
        f"{CORE}/test_imports.py::test_a_folder_as_a_root_is_somebody_elses",
    ),
    _row(
        "a sandbox does not show the folder of a virtual environment",
        "nsenter/_interpreter/installed.py",
        "    yield from folders()\n",
        "    yield sys.prefix\n",
        f"{CORE}/test_imports.py::test_a_virtual_environment_shows_no_more_than_what_is_installed",
    ),
    _row(
        "a sandbox hides a project among the system's files",
        "nsenter/presets.py",
        'elif imports != "all" and is_bound and not _is_the_systems(path):',
        'elif imports == "none" and is_bound and not _is_the_systems(path):',
        f"{CORE}/test_imports.py::test_nor_where_it_lies_among_the_systems_files",
    ),
    _row(
        "data is sent of installed packages alone",
        "nsenter/_interpreter/installed.py",
        'if not any(folder.startswith(f"{place}/") for place in places):',
        "if not folder:",
        f"{CORE}/test_extensions.py::test_an_enemy_gets_no_other_file",
    ),
    _row(
        "data is sent of what lies in the package alone",
        "nsenter/_interpreter/installed.py",
        'if target != folder and not target.startswith(f"{folder}/"):',
        "if target == folder:",
        f"{CORE}/test_extensions.py::test_an_enemy_gets_no_other_file",
    ),
    _row(
        "the lengths in a block are those of what follows",
        "nsenter/_remote/safe_arrays.py",
        "if min(lengths, default=0) < 0 or sum(lengths) != len(whole):",
        "if sum(lengths) < 0:",
        f"{CORE}/test_safe_arrays.py::test_what_encode_does_not_write_is_refused",
    ),
    _row(
        "an answer takes no more memory than is allowed",
        "nsenter/_remote/safe_data.py",
        "if self._memory is not None and self._used > self._memory:",
        "if self._memory == 0:",
        f"{CORE}/test_safe_data.py::test_little_that_becomes_much_is_refused",
    ),
    _row(
        "an answer takes no more time to decode than is allowed",
        "nsenter/_remote/safe_data.py",
        "if self._deadline is not None and monotonic() > self._deadline:",
        "if self._deadline == 0:",
        f"{CORE}/test_safe_data.py::test_decoding_ends_at_its_deadline",
    ),
    _row(
        "keys that are made to collide are refused",
        "nsenter/_remote/safe_data.py",
        "_MAX_COLLISIONS = 64",
        "_MAX_COLLISIONS = 10_000",
        f"{CORE}/test_safe_data.py::test_keys_that_are_made_to_collide_are_refused_at_once",
    ),
    _row(
        "a stranger is not taken for stage 2",
        "nsenter/_launch/handshake.py",
        "if self._is_living_child(os.P_PID, pid) and self._is_living_child(os.P_PIDFD, fd):",
        "if pid > 0 and fd > 0:",
        f"{CORE}/test_forged_reply.py::test_a_stranger_is_not_taken_for_stage_2",
    ),
    _row(
        "a template has nothing of the caller's environment",
        "nsenter/_remote/preload.py",
        "env = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}",
        "env = dict(os.environ)",
        f"{CORE}/test_preload.py::test_a_template_holds_nothing_of_the_caller",
    ),
    _row(
        "calls share no memory that a module has mapped",
        "nsenter/_inside/template.py",
        "        if self._shared:",
        "        if not self._shared:",
        f"{CORE}/test_preload_faults.py::test_calls_share_no_memory_that_a_module_has_mapped",
    ),
    _row(
        "rights that the caller has given up are not in its calls",
        "nsenter/_remote/preload.py",
        "if self._identity == _identity():",
        "if self._identity:",
        f"{CORE}/test_preload_faults.py::"
        "test_rights_that_the_caller_has_given_up_are_not_in_its_calls",
    ),
    _row(
        "a template ends with its caller",
        "nsenter/_remote/preload.py",
        "options = Options(die_with_parent=True)",
        "options = Options()",
        f"{CORE}/test_preload_faults.py::test_a_template_that_imports_does_not_outlive_the_caller",
    ),
    _row(
        "nothing that is printed is an order to a terminal",
        "nsenter/_host/printable.py",
        "if text.isprintable():",
        "if text:",
        f"{CONTAINERS}/test_pyrunc_printing.py::test_an_error_on_a_terminal",
    ),
    _row(
        "a joiner holds the capabilities of its own steps alone",
        "nsenter/_launch/joiner_capabilities.py",
        "needed = {name for step in steps for name in STEPS[step]}",
        "needed = {name for some in STEPS.values() for name in some}",
        f"{CONTAINERS}/test_seized_joiners.py::test_exec_gives_nothing_of_the_host_away",
    ),
    _row(
        "a container joins an existing PID namespace when its root is made",
        "pylib/libcontainer/process_start.py",
        "data, config = self._with_late_join(self.bootstrap_data, config, fds)",
        "data = self.bootstrap_data",
        f"{CONTAINERS}/test_seized_joiners.py::"
        "test_nor_does_a_container_that_is_created_in_its_pid_namespace",
    ),
    _row(
        "the init of a container gives its capabilities up before it joins a PID namespace",
        "pylib/libcontainer/init/successor.py",
        "    capset(held, held)\n",
        "",
        f"{CONTAINERS}/test_seized_joiners.py::"
        "test_nor_does_a_container_that_is_created_in_its_pid_namespace",
    ),
    _row(
        "the init of a container has the kept descriptors alone when it joins a PID namespace",
        "pylib/libcontainer/init/successor.py",
        "            close_range(first, fd - 1)\n",
        "            pass\n",
        f"{CONTAINERS}/test_shared_pids.py::"
        "test_of_its_descriptors_it_has_those_alone_that_are_kept",
    ),
    _row(
        "the runtime runs no hook because a process that others see asks for it",
        "pylib/libcontainer/dialogue.py",
        "if self._is_seen and not isinstance(message, _OF_WHO_IS_SEEN):",
        "if message is None:",
        f"{CONTAINERS}/test_shared_pids.py::test_what_others_see_has_nothing_done_by_the_runtime",
    ),
    _row(
        "what an attacker names is not taken for the init's successor",
        "pylib/libcontainer/dialogue.py",
        "if pid == first.pid or parent_of(pid) != os.getpid():",
        "if pid == first.pid:",
        f"{CONTAINERS}/test_shared_pids.py::test_what_is_no_child_of_ours_is_no_successor",
    ),
]

RUNTIME = [
    _row(
        "nobody but its owner can read or write state.json",
        "pylib/libcontainer/state_folder.py",
        "os.open(_NEW_STATE_FILE, flags, 0o600, dir_fd=self._fd)",
        "os.open(_NEW_STATE_FILE, flags, 0o666, dir_fd=self._fd)",
        f"{CONTAINERS}/test_state_files.py::test_only_the_owner_gets_at_the_state_of_a_container",
    ),
    _row(
        "nobody but its owner can list the state of containers",
        "pylib/libcontainer/state_folder.py",
        "os.makedirs(self.root, mode=0o700, exist_ok=True)",
        "os.makedirs(self.root, mode=0o755, exist_ok=True)",
        f"{CONTAINERS}/test_state_files.py::test_only_the_owner_gets_at_the_state_of_a_container",
    ),
    _row(
        "nobody but its owner can start a created container",
        "pylib/libcontainer/state_folder.py",
        "os.mkfifo(_FIFO, 0o600, dir_fd=self._fd)",
        "os.mkfifo(_FIFO, 0o666, dir_fd=self._fd)",
        f"{CONTAINERS}/test_state_files.py::test_only_the_owner_gets_at_the_state_of_a_container",
    ),
    _row(
        "the name of a container is no path",
        "pylib/libcontainer/state_folder.py",
        'name not in ("", ".", "..") and _ALLOWED_IN_ID.issuperset(name) and',
        'name not in ("", ".", "..") and',
        f"{CONTAINERS}/test_container.py::test_id_that_is_no_name_is_refused",
    ),
    _row(
        "a path of a container is resolved inside its root",
        "pylib/libcontainer/init/rootfs/paths.py",
        "_SAFELY = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS",
        "_SAFELY = RESOLVE_NO_MAGICLINKS",
        f"{_ROOTFS}::test_a_linked_dev_is_a_folder_of_the_root",
    ),
    _row(
        "proc is mounted on no link",
        "pylib/libcontainer/init/rootfs/paths.py",
        "if stat.S_ISLNK(posix.fstat(fd).st_mode):",
        "if fd < 0:",
        f"{_ROOTFS}::test_a_link_is_no_place_for_proc_or_sysfs",
    ),
    _row(
        "a sysctl is written to the kernel's own /proc",
        "pylib/libcontainer/init/rootfs/sysctl.py",
        "if proc < 0 or syscalls.file_system_type(proc) != syscalls.PROC_SUPER_MAGIC:",
        "if proc < 0:",
        f"{_ROOTFS}::test_a_proc_that_is_none_gets_no_sysctl",
    ),
    _row(
        "a sysctl does not leave /proc/sys",
        "pylib/libcontainer/init/rootfs/sysctl.py",
        "_BELOW = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | "
        "syscalls.RESOLVE_NO_XDEV",
        "_BELOW = 0",
        f"{_ROOTFS}::test_a_sysctl_does_not_leave_proc_sys",
    ),
    _row(
        "a sysctl of the whole machine is refused",
        "pylib/libcontainer/configs/sysctls.py",
        "if not config.namespaces.contains(kind):",
        "if not kind:",
        f"{CONTAINERS}/test_validate.py::test_a_sysctl_takes_the_namespace_it_is_of",
    ),
    _row(
        "a container's working directory is inside its root",
        "pylib/libcontainer/init/process/identity.py",
        'if not path.startswith("/"):',
        "if path is None:",
        f"{_ROOTFS}::test_a_directory_of_the_host_is_no_working_directory",
    ),
    _row(
        "a container has the supplementary groups of its configuration alone",
        "pylib/libcontainer/init/process/identity.py",
        "posix.setgroups(list(groups))",
        "list(groups)",
        f"{CONTAINERS}/test_pyrunc_lifecycle.py::test_exec_options",
    ),
    _row(
        "capabilities that config.json does not give leave the bounding set",
        "pylib/libcontainer/init/process/identity.py",
        "capabilities.drop_bounding(capabilities.mask_of(caps.bounding if caps else ()))",
        "caps",
        f"{CONTAINERS}/test_pyrunc_confinement.py::"
        "test_what_the_filter_needs_the_program_does_not_get",
    ),
    _row(
        "read-only paths are read-only",
        "pylib/libcontainer/init/rootfs/masks.py",
        "syscalls.mount_setattr(tree, set=syscalls.MOUNT_ATTR_RDONLY, subject=name)",
        "str(name)",
        f"{CONTAINERS}/test_rootfs.py::test_masks_and_read_only_paths",
    ),
    _row(
        "a filter that others could have written is not used",
        "pylib/libcontainer/seccomp/cache.py",
        "written_by_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)",
        "written_by_others = 0",
        f"{CONTAINERS}/test_seccomp.py::test_what_others_can_write_is_not_trusted",
    ),
    _row(
        "state that another user could have made is not believed",
        "pylib/libcontainer/pyrunc/state_root.py",
        "if not ours or status.st_mode & _OTHERS_WRITE:",
        "if status.st_mode == 0:",
        f"{CONTAINERS}/test_pyrunc_state_root.py::test_what_another_may_have_made_is_not_believed",
    ),
    _row(
        "a reused pid is not taken for the container",
        "nsenter/_host/procfs.py",
        "else int(fields[_STAT_START_TIME])",
        "else 1",
        f"{CONTAINERS}/test_container.py::test_reused_pid_is_not_taken_for_the_container",
    ),
    _row(
        "delete --force waits for no lock",
        "pylib/libcontainer/state_folder.py",
        "if holder and not by_force:",
        "if holder:",
        f"{CONTAINERS}/test_not_held_up.py::test_force_does_not_wait_for_a_hook",
    ),
    _row(
        "a command waits for a lock so long and no longer",
        "pylib/libcontainer/state_folder.py",
        "seconds = _FORCE_PATIENCE if by_force else _PATIENCE",
        "seconds = _FORCE_PATIENCE if by_force else 5.0",
        f"{CONTAINERS}/test_not_held_up.py::test_another_command_names_who_keeps_it_waiting",
    ),
    _row(
        "an init that died before it was ready has not started",
        "pylib/libcontainer/dialogue.py",
        "if self._is_ready and not self._has_gate and self._has_executed():",
        "if self._is_ready:",
        f"{CONTAINERS}/test_dying_init.py::test_an_init_that_is_killed_fails_its_command_by_name_and_leaves_nothing",
    ),
    _row(
        "the host's root is read-only in a container that runs in it",
        "pylib/libcontainer/pyrunc/without_bundle.py",
        '"readonly": not options["rw"]',
        '"readonly": False',
        f"{CONTAINERS}/test_pyrunc_without_bundle.py::test_the_hosts_root_is_read_only_whatever_is_mounted_there",
    ),
    _row(
        "what a personal container can write in memory is bounded",
        "pylib/libcontainer/pyrunc/without_bundle.py",
        '_BOUNDS = (("size", "65536k"), ("nr_inodes", "16384"))',
        '_BOUNDS = (("size", "65536k"),)',
        f"{CONTAINERS}/test_pyrunc_without_bundle.py::test_what_can_be_written_in_memory_is_bounded",
    ),
    _row(
        "a container in the foreground has no stream of its caller",
        "pylib/libcontainer/pyrunc/launching.py",
        "if self._config.terminal or self._detach:\n            return\n",
        "if self._streams is None:\n            return\n",
        f"{CONTAINERS}/test_pyrunc_streams.py::test_no_stream_is_the_callers",
    ),
    _row(
        "a masked path is hidden",
        "pylib/libcontainer/init/rootfs/masks.py",
        "masks.cover(fd, name)",
        "str(name)",
        f"{CONTAINERS}/test_rootfs.py::test_masks_and_read_only_paths",
    ),
    _row(
        "a mask is the null device and nothing else",
        "pylib/libcontainer/init/rootfs/devices.py",
        "if not is_null(fd):",
        "if fd < 0:",
        f"{_ROOTFS}::test_a_null_that_is_exchanged_is_no_mask",
    ),
    _row(
        "what is in the place of a device is not taken for it",
        "pylib/libcontainer/init/rootfs/devices.py",
        "return stat.S_IFMT(status.st_mode) == kind and status.st_rdev == number",
        "return status.st_mode > 0",
        f"{_ROOTFS}::test_what_is_in_the_place_of_a_node_is_not_taken_for_it",
    ),
    _row(
        "no_new_privs of config.json is set",
        "pylib/libcontainer/init/process/ending.py",
        "            identity.set_no_new_privileges()",
        "            identity.__doc__",
        f"{CONTAINERS}/test_pyrunc_confinement.py::"
        "test_what_the_filter_needs_the_program_does_not_get",
    ),
    _row(
        "the filter of config.json is in force",
        "pylib/libcontainer/init/process/ending.py",
        'code, flags = init_config.seccomp or (b"", 0)',
        'code, flags = b"", 0',
        f"{CONTAINERS}/test_pyrunc_confinement.py::"
        "test_what_the_filter_needs_the_program_does_not_get",
    ),
]

SANDBOX = [
    _row(
        "an Egress refuses hosts that are not listed",
        "nsenter/_sandbox/egress_proxy.py",
        "if not self._run.rules.allows(host, port):",
        "if False:",
        f"{CORE}/test_sandbox_egress_attacks.py::test_what_connect_is_refused",
    ),
    _row(
        "an Egress refuses addresses that are not public",
        "nsenter/_sandbox/egress_proxy.py",
        'return f"{address} is {what}, and not listed" if what else ""',
        'return ""',
        f"{CORE}/test_sandbox_egress_attacks.py::test_what_connect_is_refused",
    ),
    _row(
        "an Egress refuses this machine's own addresses",
        "nsenter/_sandbox/egress_addresses.py",
        "if any(is_this_machines(one) for one in (address, *(inner for inner, _ in forms))):",
        "if False:",
        f"{CORE}/test_sandbox_egress_attacks.py::test_what_connect_is_refused",
    ),
    _row(
        "an Egress recognizes its machine's addresses in IPv6 forms",
        "nsenter/_sandbox/egress_addresses.py",
        "for one in (address, *(inner for inner, _ in forms))",
        "for one in (address,)",
        f"{CORE}/test_sandbox_egress_attacks.py::test_what_connect_is_refused",
    ),
    _row(
        "a tunnel is for the name that CONNECT asked for",
        "nsenter/_sandbox/egress_proxy.py",
        "if name.lower() != host:",
        "if False:",
        f"{CORE}/test_sandbox_egress_attacks.py::test_which_tunnels_are_refused",
    ),
    _row(
        "a hello with an encrypted server name is refused",
        "nsenter/_sandbox/egress_hello.py",
        "if kind in _ENCRYPTED:",
        "if False:",
        f"{CORE}/test_sandbox_egress_hello.py::test_an_encrypted_hello_is_refused",
    ),
    _row(
        "a hello has each extension once",
        "nsenter/_sandbox/egress_hello.py",
        "if kind in seen:",
        "if False:",
        f"{CORE}/test_sandbox_egress_hello.py::test_what_is_refused",
    ),
    _row(
        "Host agrees with the URL",
        "nsenter/_sandbox/egress_http.py",
        "if parse_target(given[0], default) != (host, port):",
        "if False:",
        f"{CORE}/test_sandbox_egress_http.py::test_what_is_refused",
    ),
    _row(
        "a request has one length",
        "nsenter/_sandbox/egress_http.py",
        "        if lengths:\n            raise",
        "        if False:\n            raise",
        f"{CORE}/test_sandbox_egress_http.py::test_what_is_refused",
    ),
    _row(
        "a name below a wildcard ends with a dot and the name",
        "nsenter/_sandbox/egress_rules.py",
        'return _Rule("", f".{rest}", None, port)',
        'return _Rule("", rest, None, port)',
        f"{CORE}/test_sandbox_egress_rules.py::test_what_is_not_allowed",
    ),
    _row(
        "an Egress serves no network namespace of the caller",
        "nsenter/_sandbox/egress_helper.py",
        "if os.stat(_OWN_NETWORK).st_ino == before:",
        "if False:",
        f"{CORE}/test_sandbox_egress_ends.py::test_the_callers_own_network_is_not_served",
    ),
    _row(
        "the proxy ends with its caller, whoever has a copy of its sockets",
        "nsenter/_sandbox/egress_helper.py",
        "for fd in (control.fileno(), *needed):",
        "for fd in (control.fileno(), *needed[1:]):",
        f"{CORE}/test_sandbox_egress_ends.py::test_a_killed_caller_leaves_nothing",
    ),
    _row(
        "connections to the proxy are bounded",
        "nsenter/_sandbox/egress_proxy.py",
        "if len(self.tasks) <= self.limits.connections:",
        "if True:",
        f"{CORE}/test_sandbox_egress_attacks.py::test_connections_are_bounded",
    ),
]

MUTANTS = [*PARSER, *STAGES, *CONFINEMENT, *PYTHON, *RUNTIME, *SANDBOX]
