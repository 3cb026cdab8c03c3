"""What is promised of a run holds for several labels and for numbers as for one label: two processes measure
as one, and it is reproduced, continued and swept. test_resume.py kills such runs, test_multilabel.py looks at
their pictures."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from vitlab.runs.record import load_record

SMALL = ["hardware=cpu", "model.depth=1", "model.embed_dim=16", "model.num_heads=2", "trainer.max_epochs=2"]
SMALL += ["schedule.warmup_epochs=0.5", "trainer.log_every_n_steps=1", "callbacks=[default]"]
SMALL += ["callbacks.evaluation=null"]
LABELS = ["data=planted_labels", "objective=multilabel", "objective.positive_weights=auto"]
LABELS += ["data.source.num_images=200", "data.num_classes=4", "data.val_fraction=0.2"]


class Whole(NamedTuple):
    """A finished run, what it was asked for but its batch size, that, and what it monitors."""

    folder: Path
    options: list[str]
    batch: int
    metric: str


@pytest.fixture(scope="module", params=["labels", "numbers"])
def whole(request, fork_train, numbers_in_a_table, tmp_path_factory):
    several = request.param == "labels"
    metric, batch = ("f1_macro", 48) if several else ("r2", 8)
    options = [*SMALL, *(LABELS if several else numbers_in_a_table), f"monitor=val/{metric}"]
    folder = tmp_path_factory.mktemp(request.param) / "run"
    given = [*options, f"data.batch_size={batch}", f"hydra.run.dir={folder}"]
    log = folder.with_name("log")
    assert fork_train(given, log) == [0], log.read_text()
    return Whole(folder, options, batch, metric)


def learned(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["vitlab"]["learned"]


def test_two_processes_measure_as_one_does(whole, fork_train, tmp_path):
    given = [*whole.options, f"data.batch_size={whole.batch // 2}"]
    given += ["trainer.devices=2", "trainer.strategy=ddp", f"hydra.run.dir={tmp_path / 'shared'}"]
    assert fork_train(given, tmp_path / "log", processes=2) == [0, 0], (tmp_path / "log").read_text()
    expected, told = (load_record(each)["metrics"] for each in (whole.folder, tmp_path / "shared"))
    assert set(told) == set(expected) and f"test/{whole.metric}" in told
    for name in set(expected) - {"train/images_per_second"}:
        assert told[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name
    for name, value in learned(whole.folder).items():
        torch.testing.assert_close(learned(tmp_path / "shared")[name], value, rtol=1e-4, atol=1e-4, msg=name)


def test_it_is_reproduced(whole, vitlab):
    again = vitlab("reproduce", str(whole.folder), "run_dir=again")
    assert again.status == 0 and "identical: weights and" in again.out, again


def test_a_new_run_takes_over_where_it_ended(whole, fork_train, tmp_path):
    given = [f"continue={whole.folder}", "trainer.max_epochs=3", f"hydra.run.dir={tmp_path / 'longer'}"]
    assert fork_train(given, tmp_path / "log") == [0], (tmp_path / "log").read_text()
    record, before = load_record(tmp_path / "longer"), load_record(whole.folder)
    assert record["parent"]["changes"] == ["trainer.max_epochs was 2, is 3"]
    assert 2 * record["steps"] == 3 * before["steps"]
    assert record["metrics"].keys() == before["metrics"].keys()


def test_a_sweep_ranks_its_jobs_by_what_is_monitored(whole, vitlab, tmp_path):
    command = ["train", "-m", *whole.options, "seed=0,1", "sweep.name=seeds"]
    planned = vitlab(*command, "sweep.print_commands=true")
    assert planned.status == 0, planned.err
    folder, best = tmp_path / "outputs" / "train" / "seeds", f"best/val/{whole.metric}"
    facts = json.loads((folder / "sweep.json").read_text())
    assert (facts["metric"], facts["direction"]) == (best, "maximize")
    record = load_record(whole.folder)
    values = [record["metrics"][best] + more for more in (0, 0.25)]
    for number, value in enumerate(values):  # as its jobs would leave them
        (folder / str(number)).mkdir()
        told = record | {"metrics": record["metrics"] | {best: value}}
        (folder / str(number) / "run.json").write_text(json.dumps(told))
    ended = vitlab(*command)
    assert ended.status == 0 and "starts" not in ended.out, ended
    header, _, *rows = ended.out[ended.out.index("\njob ") :].strip().splitlines()
    assert header.split()[:4] == ["job", "seed", "status", best]
    assert [row.split()[3] for row in rows[:2]] == [f"{value:.4f}" for value in values]
