"""Files for hostile code, and what it makes of them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import nsenter

# --- overlay
JOB = """
sort -n in.csv > out.csv
rm in.csv
ln -s /etc/passwd gift
mkfifo pipe
"""


def sort_numbers(job: Path) -> None:
    with nsenter.Sandbox(workspace=job, overlay=True, workspace_size="64M", timeout=10) as box:
        box.write("in.csv", "30\n4\n100\n")
        box.run(["sh", "-c", JOB]).check()
        for change in box.changes():
            print(change.kind, change.type, change.path)
        print(box.read("out.csv").split())
        for name in ("gift", "pipe"):
            try:
                box.read(name)
            except nsenter.UnsafeFile as error:
                print(error)
        box.commit("out.csv")  # the rest stays where it is
        box.reset()
        print(box.changes("gift"), os.listdir(job))


# --- diff
def show_difference(job: Path) -> None:
    with nsenter.Sandbox(workspace=job, overlay=True) as box:
        box.run(["sed", "-i", "s/30/31/", "out.csv"])
        print(box.diff(), end="")


# --- image
def run_in_image(folder: Path) -> None:
    """Make an OCI image of nothing but a file, and run a function in it."""
    (folder / "root").mkdir()
    (folder / "root" / "words").write_text("hello from an OCI image\n")
    layout = f"{folder}/layout"
    for command in (
        ["umoci", "init", "--layout", layout],
        ["umoci", "new", "--image", f"{layout}:1"],
        ["umoci", "insert", "--rootless", "--image", f"{layout}:1", f"{folder}/root", "/data"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    with nsenter.Sandbox(root=f"oci:{layout}:1") as box:
        print(box.call(os.listdir, "/data"))


# --- use
if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as parent:
        os.environ["XDG_CACHE_HOME"] = parent
        work = Path(parent, "job")
        work.mkdir()
        sort_numbers(work)
        show_difference(work)
        run_in_image(Path(parent))
