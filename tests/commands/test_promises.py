"""What is promised of a run holds for several labels and for numbers as for one label: two processes measure
as one, and it is reproduced, continued, swept and looked into. test_resume.py kills such runs."""

import json
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vitlab.dashboard.tags import Tags
from vitlab.runs.record import load_record

SMALL = ["hardware=cpu", "model.depth=1", "model.embed_dim=16", "model.num_heads=2", "trainer.max_epochs=2"]
SMALL += ["schedule.warmup_epochs=0.5", "trainer.log_every_n_steps=1"]
SMALL += ["callbacks.attention.num_shown=2", "callbacks.attention.num_scored=4"]
LABELS = ["data=planted_labels", "objective=multilabel", "objective.positive_weights=auto"]
LABELS += ["data.source.num_images=200", "data.num_classes=4", "augment.mixup=0.2", "augment.cutmix=1.0"]


class Whole(NamedTuple):
    """A finished run, what it was asked for but its batch size, and that."""

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


def test_a_new_run_takes_over_where_it_ended(whole, vitlab, tmp_path):
    ended = vitlab("train", f"continue={whole.folder}", "trainer.max_epochs=3", "hydra.run.dir=longer")
    assert ended.status == 0, ended.err
    record, before = load_record(tmp_path / "longer"), load_record(whole.folder)
    assert record["parent"]["changes"] == ["trainer.max_epochs was 2, is 3"]
    assert 2 * record["steps"] == 3 * before["steps"]
    assert record["metrics"].keys() == before["metrics"].keys()


def test_a_sweep_ranks_its_jobs_by_what_is_monitored(whole, vitlab, tmp_path):
    command = ["train", "-m", *whole.options, "seed=0,1", "sweep.name=seeds"]
    planned = vitlab(*command, "sweep.print_commands=true")
    assert planned.status == 0, planned.err
    folder = tmp_path / "outputs" / "train" / "seeds"
    facts = json.loads((folder / "sweep.json").read_text())
    best = f"best/val/{whole.metric}"
    assert (facts["metric"], facts["direction"]) == (best, "maximize")
    record = load_record(whole.folder)
    for number, better in ((0, 0.0), (1, 0.25)):
        metrics = record["metrics"] | {best: record["metrics"][best] + better}
        (folder / str(number)).mkdir()
        (folder / str(number) / "run.json").write_text(json.dumps(record | {"metrics": metrics}))
    ended = vitlab(*command)
    assert ended.status == 0 and "starts" not in ended.out, ended
    header, _, *rows = ended.out[ended.out.index("\njob ") :].strip().splitlines()
    assert header.split()[:4] == ["job", "seed", "status", best]
    assert [row.split()[3] for row in rows[:2]] == [
        f"{record['metrics'][best] + each:.4f}" for each in (0, 0.25)
    ]


def test_attention_pictures_follow_it_from_before_training_to_the_end(whole):
    dashboard = EventAccumulator(str(whole.folder), size_guidance={"images": 0}).Reload()
    probe = whole.folder / "figures" / "probe_images.json"
    if whole.metric == "r2":  # numbers have no class to ask for
        assert (
            "no attention pictures: a picture of what speaks for a class"
            in (whole.folder.parent / "log").read_text()
        )
        assert not probe.exists()
        return
    assert all(any(labels) for labels in json.loads(probe.read_text())["labels"])
    end = load_record(whole.folder)["steps"]
    for name in ("attention/overview", "attention/heads", "attention/layers_x_heads", "features/pca"):
        frames = dashboard.Images(Tags().of_picture(name))
        assert [frame.step for frame in frames] == [0, end // 2, end], name
        figure = whole.folder / "figures" / f"{name.replace('/', '_')}.png"
        assert figure.read_bytes() == frames[-1].encoded_image_string
        shades = {
            Image.open(BytesIO(frame.encoded_image_string)).convert("RGB").tobytes() for frame in frames
        }
        assert len(shades) == 3, name  # the model has learned something meanwhile
