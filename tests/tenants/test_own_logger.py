"""A user's own logger, from a package outside this repository: one Python file and one YAML."""

import base64
import json
from io import BytesIO

import pytest
from PIL import Image

from vitlab.runs.history import read_history
from vitlab.runs.record import load_record

PACKAGE = '''
"""All that a run tells, as lines of a file of one's own."""

import base64
import json
import os
import uuid
from io import BytesIO
from pathlib import Path

from PIL import Image
from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger

from vitlab import RunLogger
from vitlab.loggers.tell import log_picture


class Diary(RunLogger):
    def __init__(self, run_dir: str):
        super().__init__()
        self.file = Path(run_dir) / "diary.jsonl"
        self.id = None

    def write(self, kind, **facts):
        with self.file.open("a") as file:
            file.write(json.dumps({"id": self.id, "kind": kind, **facts}) + "\\n")

    def resumed(self, identity):
        self.id = identity["id"]

    def begin(self, run):
        self.id = self.id or uuid.uuid4().hex
        if run.step == 0:
            self.write("begin", seed=run.settings.get("seed"), monitor=run.objective["monitor"])

    def identity(self):
        return {"id": self.id}

    def numbers(self, values, step):
        self.write("numbers", values=values, step=step)

    def picture(self, name, content, step):
        self.write("picture", name=name, step=step, content=base64.b64encode(content).decode())

    def text(self, name, markdown):
        self.write("text", name=name, markdown=markdown)

    def end(self, ending):
        self.write("end", ending=ending)

    def state(self):
        return {"bytes": self.file.stat().st_size}

    def go_back(self, step, state):
        os.truncate(self.file, state.get("bytes", 0))


class KnowsLightning(Logger):
    """Knows Lightning alone, and takes its pictures."""

    name, version = "", ""

    def __init__(self, file: str):
        super().__init__()
        self.file = Path(file)

    def log_metrics(self, metrics, step=None):
        with self.file.open("a") as file:
            file.write(f"{step} {' '.join(metrics)}\\n")

    def log_hyperparams(self, params):
        with self.file.open("a") as file:
            file.write(f"optimizer.lr={params['optimizer.lr']}\\n")

    def log_image(self, key, images, step):
        with self.file.open("a") as file:
            file.write(f"{step} {key} {images[0].format}\\n")


class Pictures(Callback):
    """Shows a picture after each step, and fails after one that the environment names."""

    def __init__(self, figures_dir: str):
        self.figures_dir = Path(figures_dir)

    def on_train_batch_end(self, trainer, *_):
        content = BytesIO()
        Image.new("L", (2, 2), trainer.global_step).save(content, "png")
        log_picture(trainer.loggers, self.figures_dir, "own/grey", content.getvalue(), trainer.global_step)
        if trainer.global_step == int(os.environ.get("TENANT_STOP", -1)):
            raise OSError("no power")


class NoLogger(Callback):
    pass


def no_logger():
    return NoLogger()
'''

CONF = """
diary:
  _target_: tenant_logger.Diary
  run_dir: ${run_dir}
"""

SHORT = (
    "logger=diary",
    "data=digits",
    "hardware=cpu",
    "model.depth=1",
    "model.embed_dim=16",
    "model.num_heads=2",
    "callbacks=[default]",
    "callbacks.evaluation=null",
    "+callbacks.own._target_=tenant_logger.Pictures",
    "+callbacks.own.figures_dir=${run_dir}/figures",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=3",
    "trainer.limit_val_batches=1",
    "trainer.log_every_n_steps=1",
    "checkpoint_every_steps=2",
)


@pytest.fixture
def diary(own_package):
    """Returns the options that find the package and choose its logger."""
    return *own_package("tenant_logger", PACKAGE, "logger/diary", CONF), *SHORT


def told(folder):
    return [json.loads(line) for line in (folder / "diary.jsonl").read_text().splitlines()]


def results(entries):
    """What must be the same in a second run: all but ids, folders and speeds."""
    return [
        {
            key: {name: number for name, number in value.items() if "per_second" not in name}
            if key == "values"
            else value
            for key, value in entry.items()
            if key not in ("id", "markdown")
        }
        for entry in entries
    ]


def test_a_logger_of_ones_own_is_told_numbers_pictures_text_and_the_end_each_once_whatever_is_cut(
    vitlab, diary, tmp_path, monkeypatch
):
    ended = vitlab("train", *diary, f"hydra.run.dir={tmp_path}/whole")
    assert ended.status == 0, ended.err
    for stop in (1, 5):  # before the first checkpoint, and after the second
        monkeypatch.setenv("TENANT_STOP", str(stop))
        cut = vitlab("train", *diary, "resume=auto", f"hydra.run.dir={tmp_path}/cut")
        assert cut.status == 1 and told(tmp_path / "cut")[-1]["ending"] == "failed", cut.err
    monkeypatch.delenv("TENANT_STOP")
    ended = vitlab("train", f"resume={tmp_path}/cut")
    assert ended.status == 0 and "from step 4" in ended.out, ended
    entries = told(tmp_path / "whole")
    assert results(told(tmp_path / "cut")) == results(entries)

    kinds = {
        kind: [entry for entry in entries if entry["kind"] == kind] for kind in ("picture", "text", "end")
    }
    assert entries[0] == entries[0] | {"kind": "begin", "seed": 0, "monitor": "val/accuracy"}
    assert entries[-1]["ending"] == "completed" and len(kinds["end"]) == 1
    assert [entry["name"] for entry in kinds["text"]] == ["run", "config", "result"]
    shown = [(entry["name"], entry["step"]) for entry in kinds["picture"]]
    assert shown == [("own/grey", step) for step in range(1, 7)]
    assert all(Image.open(BytesIO(base64.b64decode(e["content"]))).width for e in kinds["picture"])
    numbers = {
        (entry["step"], name): value
        for entry in entries
        if entry["kind"] == "numbers"
        for name, value in entry["values"].items()
    }
    assert numbers == read_history(tmp_path / "whole")
    (own,) = {entry["id"] for entry in told(tmp_path / "cut")}  # it went on with its own run
    assert load_record(tmp_path / "cut")["loggers"] == {"Diary": {"id": own}}


def test_loggers_that_know_lightning_alone_get_what_they_can_take_and_a_line_says_what_not(
    vitlab, diary, tmp_path, monkeypatch
):
    others = (
        "+logger.theirs._target_=tenant_logger.KnowsLightning",
        "+logger.theirs.file=${run_dir}/theirs.txt",
        "+logger.table._target_=pytorch_lightning.loggers.CSVLogger",
        "+logger.table.save_dir=${run_dir}",
    )
    monkeypatch.setenv("TENANT_STOP", "3")
    cut = vitlab("train", *diary, *others, f"hydra.run.dir={tmp_path}/run")
    assert cut.status == 1, cut.err
    (line,) = [line for line in cut.out.splitlines() if "takes numbers alone" in line]
    assert "CSVLogger takes numbers alone, having no log_image: a run's pictures are in " in line
    monkeypatch.delenv("TENANT_STOP")
    ended = vitlab("train", f"resume={tmp_path}/run")
    assert ended.status == 0, ended.err
    for name in ("CSVLogger", "KnowsLightning"):
        assert ended.out.count(f"{name} cannot go back to step 2: ") == 1
    lines = (tmp_path / "run" / "theirs.txt").read_text().splitlines()
    assert lines[0].startswith("optimizer.lr=") and sum("optimizer" in line for line in lines) == 1
    assert lines.count("6 own/grey PNG") == 1
    table = (tmp_path / "run" / "lightning_logs" / "version_0" / "metrics.csv").read_text()
    assert "train/loss" in table.splitlines()[0]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("NoLogger", "is no pytorch_lightning.loggers.Logger; a subclass of that would work"),
        (
            "no_logger",
            "gives a NoLogger; a vitlab.RunLogger or a pytorch_lightning.loggers.Logger would work",
        ),
    ],
)
def test_what_is_no_logger_is_refused_in_a_line(vitlab, diary, name, complaint):
    ended = vitlab("train", *diary, f"+logger.none._target_=tenant_logger.{name}")
    assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended.err
    assert f"logger.none._target_=tenant_logger.{name} {complaint}" in ended.err
