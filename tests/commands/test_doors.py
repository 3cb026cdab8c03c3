"""A stranger's files are data: what a config says to Hydra itself, what lies in the present folder, and the
environment run nothing."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vitlab.construct import resolve_target
from vitlab.programs import ask
from vitlab.runs.surroundings import git_state

GLOBAL = "# @package _global_\n"

TO_HYDRA = {
    "a callback": GLOBAL + "hydra: {callbacks: {x: {_target_: torch.hub.load}}}",
    "a formatter of a log": GLOBAL + "hydra: {job_logging: {formatters: {x: {(): torch.hub.load}}}}",
    "a handler of Hydra's log": GLOBAL + "hydra: {hydra_logging: {handlers: {x: {(): torch.hub.load}}}}",
    "the environment": GLOBAL + "hydra: {job: {env_set: {PATH: here}}}",
    "the name of the log": GLOBAL + "hydra: {job: {name: ../x}}",
    "a folder of Hydra's files": GLOBAL + "hydra: {output_subdir: ../x}",
    "several jobs": GLOBAL + "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}",
    "something beside where runs lie": GLOBAL + "hydra: {run: {dir: here, x: y}}",
    "a reference": GLOBAL + "mine: {callbacks: {}}\nhydra: ${mine}",
    "a package": "# @package hydra.job\nname: x",
    "a package in brackets": "# @package _global_.[hydra].job\nname: x",
    "vitlab's own file in another place": GLOBAL + "defaults:\n  - /logger@hydra.callbacks: tensorboard",
    "another option of Hydra's": GLOBAL + "defaults:\n  - override /hydra/hydra_logging: disabled",
    "a file out of the folder": GLOBAL + "defaults:\n  - /../mine/evil@_global_: evil",
    "an option in a folder named hydra": GLOBAL + "defaults:\n  - override /hydra/hydra_logging: evil",
}


@pytest.mark.parametrize("content", TO_HYDRA.values(), ids=TO_HYDRA.keys())
def test_a_file_says_nothing_to_hydra_itself(vitlab, tmp_path, content):
    for folder, text in {
        "experiment": content,
        "hydra/hydra_logging": "formatters: {x: {(): print}}",
        "evil": "hydra: {job: {}}",
    }.items():
        (tmp_path / "mine" / folder).mkdir(parents=True)
        (tmp_path / "mine" / folder / "evil.yaml").write_text(text)
    ended = vitlab("train", "--config-dir", "mine", "experiment=evil", "data.batch_size=0")
    assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended.err
    assert "not for a file to" in ended.err or "Could not find" in ended.err, ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_a_file_may_say_where_runs_lie_and_the_command_line_anything(vitlab, tmp_path):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "near.yaml").write_text(
        GLOBAL + "hydra: {run: {dir: here}, sweep: {dir: there}}"
    )
    shown = vitlab(
        "train",
        "--config-dir",
        "mine",
        "experiment=near",
        "+hydra.job.env_set.A=b",
        "--cfg",
        "hydra",
        "--package",
        "hydra",
    )
    assert (
        shown.status == 0 and "dir: here" in shown.out and "dir: there" in shown.out and "A: b" in shown.out
    )


def test_a_sweeps_file_says_nothing_to_hydra_either(vitlab, tmp_path):
    (tmp_path / "mine" / "sweep").mkdir(parents=True)
    for name, said in {
        "a": "overrides: ['hydra.job.env_set.A=b']",
        "b": "space: {'++hydra.verbose': 'true,false'}",
    }.items():
        (tmp_path / "mine" / "sweep" / f"{name}.yaml").write_text(f"defaults: [grid, _self_]\n{said}\n")
        ended = vitlab("train", "-m", "--config-dir", "mine", f"sweep={name}", "seed=1,2")
        assert ended.status == 2 and "not for a sweep's file to say" in ended.err, ended.err


@pytest.mark.parametrize(
    "option",
    ["--config-path=mine", "--config-name=x", "-cn=x", "--experimental-rerun=x", "--exp=x", "hydra.mode=RUN"],
)
def test_hydra_begins_from_nothing_but_vitlabs_config(vitlab, option):
    ended = vitlab("train", option)
    assert ended.status == 2 and "vitlab: " + option in ended.err


def test_what_a_config_may_build_is_settled_before_it_is_read(monkeypatch):
    monkeypatch.setenv("VITLAB_TARGETS", "torch.hub")
    with pytest.raises(ValueError, match=r"torch\.hub\.load is not allowed"):
        resolve_target("torch.hub.load", "callbacks.x")


def test_git_is_the_systems_and_does_what_no_variable_says(monkeypatch, tmp_path):
    ran = tmp_path / "ran"
    fake = tmp_path / "git"
    fake.write_text(f"#!/bin/sh\ntouch {ran}\n")
    fake.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "." + os.pathsep + os.environ["PATH"])
    said = {"COUNT": "1", "KEY_0": "core.fsmonitor", "VALUE_0": f"touch {ran}; false"}
    for name, value in said.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    git_state(Path(__file__).parents[2] / "src" / "vitlab")
    assert ask(["git", "--version"]).startswith("git version")
    assert not ran.exists()


def test_no_python_that_a_command_starts_imports_from_the_present_folder(vitlab, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    (tmp_path / "lies_here.py").touch()
    assert vitlab("list", ".").status == 0
    assert subprocess.run([sys.executable, "-c", "import lies_here"], capture_output=True).returncode == 1
    assert subprocess.run([sys.executable, "-m", "lies_here"], capture_output=True).returncode == 1


def test_python_m_vitlab_imports_nothing_from_the_present_folder(tmp_path):
    (tmp_path / "argparse.py").write_text("raise SystemExit(7)")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    ended = subprocess.run(
        [sys.executable, "-m", "vitlab", "list", "."], cwd=tmp_path, env=environment, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr


ODD = (
    "<img src=x onerror=alert(1)>",
    "=cmd|' C'!A0",
    "a\nb",
    "\x1b[31mred\x07",
    "`t` **b** [x](http:e)",
    "$x^{2$",
)


def test_names_of_classes_and_files_are_text_wherever_they_are_written(vitlab, photo_folder, tmp_path):
    root = photo_folder(classes=ODD, count=8)
    photo = (root / ODD[0] / "0.png").rename(tmp_path / "=0\x1b[2J\nb.png")
    small = [
        "hardware=cpu",
        "trainer.max_epochs=1",
        "schedule.warmup_epochs=0",
        "model.depth=1",
        "model.embed_dim=16",
        "model.num_heads=2",
    ]
    small += [
        "data=folder",
        f"data.root={root}",
        "data.image_size=32",
        "patch_size=8",
        "data.batch_size=8",
        "callbacks=[default]",
    ]
    ended = [vitlab("train", *small, "logger=[tensorboard,csv]", f"hydra.run.dir={tmp_path}/run")]
    checkpoint = f"checkpoint={tmp_path}/run/checkpoints/best.ckpt"
    ended += [
        vitlab(
            "predict",
            checkpoint,
            f"images={photo}",
            "top_k=6",
            "explain=rollout",
            f"hydra.run.dir={tmp_path}/said",
        )
    ]
    ended += [vitlab("export", checkpoint, "format=timm", f"hydra.run.dir={tmp_path}/exported")]
    assert [one.status for one in ended] == [0, 0, 0], ended
    texts = {
        path: path.read_text()
        for suffix in ("log", "csv", "md", "html")
        for path in tmp_path.rglob(f"*.{suffix}")
    }
    assert len(texts) == 3 + 2 + 1 + 1  # logs, tables, a card and a page
    for where, text in {**texts, **{number: one.out + one.err for number, one in enumerate(ended)}}.items():
        assert "\x1b" not in text and "\x07" not in text, where
        assert "\nb" not in text or str(where).endswith(".html"), where
    assert not [path for path, text in texts.items() if path.suffix == ".html" and "<img src=x" in text]
    card = next(text for path, text in texts.items() if path.suffix == ".md")
    assert f"`{ODD[0]}`" in card and "`a\\nb`" in card
    with (tmp_path / "said" / "predictions.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert f"'{ODD[1]}" in cells and not [cell for cell in cells if cell.startswith("=")]
