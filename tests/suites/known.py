# SPDX-License-Identifier: Apache-2.0
"""What of the suites does not pass, and why not."""

# Files that are not run.
LEFT_OUT = {
    "checkpoint.bats": "there is no checkpoint",
    "seccomp-notify.bats": "its agent is a Go program; tests/test_libcontainer has one",
    "version.bats": "it looks for the commit that runc was built from",
    "test_checkpoint_restore.py": "there is no checkpoint",
    "test_delete.py": "of crun's `delete --regex`, and of a cgroup of its own making",
}

# (file, test): why
KNOWN = {
    ("cgroups.bats", "runc run/create should warn about a non-empty cgroup"):
        "it is refused, as by runc from 1.2 on",
    ("spec.bats", "spec validator"): "it clones a repository",
    ("test_capabilities.py", "some-caps-inheritable"): "they stay empty (CVE-2022-29162)",
    ("test_capabilities.py", "some-caps-inheritable-non-root"): "the same",
    ("test_devices.py", "owner-device"): "it maps 2^32 - 1 ids, more than the kernel has",
    ("test_exec.py", "exec-root-netns-with-userns"):
        "the root of a user namespace cannot join the host's network; runc's cannot either",
    ("test_exec.py", "exec_add_no_new_privileges"):
        "a process has the container's noNewPrivileges, as with runc",
    ("test_preserve_fds.py", "preserve-fds-some"): "a descriptor has to be open, as with runc",
    ("test_seccomp.py", "seccomp-listener"): "it is run from crun's own build folder",
    ("test_start.py", "start"): "it reads a file of crun's state",
    ("test_start.py", "listen_pid_env"): "LISTEN_FDS is of another process there, as with runc",
    ("test_uid_gid.py", "keep-groups"): "an annotation of crun's own",
}  # fmt: skip
