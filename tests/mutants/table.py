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
_DAMAGED = (
    f"{_MESSAGE}::test_malformed_is_refused_with_attribute_and_offset",
    f"{_MESSAGE}::test_unknown_and_double_attributes_are_refused_at_the_raw_level_too",
)

_ROOTFS = f"{CONTAINERS}/test_rootfs_hostile.py"

PARSER = [
    _row(
        "an attribute that runs past the end of the message is refused",
        "csrc/wire.c",
        "if (len > size - at)",
        "if (size == 0)",
        *_DAMAGED,
    ),
    _row(
        "an attribute shorter than its own header is refused",
        "csrc/wire.c",
        "if (len < WIRE_ATTR_HEADER)",
        "if (size == 0)",
        *_DAMAGED,
    ),
    _row(
        "an attribute that stands twice is refused",
        "csrc/wire.c",
        "if (slot->present)",
        "if (size == 0)",
        *_DAMAGED,
    ),
    _row(
        "a text with a NUL inside is refused",
        "csrc/wire.c",
        "if (nul != payload + len - 1)",
        "if (len == 0)",
        *_DAMAGED,
    ),
    _row(
        "bytes behind the end of the message are refused",
        "csrc/wire.c",
        "if (stated < size)",
        "if (size == 0)",
        f"{_MESSAGE}::test_bytes_behind_the_end_of_the_message_are_refused",
    ),
    _row(
        "a value that does not fit a u16 length is refused before a byte is written",
        "csrc/wire.c",
        "attr->text.len > WIRE_ATTR_MAX - WIRE_ATTR_HEADER - nul",
        "attr->text.len > 10 * WIRE_ATTR_MAX",
        f"{_MESSAGE}::test_a_value_over_the_u16_limit_is_refused_before_a_byte_is_written",
        f"{_MESSAGE}::test_a_mapping_tool_over_the_u16_limit_is_refused",
    ),
    _row(
        "clone flags other than namespaces are refused",
        "csrc/bootstrap.c",
        "if (attr->number & ~(uint32_t)NAMESPACE_FLAGS)",
        "if (attr->number == 1)",
        *_DAMAGED,
    ),
    _row(
        "a namespace that is both joined and new is refused",
        "csrc/bootstrap.c",
        "if (ns->flag & out->cloneflags)",
        "if (ns->flag == 1)",
        *_DAMAGED,
    ),
    _row(
        "an id map without a new user namespace is refused",
        "csrc/bootstrap.c",
        "if (!(cloneflags & CLONE_NEWUSER))",
        "if (cloneflags == 1)",
        *_DAMAGED,
    ),
    _row(
        "the path of a mapping tool must be absolute",
        "csrc/bootstrap.c",
        "if (attr->text.len == 0 || attr->text.data[0] != '/')",
        "if (attr->text.len == 0)",
        f"{_MESSAGE}::test_a_mapping_tool_is_an_absolute_path",
        *_DAMAGED,
    ),
    _row(
        "the path of a namespace must be absolute",
        "csrc/namespaces.c",
        "if (rest.data[0] != '/')",
        "if (rest.len == 0)",
        *_DAMAGED,
    ),
    _row(
        "ranges of an id map do not overlap on the host's side",
        "csrc/idmap.c",
        "if (ranges_meet(maps[i].host, maps[i].size, last->host, last->size))",
        "if (n > 100000)",
        f"{CORE}/test_idmap.py",
        *_DAMAGED,
    ),
    _row(
        "an id map has at most 340 lines",
        "csrc/idmap.c",
        "if (n == IDMAP_LINES_MAX)",
        "if (n == IDMAP_LINES_MAX + 1)",
        f"{_MESSAGE}::test_an_id_map_has_at_most_340_lines",
        f"{CORE}/test_idmap.py",
    ),
]

STAGES = [
    _row(
        "a process that joins namespaces is not dumpable",
        "csrc/nsexec.c",
        "sys_prctl(PR_SET_DUMPABLE, dumpable);",
        "(void)dumpable;",
        f"{CORE}/test_join.py",
    ),
    _row(
        "a joiner holds no descriptor of the host before the container sees it",
        "csrc/nsexec.c",
        "if (tail_close_others(ns->launch.keep_fds, needed, count, err) < 0)",
        "if (count == 0)",
        f"{CONTAINERS}/test_seized_joiners.py",
    ),
    _row(
        "a joiner has given up its capabilities before the container sees it",
        "csrc/nsexec.c",
        "(nsexec_arrive(ns, err) < 0 || identity_hold(&ns->launch, err) < 0))",
        "nsexec_arrive(ns, err) < 0)",
        f"{CONTAINERS}/test_seized_joiners.py",
    ),
    _row(
        "groups of the host do not get into a joined user namespace",
        "csrc/settle.c",
        "if (launched && (namespaces_flags(&boot->join) & CLONE_NEWUSER) &&",
        "if (!launched && (namespaces_flags(&boot->join) & CLONE_NEWUSER) &&",
        f"{CORE}/test_join.py",
    ),
    _row(
        "id maps are not written through another pid namespace's /proc",
        "csrc/mapper.c",
        "if (check_proc(err) < 0)",
        "if (!boot)",
        f"{CORE}/test_launch.py",
        f"{CORE}/test_takeover.py",
    ),
    _row(
        "setgroups is denied before a rootless caller's gid map is written",
        "csrc/mapper.c",
        "if (boot->rootless_euid && !boot->setgroup && deny_setgroups(pid, err) < 0)",
        "if (!boot)",
        f"{CORE}/test_maps.py",
    ),
    _row(
        "setgroups is denied by a child that maps itself",
        "csrc/mapper.c",
        '{ "/proc/self/setgroups", { "deny", 4 } },',
        '{ "/proc/self/setgroups", { "deny", 0 } },',
        f"{CORE}/test_direct.py",
        f"{CORE}/test_maps.py",
    ),
    _row(
        "a mapping tool that maps nothing has failed whatever it says",
        "csrc/mapper.c",
        "return check_written(path, tool_path, err);",
        "return 0;",
        f"{CORE}/test_faults.py::test_mapping_tool_that_maps_nothing_has_failed_whatever_it_says",
    ),
    _row(
        "only descriptors on an allow list reach the payload",
        "csrc/tail.c",
        "return ret < 0 ? ret : older_close_range(next, ~0U, flags);",
        "return ret;",
        f"{CORE}/test_launch.py",
        f"{CORE}/test_options.py",
    ),
    _row(
        "only descriptors on an allow list reach a payload that is started directly",
        "csrc/spawn.c",
        "long ret = older_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);",
        "long ret = 0;",
        f"{CORE}/test_direct.py",
    ),
    _row(
        "a program is started with the default signal dispositions",
        "csrc/spawn.c",
        "sys_sigaction(sig, &by_default, NULL); /* SIGKILL",
        "(void)by_default; /* SIGKILL",
        f"{CORE}/test_direct.py",
    ),
    _row(
        "a payload is not started if its caller is gone",
        "csrc/spawn.c",
        "if (die_with(spawn) < 0) {",
        "if (spawn->caller == -2) {",
        f"{CORE}/test_faults.py::"
        "test_launcher_killed_before_any_step_of_a_direct_child_leaves_no_payload",
    ),
    _row(
        "PID 1 keeps no capability but CAP_KILL",
        "csrc/reaper.c",
        "if (identity_keep_only(1ULL << CAP_KILL, err) < 0)",
        "if (verdict_fd < 0)",
        f"{CORE}/test_options_init.py",
    ),
    _row(
        "PID 1 cannot be looked into",
        "csrc/reaper.c",
        "\tsys_prctl(PR_SET_DUMPABLE, 0);",
        "\t(void)dumpable;",
        f"{CORE}/test_options_init.py",
    ),
]

CONFINEMENT = [
    _row(
        "no capability is inheritable unless it is ambient",
        "csrc/identity.c",
        "const struct sets sets = { mask, mask, ambient };",
        "const struct sets sets = { mask, mask, mask };",
        f"{CORE}/test_options.py",
    ),
    _row(
        "capabilities that are not given leave the bounding set",
        "csrc/identity.c",
        "if (chooses && (drop_bounding(mask_of(launch->capabilities), err) < 0))",
        "if (chooses && (drop_bounding(~0ULL, err) < 0))",
        f"{CORE}/test_options.py",
    ),
    _row(
        "supplementary groups are those that were asked for",
        "csrc/identity.c",
        "ret = launch->groups.data ? SYS2(SYS_setgroups, count, launch->groups.data) : 0;",
        "ret = 0;",
        f"{CORE}/test_options.py",
    ),
    _row(
        "no_new_privs is set",
        "csrc/tail.c",
        "if (launch->no_new_privs && (ret = sys_prctl(PR_SET_NO_NEW_PRIVS, 1)) < 0)",
        "if (launch->no_new_privs && (ret = 0) < 0)",
        f"{CORE}/test_options.py",
        f"{CORE}/test_presets.py",
    ),
    _row(
        "the working directory is inside the root",
        "csrc/tail.c",
        "if (ret < 0 || buf[0] != '/')",
        "if (ret == -1000)",
        f"{CORE}/test_launch.py",
        f"{CORE}/test_options_root.py",
    ),
    _row(
        "a process with die_with_parent dies with its parent",
        "csrc/tail.c",
        "sys_prctl(PR_SET_PDEATHSIG, SIGKILL);",
        "(void)ret;",
        f"{CORE}/test_options.py",
    ),
    _row(
        "Landlock's rules are in force",
        "csrc/landlock.c",
        "ret = SYS2(SYS_landlock_restrict_self, fd, 0);",
        "ret = 0;",
        f"{CORE}/test_options.py",
    ),
    _row(
        "Landlock governs every right that the kernel knows of",
        "csrc/landlock.c",
        "uint64_t rights = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR;",
        "uint64_t rights = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR;",
        f"{CORE}/test_options.py",
    ),
    _row(
        "the filter of system calls is in force",
        "csrc/filter.c",
        "ret = older_set_filter(&program, launch->seccomp_flags);",
        "ret = program.len == 0;",
        f"{CORE}/test_options.py",
        f"{CORE}/test_presets.py",
    ),
    _row(
        "a bind is read-only unless it is writable",
        "csrc/mounts.c",
        "(record->writable ? 0 : MOUNT_READ_ONLY),",
        "0,",
        f"{CORE}/test_options_root.py",
    ),
    _row(
        "a bind has no set-user-ID programs",
        "csrc/mounts.c",
        ".set = MOUNT_NO_SUID | (record->devices ? 0 : MOUNT_NO_DEV) |",
        ".set = (record->devices ? 0 : MOUNT_NO_DEV) |",
        f"{CORE}/test_options_root.py",
    ),
    _row(
        "mounts of a new root do not reach the caller",
        "csrc/root.c",
        'long ret = SYS5(SYS_mount, "none", "/", 0, MS_REC | MS_PRIVATE, 0);',
        "long ret = 0;",
        f"{CORE}/test_options_root.py",
        f"{CORE}/test_launch.py",
    ),
    _row(
        "the old root is gone",
        "csrc/root.c",
        'ret = SYS2(SYS_umount2, ".", DETACH);',
        "ret = 0;",
        f"{CORE}/test_options_root.py",
    ),
    _row(
        "a mount point is looked for inside the root",
        "csrc/mountapi.c",
        ".resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,",
        ".resolve = RESOLVE_NO_MAGICLINKS,",
        f"{CORE}/test_options_root.py",
    ),
]

PYTHON = [
    _row(
        "memory that the init runs from cannot be changed",
        "nsenter/kept.py",
        "seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE",
        "seals = fcntl.F_SEAL_SHRINK",
        f"{CORE}/test_bundle.py::test_nobody_can_change_a_bundle",
        f"{CORE}/test_launch.py",
    ),
    _row(
        "variables of an outer launcher reach no payload",
        "nsenter/launch.py",
        "encoded.pop(name, None)",
        "encoded.get(name)",
        f"{CORE}/test_callers.py",
    ),
    _row(
        "the hostname of the caller is not changed",
        "nsenter/launch.py",
        "if not joined and not data.clone_flags & kind.clone_flag:",
        "if joined and not data.clone_flags:",
        f"{CORE}/test_launch.py",
    ),
    _row(
        "a sandbox has no capabilities",
        "nsenter/presets.py",
        '"capabilities": (),',
        '"capabilities": None,',
        f"{CORE}/test_presets.py",
        f"{CORE}/test_sandbox.py",
    ),
    _row(
        "a sandbox filters system calls",
        "nsenter/presets.py",
        '"seccomp": seccomp.strict(),',
        '"seccomp": None,',
        f"{CORE}/test_presets.py",
        f"{CORE}/test_sandbox.py",
    ),
    _row(
        "a sandbox's root is read-only",
        "nsenter/presets.py",
        '"read_only": True,',
        '"read_only": False,',
        f"{CORE}/test_presets.py",
        f"{CORE}/test_sandbox.py",
    ),
    _row(
        "the strict filter denies the kernel's keyrings",
        "nsenter/seccomp.py",
        "keyctl 250 219, ",
        "",
        f"{CORE}/test_sandbox.py",
        f"{CORE}/test_presets.py",
    ),
    _row(
        "no word can be put into a terminal as if it were typed",
        "nsenter/seccomp.py",
        "_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C",
        "_TIOCSTI, _TIOCLINUX = 0x1, 0x541C",
        f"{CORE}/test_sandbox.py",
        f"{CORE}/test_presets.py",
    ),
]

RUNTIME = [
    _row(
        "nobody but its owner can read or write state.json",
        "pylib/libcontainer/state.py",
        "os.open(_NEW_STATE_FILE, flags, 0o600, dir_fd=self._fd)",
        "os.open(_NEW_STATE_FILE, flags, 0o666, dir_fd=self._fd)",
        f"{CONTAINERS}/test_state_files.py",
    ),
    _row(
        "nobody but its owner can list the state of containers",
        "pylib/libcontainer/state.py",
        "os.makedirs(self.root, mode=0o700, exist_ok=True)",
        "os.makedirs(self.root, mode=0o755, exist_ok=True)",
        f"{CONTAINERS}/test_state_files.py",
    ),
    _row(
        "nobody but its owner can start a created container",
        "pylib/libcontainer/state.py",
        "os.mkfifo(_FIFO, 0o600, dir_fd=self._fd)",
        "os.mkfifo(_FIFO, 0o666, dir_fd=self._fd)",
        f"{CONTAINERS}/test_state_files.py",
    ),
    _row(
        "the name of a container is no path",
        "pylib/libcontainer/state.py",
        'name not in ("", ".", "..") and _ALLOWED_IN_ID.issuperset(name) and',
        'name not in ("", ".", "..") and',
        f"{CONTAINERS}/test_container.py::test_id_that_is_no_name_is_refused",
    ),
    _row(
        "a path of a container is resolved inside its root",
        "pylib/libcontainer/init/paths.py",
        "_SAFELY = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS",
        "_SAFELY = RESOLVE_NO_MAGICLINKS",
        f"{CONTAINERS}/test_rootfs_hostile.py",
    ),
    _row(
        "proc is mounted on no link",
        "pylib/libcontainer/init/paths.py",
        "if stat.S_ISLNK(posix.fstat(fd).st_mode):",
        "if fd < 0:",
        f"{CONTAINERS}/test_rootfs_hostile.py",
    ),
    _row(
        "a sysctl is written to the kernel's own /proc",
        "pylib/libcontainer/init/sysctl.py",
        "if proc < 0 or system.file_system_type(proc) != system.PROC_SUPER_MAGIC:",
        "if proc < 0:",
        f"{CONTAINERS}/test_rootfs_hostile.py",
    ),
    _row(
        "a sysctl does not leave /proc/sys",
        "pylib/libcontainer/init/sysctl.py",
        "_BELOW = system.RESOLVE_BENEATH | system.RESOLVE_NO_SYMLINKS | system.RESOLVE_NO_XDEV",
        "_BELOW = 0",
        f"{_ROOTFS}::test_a_sysctl_does_not_leave_proc_sys",
    ),
    _row(
        "a sysctl of the whole machine is refused",
        "pylib/libcontainer/configs/sysctls.py",
        "if not config.namespaces.contains(kind):",
        "if not kind:",
        f"{CONTAINERS}/test_validate.py",
    ),
    _row(
        "a container's working directory is inside its root",
        "pylib/libcontainer/init/identity.py",
        'if not path.startswith("/"):',
        "if path is None:",
        f"{_ROOTFS}::test_a_directory_of_the_host_is_no_working_directory",
    ),
    _row(
        "a container has the supplementary groups of its configuration alone",
        "pylib/libcontainer/init/identity.py",
        "posix.setgroups(list(groups))",
        "list(groups)",
        f"{CONTAINERS}/test_pyrunc_lifecycle.py",
        f"{CONTAINERS}/test_container.py",
    ),
    _row(
        "capabilities that config.json does not give leave the bounding set",
        "pylib/libcontainer/init/identity.py",
        "capabilities.drop_bounding(capabilities.mask_of(caps.bounding if caps else ()))",
        "caps",
        f"{CONTAINERS}/test_capabilities.py",
        f"{CONTAINERS}/test_container.py",
        f"{CONTAINERS}/test_pyrunc_lifecycle.py",
    ),
    _row(
        "read-only paths are read-only",
        "pylib/libcontainer/init/masks.py",
        "system.mount_setattr(tree, set=system.MOUNT_ATTR_RDONLY, subject=name)",
        "str(name)",
        f"{CONTAINERS}/test_rootfs.py",
    ),
    _row(
        "a filter that others could have written is not used",
        "pylib/libcontainer/seccomp/cache.py",
        "written_by_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)",
        "written_by_others = 0",
        f"{CONTAINERS}/test_seccomp.py",
    ),
    _row(
        "state that another user could have made is not believed",
        "pylib/libcontainer/pyrunc/root.py",
        "if not ours or status.st_mode & _OTHERS_WRITE:",
        "if status.st_mode == 0:",
        f"{CONTAINERS}/test_pyrunc_root.py",
    ),
    _row(
        "a module cache that another user could have written is not used",
        "pylib/libcontainer/pyrunc/image.py",
        "ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022",
        "ours = status.st_uid >= 0",
        f"{CONTAINERS}/test_pyrunc_image.py",
    ),
    _row(
        "a reused pid is not taken for the container",
        "pylib/libcontainer/state.py",
        "else int(fields[_STAT_START_TIME])",
        "else 1",
        f"{CONTAINERS}/test_container.py::test_reused_pid_is_not_taken_for_the_container",
    ),
]

MUTANTS = [*PARSER, *STAGES, *CONFINEMENT, *PYTHON, *RUNTIME]
