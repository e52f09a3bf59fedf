# SPDX-License-Identifier: Apache-2.0
"""What of the suites does not pass, and why not."""

# Files that are not run.
LEFT_OUT = {
    "checkpoint.bats": "there is no checkpoint",
    "seccomp-notify.bats": "its agent is a Go program; tests/test_libcontainer has one",
    "version.bats": "it looks for the commit that runc was built from",
    "test_checkpoint_restore.py": "there is no checkpoint",
    "test_seccomp.py": "it waits for the listener of a filter that never notifies",
    "test_delete.py": "of crun's `delete --regex`, and of a cgroup of its own making",
}

# (file, test): why
KNOWN = {
    ("cgroups.bats", "runc run/create should warn about a non-empty cgroup"):
        "it is refused, as by runc from 1.2 on",
    ("seccomp.bats", "runc run [seccomp] (startContainer hook)"):
        "the error names the kind of hook, as runc's newer ones do",
    ("spec.bats", "spec validator"): "it clones a repository",
    ("test_devices.py", "owner-device"):
        "in a user namespace the host's node is bound, and it has none; as with runc",
    ("test_exec.py", "exec_add_no_new_privileges"):
        "a process has the container's noNewPrivileges, as with runc",
    ("test_mounts.py", "mount-idmapped-mounts"): "options of crun's own",
    ("test_preserve_fds.py", "preserve-fds-some"): "a descriptor has to be open, as with runc",
    ("test_start.py", "start"): "it reads a file of crun's state",
    ("test_start.py", "listen_pid_env"): "LISTEN_FDS is of another process there, as with runc",
    ("test_tty.py", "test-detach-tty"):
        "a terminal of a process in the background needs a console socket, as with runc",
    ("test_uid_gid.py", "keep-groups"): "an annotation of crun's own",
    **{
        ("test.test_subprocess", f"POSIXProcessTestCase.{test}"): "there is no preexec_fn"
        for test in (
            *("test_close_fds_after_preexec", "test_preexec", "test_preexec_exception"),
            *("test_preexec_fork_failure", "test_preexec_gc_module_failure"),
            *("test_preexec_errpipe_does_not_double_close_pipes", "test_surrogates_error_message"),
        )
    },
    **{
        ("test.test_subprocess", test): f"it puts {what} in the place of the module's own"
        for test, what in (
            ("POSIXProcessTestCase.test_exception_errpipe_normal", "a fork_exec"),
            ("POSIXProcessTestCase.test_exception_errpipe_bad_data", "a fork_exec"),
            ("POSIXProcessTestCase.test_stopped", "a waitpid"),
            ("ProcessTestCase.test__use_vfork", "a fork_exec"),
            ("ProcessTestCaseNoPoll.test__use_vfork", "a fork_exec"),
            ("MiscTests.test_run_keyboardinterrupt_no_kill", "a Popen"),
        )
    },
    **{
        ("test.test_asyncio.test_subprocess", f"Subprocess{watcher}WatcherTests.{test}"):
            "it puts a Popen in the place of the module's own"
        for watcher in ("Fast", "Pidfd", "Safe", "Threaded")
        for test in ("test_popen_error", "test_popen_error_with_stdin_pipe")
    },
    (
        "test.test_asyncio.test_subprocess",
        "GenericWatcherTests.test_create_subprocess_fails_with_inactive_watcher",
    ): "a start needs no child watcher",
    **{
        ("test.test_concurrent_futures", f"NamespaceExecutorDeadlockTest.{test}"): reason
        for test, reason in (
            ("test_error_at_task_pickle", "what cannot be sent is an error of submit, at once"),
            ("test_error_at_task_unpickle", "the worker tells of the error, and is not broken"),
            ("test_exit_at_task_unpickle", "the worker tells of the SystemExit, and is not broken"),
            *(
                (f"test_exit_during_{what}_on_worker", "a SystemExit comes as a RemoteError")
                for what in ("func_exec", "result_pickle")
            ),
            *(
                (f"test_{what}_during_result_unpickle_in_result_handler",
                    "the exception is that of the future, and the executor is not broken")
                for what in ("error", "exit")
            ),
            *(
                (test, "it looks at the threads and queues of a ProcessPoolExecutor")
                for test in (
                    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full",
                    "test_shutdown_deadlock_pickle",
                )
            ),
        )
    },
}  # fmt: skip
