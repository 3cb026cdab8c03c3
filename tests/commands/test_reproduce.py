"""A run is run again from its record alone: identical, or the first value that is not, and what else is not
as it was."""

import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitlab.checkpoint.fingerprint import fingerprint

FAST = [
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=3",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "model.depth=1",
    "model.embed_dim=16",
    "model.num_heads=2",
]
FAST += [
    "schedule.warmup_epochs=0",
    "trainer.log_every_n_steps=2",
    "hardware=cpu",
    "callbacks.evaluation=null",
]
PLAIN = "callbacks=[default]"
RANDOM = [
    "callbacks=[default,ema]",
    "model.drop_path_rate=0.2",
    "model.proj_drop_rate=0.1",
    "augment.crop_padding=1",
]


@pytest.fixture(scope="module")
def original(tmp_path_factory, trained_in):
    """A finished run with all that is random in it."""
    return trained_in(tmp_path_factory.mktemp("original"), *FAST, *RANDOM)


@pytest.fixture
def finished(original, tmp_path):
    """A copy of it, for the tests that change its record."""
    return Path(shutil.copytree(original, tmp_path / "finished"))


def record(folder):
    return json.loads((folder / "run.json").read_text())


def change(folder, **values):
    """Sets values by dotted key (with __ for the dot) in a record."""
    facts = record(folder)
    for key, value in values.items():
        *path, last = key.split("__")
        node = facts
        for part in path:
            node = node[part]
        node[last] = value
    (folder / "run.json").write_text(json.dumps(facts))


def history(folder):
    """Returns every logged value but the speed by step and name, as written."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        (row["step"], name): value
        for row in rows
        for name, value in row.items()
        if name not in ("step", "train/images_per_second")
    }


def content(folder):
    return {
        file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()
    }


def test_a_finished_run_comes_out_identical_in_a_new_folder_and_the_old_one_is_untouched(
    vitlab, original, tmp_path
):
    before = content(original)
    ended = vitlab("reproduce", str(original), f"run_dir={tmp_path}/again")
    assert ended.status == 0, ended.err
    assert content(original) == before
    again = tmp_path / "again"
    assert f"identical: weights and {len(history(original))} logged values" in ended.out
    assert history(again) == history(original) and len(history(original)) > 10
    weights = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (original, again)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert str(original) not in json.dumps(record(again)["config"])
    assert record(again)["reproduces"] == str(original)
    assert record(again)["overrides"] == record(original)["overrides"]
    assert record(again)["hashes"] == record(original)["hashes"]
    best = torch.load(again / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    tested = {name.removeprefix("model."): value for name, value in best.items() if name.startswith("model.")}
    assert record(again)["hashes"]["tested"] == fingerprint(tested)
    durations = record(again)["durations"]
    assert (
        set(durations) == {"setup", "fit", "test"}
        and sum(durations.values()) <= record(again)["seconds"] + 0.1
    )


@pytest.mark.parametrize(
    "changes",
    [{"config__optimizer__lr": 2e-3}, {"seed": 1, "config__seed": 1, "config__datamodule__seed": 1}],
    ids=["learning rate", "seed"],
)
def test_the_first_value_that_differs_is_named_with_its_step(vitlab, finished, tmp_path, changes):
    change(finished, **changes)
    ended = vitlab("reproduce", str(finished), f"run_dir={tmp_path}/again")
    assert ended.status == 1
    old, new = history(finished), history(tmp_path / "again")
    step, name = min((key for key in old if old[key] != new[key]), key=lambda key: key[0])
    assert (
        f"different: step {step}: {name} was {old[step, name]!r}, is {new[step, name]!r}; the weights at"
        " the end" in ended.out
    )


def test_recorded_facts_that_differ_are_said_before_training(vitlab, finished, tmp_path):
    change(
        finished,
        packages__torch="1.0",
        hardware__processor="abacus",
        git={"commit": "f00", "diff": ""},
        python="2.7",
    )
    ended = vitlab("reproduce", str(finished), f"run_dir={tmp_path}/again")
    assert ended.status == 0, ended.err
    said, _, trained = ended.out.partition("epoch 2/2")
    assert trained
    for fact in (
        "packages.torch was 1.0, is ",
        "hardware.processor was abacus, is ",
        "git.commit was f00, is ",
        "python was 2.7, is ",
    ):
        assert fact in said


def test_the_recorded_number_of_threads_is_used_again(vitlab, finished, tmp_path):
    threads = torch.get_num_threads()
    change(finished, hardware__torch_threads=threads + 1)
    vitlab("reproduce", str(finished), f"run_dir={tmp_path}/again")
    assert record(tmp_path / "again")["hardware"]["torch_threads"] == threads + 1
    assert torch.get_num_threads() == threads


def test_moved_data_is_found_and_changed_data_is_said_before_training(
    vitlab, trained_in, photo_folder, tmp_path, monkeypatch
):
    root = photo_folder(count=8)
    run = trained_in(
        tmp_path,
        *FAST,
        PLAIN,
        "data=folder",
        "data.root=photos",
        "data.image_size=32",
        "patch_size=8",
        "data.batch_size=4",
    )
    (tmp_path / "abroad").mkdir()
    monkeypatch.chdir(tmp_path / "abroad")
    same = vitlab("reproduce", str(run))  # the relative data.root leads where it led
    assert same.status == 0, same.err
    assert [path.name for path in tmp_path.glob("abroad/outputs/reproduce/*/run.json")] == ["run.json"]
    moved = root.rename(tmp_path / "elsewhere")
    lost = vitlab("reproduce", str(run), f"run_dir={tmp_path}/lost")
    assert lost.status == 2 and "photos" in lost.err and len(lost.err.strip().splitlines()) == 1
    assert not (tmp_path / "lost").exists()

    Image.fromarray(np.full((32, 32, 3), 7, dtype=np.uint8)).save(moved / "ash" / "0.png")
    ended = vitlab("reproduce", str(run), f"run_dir={tmp_path}/changed", "data.root=../elsewhere")
    assert ended.status == 1
    said, _, trained = ended.out.partition("epoch 2/2")
    assert "data.fingerprint was " in said and "the data is not the data of the run" in said
    assert "different: step " in trained


def test_a_failure_is_to_happen_again(vitlab, trained_in, tmp_path):
    with pytest.raises(SystemExit):
        trained_in(
            tmp_path, *FAST, PLAIN, "optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null"
        )
    run = tmp_path / "run"
    reason = record(run)["reason"]
    ended = vitlab("reproduce", str(run), f"run_dir={tmp_path}/again")
    assert ended.status == 0, ended.err
    assert "identical: it failed as before" in ended.out
    assert record(tmp_path / "again")["reason"] == reason
    change(run, config__optimizer__lr=1e-6)
    ended = vitlab("reproduce", str(run), f"run_dir={tmp_path}/sane")
    assert ended.status == 1
    assert f"the run failed ({reason}); this one completed" in ended.out


def kill_once_saved(run):
    """Kills the process that trains into this folder as soon as there are a checkpoint and a history."""
    deadline = time.monotonic() + 300  # the forks' parent may have to import torch before
    while not (run / "checkpoints" / "last.ckpt").exists() or not (run / "metrics.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(record(run)["process"], signal.SIGKILL)


def test_a_killed_run_is_compared_as_far_as_it_went_and_as_a_whole_once_it_was_resumed(
    vitlab, fork_train, tmp_path
):
    run = tmp_path / "killed"
    more = ["trainer.max_epochs=6", "checkpoint_every_steps=2", f"hydra.run.dir={run}"]
    with ThreadPoolExecutor(1) as aside:
        killing = aside.submit(kill_once_saved, run)
        assert fork_train([*FAST[1:], *RANDOM[:1], *more], tmp_path / "log") == [-signal.SIGKILL]
        killing.result()
    assert record(run)["status"] == "running"
    assert " interrupted " in vitlab("list", "killed").out
    ended = vitlab("reproduce", str(run), f"run_dir={tmp_path}/as_far")
    assert ended.status == 0, ended.out
    assert (
        f"identical as far as the run went before it was interrupted: {len(history(run))} logged values"
        in ended.out
    )
    assert len(history(run)) < len(history(tmp_path / "as_far"))

    assert vitlab("train", f"resume={run}").status == 0
    assert record(run)["hashes"] == record(tmp_path / "as_far")["hashes"]


STRANGE = {
    "no config": ({"config": None}, "it is no run's record"),
    "a test's record": ({"config": {"checkpoint": "x", "trainer": {}}}, "config.model is not what"),
    "foreign target": ({"config__model___target_": "os.system"}, "model._target_=os.system is not allowed"),
    "hidden target": ({"config__model__patch_embed": "${oc.create:{}}"}, "is not resolved"),
    "wrong kind": (
        {"config__model": {"_target_": "vitlab.callbacks.speed.Speed"}},
        "gives a Speed; a torch.nn.Module would work",
    ),
    "wrong value": ({"config__optimizer__lr": "high"}, "optimizer.lr=high is of the wrong kind"),
    "path elsewhere": (
        {"config__callbacks__best__dirpath": "/tmp"},
        "callbacks.best.dirpath=/tmp lies outside",
    ),
    "path upwards": (
        {"config__callbacks__best__filename": "../best"},
        "callbacks.best.filename=../best lies outside",
    ),
    "no folder": ({"config__run_dir": "/"}, "config.run_dir is not what"),
    "other history": ({"hashes__history": "0"}, "metrics.jsonl is not what the run logged"),
    "recorded before hashes were": ({"hashes": None}, "hashes is not what"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_damaged_or_strange_record_is_refused_in_one_line(vitlab, finished, tmp_path, name):
    changes, says = STRANGE[name]
    change(finished, **changes)
    ended = vitlab("reproduce", str(finished), f"run_dir={tmp_path}/again")
    assert ended.status == 2 and says in ended.err, ended
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "name", ["foreign target", "hidden target", "wrong value", "path elsewhere", "path upwards", "no folder"]
)
def test_a_run_goes_on_from_no_record_that_could_not_be_run_again(vitlab, finished, name):
    changes, says = STRANGE[name]
    change(finished, status="interrupted", **changes)
    before = sorted(finished.rglob("*"))
    ended = vitlab("train", f"resume={finished}")
    assert ended.status == 2 and says in ended.err, ended
    assert len(ended.err.strip().splitlines()) == 1
    assert sorted(finished.rglob("*")) == before


def test_a_link_that_leads_out_of_a_runs_folder_is_not_written_through(vitlab, finished, tmp_path):
    change(finished, status="interrupted")
    (tmp_path / "theirs").write_text("kept")
    (finished / "config.yaml").unlink()
    (finished / "config.yaml").symlink_to(tmp_path / "theirs")
    for arguments in ([f"resume={finished}"], [f"hydra.run.dir={finished}", "resume=auto"]):
        ended = vitlab("train", *arguments)
        assert ended.status == 2 and "config.yaml leads out of its folder" in ended.err, ended
    (finished / "report").symlink_to(tmp_path)
    assert "the report would be written there" in vitlab("report", str(finished)).err
    assert (tmp_path / "theirs").read_text() == "kept" and not (tmp_path / "report.md").exists()


def test_a_place_outside_that_the_same_command_names_again_may_be_written_to(vitlab, tmp_path):
    command = [
        *FAST,
        PLAIN,
        "+logger.table._target_=vitlab.loggers.csv_table.Table",
        f"+logger.table.run_dir={tmp_path}/tables",
    ]
    command = ["train", *command, f"hydra.run.dir={tmp_path}/run", "resume=auto"]
    assert vitlab(*command).status == 0
    change(tmp_path / "run", status="interrupted")
    refused = vitlab("train", f"resume={tmp_path}/run")
    assert refused.status == 2 and "the same command with resume=auto may go on" in refused.err
    ended = vitlab(*command)
    assert ended.status == 0, ended.err


def test_what_cannot_be_run_again_is_said_in_one_line(vitlab, finished, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "run.json").write_bytes((finished / "run.json").read_bytes()[:-100])
    cases = [
        (["empty"], "run.json cannot be read"),
        (["cut"], "run.json cannot be read"),
        ([str(finished), "optimizer.lr=1"], "optimizer.lr=1 is not for `vitlab reproduce`"),
        ([str(finished), f"run_dir={finished}/again"], "lies in the run that is to be reproduced"),
        ([str(finished), f"run_dir={tmp_path}"], "is not empty"),
        ([str(finished), "data.root=x"], "this run's data has no folder"),
    ]
    for arguments, says in cases:
        ended = vitlab("reproduce", *arguments)
        assert ended.status == 2 and says in ended.err, ended
        assert len(ended.err.strip().splitlines()) == 1
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    change(finished, status="running", process=os.getpid(), process_began=f"{boot} {fields[19]}")
    ended = vitlab("reproduce", str(finished))
    assert ended.status == 2 and f"is still running (process {os.getpid()} on " in ended.err
