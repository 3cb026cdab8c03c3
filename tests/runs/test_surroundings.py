"""What a record knows of the code and the packages it ran with."""

import subprocess
import sys
from importlib import metadata

import pytest

from vitlab.runs.surroundings import differences, git_state, packages


@pytest.fixture
def checkout(tmp_path):
    """A git checkout with one commit; returns its folder and a function that runs git there."""
    folder = tmp_path / "checkout"
    (folder / "src" / "lab").mkdir(parents=True)

    def git(*arguments, cwd=folder):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (folder / "src" / "lab" / "code.py").write_text("a = 1\n")
    (folder / ".gitignore").write_text("*.cache\n")
    git("add", ".")
    git("commit", "-qm", "first")
    return folder, git


def test_commit_and_diff_give_the_code_again_new_files_included_and_the_checkout_stays_as_it_was(
    checkout, tmp_path
):
    folder, git = checkout
    source = folder / "src" / "lab"
    assert git_state(source) == {"commit": git("rev-parse", "HEAD").strip(), "diff": ""}
    (source / "code.py").write_text("a = 2\n")
    (source / "new.py").write_text("b = 3\n")
    (source / "ignored.cache").write_text("c")
    (folder / "notes.txt").write_text("no code")
    before = git("status", "--porcelain")
    state = git_state(source)
    assert git("status", "--porcelain") == before
    git("clone", "-q", str(folder), str(tmp_path / "again"))
    git("checkout", "-q", state["commit"], cwd=tmp_path / "again")
    (tmp_path / "diff").write_text(state["diff"])
    git("apply", str(tmp_path / "diff"), cwd=tmp_path / "again")
    files = {file.name: file.read_text() for file in (tmp_path / "again" / "src" / "lab").iterdir()}
    assert files == {"code.py": "a = 2\n", "new.py": "b = 3\n"}
    assert not (tmp_path / "again" / "notes.txt").exists()


def test_an_installed_package_has_no_git_state_also_inside_somebody_elses_checkout(checkout, tmp_path):
    folder, _ = checkout
    installed = folder / "site-packages" / "vitlab"
    installed.mkdir(parents=True)
    assert git_state(installed) is None
    assert git_state(tmp_path) is None


def test_the_packages_are_those_that_pip_would_name():
    found = packages()
    for name in ("torch", "pytorch-lightning", "hydra-core", "pyyaml", "vitlab"):
        assert found[name] == metadata.version(name)
    program = (
        "from importlib import metadata; print(*{d.name.lower().replace('_', '-') for d in"
        " metadata.distributions()})"
    )
    fresh = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert set(found) == set(fresh.split())


def test_the_private_copies_of_setuptools_are_no_packages_of_a_run(tmp_path, monkeypatch):
    for folder, name in (("_vendor", "torch"), ("_vendor", "private"), ("site", "public")):
        info = tmp_path / folder / f"{name}-0.1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        monkeypatch.syspath_prepend(tmp_path / folder)
    found = packages()
    assert found["public"] == "0.1"
    assert found["torch"] != "0.1"
    assert "private" not in found


def test_packages_of_any_make_are_known_and_what_an_uninstall_left_behind_is_passed_by(tmp_path, monkeypatch):
    (tmp_path / "old_way-1.0.egg-info").write_text("Metadata-Version: 1.0\nName: old_way\nVersion: 1.0\n")
    (tmp_path / "gone-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    found = packages()
    assert found["old-way"] == "1.0" and "gone" not in found


def test_differences_name_each_fact_and_spare_the_reader_long_texts():
    before = {
        "python": "3.11",
        "packages": {"torch": "2.15", "old": "1"},
        "git": {"commit": "a", "diff": "x" * 100},
        "same": [1],
    }
    now = {
        "python": "3.11",
        "packages": {"torch": "2.16", "new": "2"},
        "git": {"commit": "a", "diff": ""},
        "same": [1],
    }
    assert differences(before, before) == []
    assert differences(before, now) == [
        "packages.torch was 2.15, is 2.16",
        "packages.old was 1, is absent",
        "packages.new was absent, is 2",
        "git.diff differs",
    ]
