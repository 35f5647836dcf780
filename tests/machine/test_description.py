"""One description of the machine serves every file that holds one."""

from __future__ import annotations

import subprocess

import torch

from focalnets.machine.description import Commit, describe_machine, describe_versions, processor_name, read_commit
from focalnets.machine.devices import device_name
from focalnets.version import __version__


def run_git(folder, *arguments):
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_describes_this_machine():
    machine = describe_machine()
    assert machine.processor == processor_name()
    assert 1 <= machine.usable_cores <= machine.cores
    assert machine.threads == torch.get_num_threads()
    assert machine.memory_bytes is None or machine.memory_bytes > 2**28
    assert len(machine.gpus) == torch.cuda.device_count()


def test_versions_of_what_is_installed():
    versions = describe_versions(("focalnets", "torch", "no-such-package"))
    assert set(versions) == {"focalnets", "torch"}
    assert versions["focalnets"] == __version__


def test_a_commit_says_whether_files_were_changed(tmp_path):
    assert read_commit(tmp_path) is None
    run_git(tmp_path, "init")
    assert read_commit(tmp_path) is None  # nothing is committed yet
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("before")
    run_git(tmp_path, "add", "-A")
    run_git(tmp_path, "commit", "-m", "first")
    (tmp_path / "untracked").write_text("")
    clean = read_commit(tmp_path / "a")
    assert (len(clean.hash), clean.changed) == (40, False)
    (tmp_path / "b" / "file").write_text("after")
    assert read_commit(tmp_path / "a") == Commit(clean.hash, True)
    assert str(read_commit(tmp_path / "a")) == f"{clean.hash}-dirty"
    assert read_commit(tmp_path / "a", (".",)) == clean


def test_every_kind_of_device_has_a_name():
    assert [device_name(torch.device(kind)) for kind in ("cpu", "mps")] == ["cpu", "mps"]
