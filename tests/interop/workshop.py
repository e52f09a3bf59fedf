# SPDX-License-Identifier: Apache-2.0
"""Runs a case of the table by a runtime, every time in the same place and from the same state."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import rootless
from interop import container_view, oci_bundles, orphans, runtimes
from interop.cases import Case
from interop.runtimes import Runtime
from needs import needs

_KEPT = {"bin"}  # of the root: no runtime has any reason to make something there


class Workshop:
    """The folders of one run of the tests.

    Args:
        folder: which any user can search.
        holder: a process whose namespaces containers join.
    """

    def __init__(self, folder: Path, holder: int) -> None:
        self.folder = folder
        self.root = oci_bundles.make_root(folder / "rootfs")
        self._holder = holder
        self._pristine = self._listing()
        self._outside = folder / "outside"
        self._make_outside()
        self._user_states = folder / "user"
        self._user_states.mkdir()
        os.chown(self._user_states, rootless.UID, rootless.UID)

    def runtime(self, name: str, *, rootless: bool = False) -> Runtime:
        """The runtime of that name; with `rootless`, as an ordinary user starts it."""
        if not rootless:
            return runtimes.runtime(name, self.folder / "states")
        found = runtimes.runtime(name, self._user_states)
        return found.started_by(*as_user())

    def run(self, name: str, case: Case) -> container_view.Topics:
        """What a container of the case sees, how it ended, and what it left."""
        runtime = self.runtime(name, rootless=case.rootless)
        identity = runtimes.new_id()
        self._make_outside()
        bundle = self.bundle(case, identity)
        try:
            done = runtime(
                *("run", "--bundle", bundle, *case.options, identity),
                stdin=case.stdin,
                env={"XDG_RUNTIME_DIR": str(self._user_states), **case.env},
                descriptors=case.descriptors,
            )
        finally:
            runtime.forget(identity)
            left = self._restore()
            orphans.reap()
        found = container_view.topics(done.stdout, {identity: "ID"})
        if not found:
            found["stdout"] = done.stdout.replace(identity, "ID").splitlines()
        return {
            **found,
            "status": [*found.get("status", [])],
            "exit": [str(done.status)],
            "stderr": ["said"] if done.stderr else [],
            "error": [done.stderr],
            "left in the root": left,
            **self._logs(identity),
        }

    def _make_outside(self) -> None:
        shutil.rmtree(self._outside, ignore_errors=True)
        for name in ("folder", "layer"):
            (self._outside / name).mkdir(parents=True)
        self._outside.chmod(0o777)
        for name, text in {
            "file": "root:x:0:0::/of-the-host:/bin/sh\n",
            "bad-script": "#!/not/there\n",
            "no-format": "\0\1\2",
        }.items():
            (self._outside / name).write_text(text)
            (self._outside / name).chmod(0o755)

    def bundle(self, case: Case, identity: str) -> Path:
        """The case's bundle, for a container of that id."""
        config = oci_bundles.made(self.root, case.process_args, *case.edits, rootless=case.rootless)
        text = json.dumps(config)
        for word, value in {
            "{outside}": str(self._outside),
            "{holder}": str(self._holder),
            "{id}": identity,
            "{root}": str(self.root),
        }.items():
            text = text.replace(word, value)
        bundle = oci_bundles.write_bundle(self.folder / "bundle", json.loads(text))
        (bundle / "beside").mkdir(exist_ok=True)
        return bundle

    def _logs(self, identity: str) -> container_view.Topics:
        """What each hook wrote, by its kind; they say in which order, in a file of its own."""
        return {
            f"hook {path.name.removeprefix('log.')}": container_view.normal_hooks(
                path.read_text().replace(identity, "ID")
            )
            for path in sorted(self._outside.glob("log.*"))
        }

    def _listing(self) -> dict[str, str]:
        """Path below the root → its mode."""
        found = {}
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if name.split("/")[0] not in _KEPT:
                state = path.lstat()
                found[name] = f"{stat.filemode(state.st_mode)} {state.st_uid}:{state.st_gid}"
        return found

    def _restore(self) -> list[str]:
        """Take out of the root what a runtime made in it, and tell what that was."""
        now = self._listing()
        made = sorted(set(now.items()) - set(self._pristine.items()))
        for name, _ in reversed(made):
            path = self.root / name
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        assert self._listing() == self._pristine
        return [" ".join(row) for row in made]


def as_user() -> tuple[str, ...]:
    """A way to start a command as an ordinary user with subordinate ids."""
    needs("newuidmap", package="uidmap")
    unshare = needs("unshare", package="util-linux")
    alone = (str(unshare), "--mount", "--propagation", "private")
    return (*alone, sys.executable, rootless.__file__, rootless.SUBIDS, "--")


@contextlib.contextmanager
def workshop() -> Iterator[Workshop]:
    with oci_bundles.scratch_folder() as folder, _holder() as holder:
        yield Workshop(folder, holder)


@contextlib.contextmanager
def _holder() -> Iterator[int]:
    """The pid of a process that is in namespaces of its own and does nothing."""
    unshare = needs("unshare", package="util-linux")
    script = "echo ready; read -r line; exec sleep 1000"
    argv = [unshare, "--user", "--net", "--ipc", "--uts", "/bin/sh", "-c", script]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == b"ready\n"
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{child.pid}/{name}").write_text("0 100000 65536\n")
            child.stdin.write(b"\n")
            child.stdin.flush()
            yield child.pid
        finally:
            child.kill()
