"""Trackers that can take nothing back: whatever is killed, each hears every step once, in one run of its
own."""

import json
from collections import Counter
from io import BytesIO
from typing import ClassVar

import pytest
from PIL import Image
from tiny import SHORTLY, TINY_DIGITS

from vitlab.config.from_record import config_from_record, told_to_nobody
from vitlab.loggers.run_logger import RunFacts
from vitlab.loggers.tracker import Away, Tracker, require
from vitlab.loggers.wandb_files import records_of, rows_of
from vitlab.runs.history import read_history
from vitlab.runs.record import load_record

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow 3.17

STEP = "trainer/global_step"

SHORT = (
    *TINY_DIGITS,
    "callbacks=default",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=3",
    *SHORTLY,
)

KILLED = ("+callbacks.at._target_=starts.At", "resume=auto")


class Server(Tracker):
    """A tracker whose server is a list that outlives the run, and may be away."""

    is_away = False

    def __init__(self, run_dir, server):
        super().__init__(run_dir)
        self.server = server

    def open(self, run):
        self.reach()
        self.server.append(("open", self.id))

    def reach(self):
        if self.is_away:
            raise Away("nobody there")

    def last_steps(self):
        self.reach()
        rows = [row for row in self.server if row[0] != "open"]
        return {name: max(step for step, values in rows if name in values) for _, row in rows for name in row}

    def write(self, values, step):
        self.reach()
        self.server.append((step, dict(values)))

    def show(self, name, content, step):
        self.reach()
        self.server.append((step, {name: content}))

    def close(self, ending):
        self.reach()
        self.server.append(("end", {ending: 0}))


def test_what_a_tracker_has_is_not_told_twice_and_what_it_lost_is_told_from_the_history(tmp_path):
    facts = RunFacts(tmp_path, 0, {}, {}, {}, {})
    server = []
    first = Server(str(tmp_path), server)
    known = first.identity()  # written down before the server hears of the run
    first.begin(facts)
    rows = [{"step": step, "train/loss": 1 / (step + 1)} for step in range(6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:4]))
    for step in range(2):  # 2 and 3 are in the history alone: the server was killed before it had them
        first.numbers({"train/loss": 1 / (step + 1)}, step)
    first.picture("test/seen", b"a picture", 1)

    second = Server(str(tmp_path), server)
    second.resumed(known)
    second.go_back(1, {})
    second.begin(facts._replace(step=1))
    second.picture("test/seen", b"a picture", 1)
    for step in range(1, 6):
        second.numbers({"train/loss": 1 / (step + 1)}, step)
    assert [row for row in server if row[0] == "open"] == [("open", known["id"])] * 2
    told = Counter((step, *values) for step, values in server if step != "open")
    assert told == Counter([*((step, "train/loss") for step in range(6)), (1, "test/seen")])


def test_a_tracker_that_is_away_hears_all_of_it_later_and_is_not_asked_at_each_step(
    tmp_path, caplog, monkeypatch
):
    facts = RunFacts(tmp_path, 0, {}, {}, {}, {})
    caplog.set_level("INFO")
    tracker = Server(str(tmp_path), server := [])
    tracker.begin(facts)
    asked = []
    monkeypatch.setattr(tracker, "reach", lambda: [asked.append(tracker.step), Server.reach(tracker)])
    for step in range(100, 260):
        tracker.is_away = 110 <= step < 250
        tracker.ask_at -= 1.0  # a second has gone by
        tracker.numbers({"train/loss": 1 / step}, step)
        tracker.picture(f"seen/{step}", b"a picture", step)
        with (tmp_path / "metrics.jsonl").open("a") as history:
            history.write(json.dumps({"step": step, "train/loss": 1 / step}) + "\n")
    tracker.end("completed")
    assert [step for step in asked if 110 <= step < 250] == [110, 140, 200]  # 30 s later, then 60, 120
    losses = [(step, values["train/loss"]) for step, values in server if "train/loss" in values]
    assert losses == [(step, 1 / step) for step in range(100, 260)]
    assert server[-1] == ("end", {"completed": 0})
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "nobody there; training goes on, and what is missing there from step 110 on is told when it is back:"
        f" numbers are in {tmp_path}/metrics.jsonl, pictures in figures/",
        "it was told what it missed from step 110 on, but for 50 pictures and pages",
    ]

    monkeypatch.setattr(Server, "is_away", True)
    with pytest.raises(ValueError, match=r"^Server: nobody there$"):
        Server(str(tmp_path), []).begin(facts)
    again = Server(str(tmp_path), server)  # one that goes on does so without its tracker
    again.resumed(tracker.identity())
    again.begin(facts._replace(step=259))
    again.end("completed")
    assert "is still away: it has nothing from step 259 on, nor that the run completed" in caplog.messages[-1]


class Town(Server):
    """One list for all of its runs."""

    heard: ClassVar[list] = []

    def __init__(self, run_dir):
        super().__init__(run_dir, self.heard)

    def page(self, name, markdown):
        self.reach()
        self.server.append((name, {}))


def test_what_a_tracker_missed_until_the_end_of_a_run_the_run_tells_later_and_once(
    vitlab, tmp_path, monkeypatch
):
    monkeypatch.setenv("VITLAB_TARGETS", __name__)
    asked = (*SHORT, f"+logger.town._target_={__name__}.Town", "+logger.town.run_dir=${run_dir}")
    asked += ("hydra.run.dir=run", "resume=auto")

    def missing():
        return {name: each.get("missing_from") for name, each in load_record(run)["loggers"].items()}

    run, opened = tmp_path / "run", Server.open
    monkeypatch.setattr(Server, "open", lambda town, facts: [opened(town, facts), away()])

    def away(is_away=True):
        monkeypatch.setattr(Server, "is_away", is_away)

    ended = vitlab("train", *asked)
    assert ended.status == 0 and missing() == {"Town": 0} and Town.heard[1:] == []
    assert f"later `vitlab train resume={run} logger=...`" in ended.out
    monkeypatch.setattr(Server, "open", opened)
    again = vitlab("train", *asked)
    assert "is complete" in again.out and "Town: nobody there; it has nothing from step 0 on" in again.out
    assert again.status == 0 and missing() == {"Town": 0} and Town.heard[1:] == []
    away(False)
    again = vitlab("train", *asked)
    assert "Town was told what it missed from step 0 on" in again.out and missing() == {"Town": None}
    assert Town.heard[-2:] == [("result", {}), ("end", {"completed": 0})]
    told = Counter((step, name) for step, values in Town.heard[2:-2] for name in values)
    assert set(told) == set(read_history(run)) and set(told.values()) == {1}
    count = len(Town.heard)
    assert "was told" not in vitlab("train", *asked).out and len(Town.heard) == count


def test_what_wandb_keeps_of_a_run_is_read_back_from_its_files(tmp_path):
    wandb = pytest.importorskip("wandb")
    from vitlab.loggers.wandb import Wandb

    content = BytesIO()
    Image.new("L", (4, 4)).save(content, "png")
    before = tmp_path / "before"
    before.mkdir()
    (before / "run.json").write_text(
        json.dumps({"status": "completed", "loggers": {"Wandb": {"id": "0a1b"}}})
    )
    facts = RunFacts(tmp_path, 0, {"seed": 0}, {}, {}, {}, "rates", str(before))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "val/loss": 2.5}\n{"step": 7, "val/loss": 0.5}\n')
    known = {}
    for step in (0, 7):  # the second start hears of step 7 from the history, and of nothing twice
        run = Wandb(str(tmp_path), "project", mode="offline", log_model=step == 7)
        if known:
            run.resumed(known)
        known = run.identity()
        run.begin(facts._replace(step=step))
        run.numbers({"val/loss": 2.5}, 0)
        run.picture("test/seen", content.getvalue(), 0)
        run.end("completed")
    wandb.teardown()  # its core writes for some moments more
    rows = [row for file in sorted(tmp_path.glob("wandb/*run-*/*.wandb")) for row in rows_of(file)]
    assert [(row["_step"], row[STEP], row.get("val/loss")) for row in rows] == [
        (0, 0, 2.5),
        (1, 0, None),
        (2, 7, 0.5),
    ]
    assert rows[1]["test/seen"]["_type"] == "image-file"
    files = sorted(tmp_path.glob("wandb/*run-*/*.wandb"))
    assert {file.name for file in files} == {f"run-{known['id']}.wandb"}
    records = [record for file in files for record in records_of(file)]
    assert {record.run.run_group for record in records if record.HasField("run")} == {"rates"}
    assert {record.run.run_id for record in records if record.HasField("run")} == {known["id"]}
    said = [item.value_json for record in records for item in record.config.update]
    assert {"folder": str(before), "id": "0a1b"} in map(json.loads, said)
    (artifact,) = [record.artifact for record in records if record.HasField("artifact")]
    # the run's own file, and no copy in the home directory
    assert [item.local_path for item in artifact.manifest.contents] == [f"{tmp_path}/checkpoints/best.ckpt"]
    assert artifact.name == f"best-{known['id']}" and "best" in artifact.aliases


def test_wandb_says_what_becomes_of_a_run_and_refuses_a_wrong_tag_in_a_line(tmp_path, caplog):
    pytest.importorskip("wandb")
    from vitlab.loggers.wandb import Wandb

    caplog.set_level("INFO")
    facts = RunFacts(tmp_path, 0, {"seed": 0}, {}, {}, {})
    Wandb(str(tmp_path), "project", mode="disabled").begin(facts)
    assert caplog.messages == ["W&B: disabled: nothing is kept, nothing is sent"]
    with pytest.raises(ValueError, match=r"^logger=wandb: .*Tag at index 0 is empty"):
        Wandb(str(tmp_path), "project", mode="offline", tags=[""]).begin(facts)


@pytest.mark.slow
def test_a_run_in_wandb_is_one_series_in_its_files_however_often_it_is_cut(tmp_path, fork_train):
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    asked = [*SHORT, *KILLED, "logger=wandb", "logger.wandb.mode=offline", f"hydra.run.dir={run}"]
    for at, status in (("SIGKILL batch_end 3 0", -9), ("", 0)):
        assert fork_train(asked, log := tmp_path / "log", at=at) == [status], log.read_text()
    assert "W&B: kept in" in log.read_text()
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert {file.name for file in files} == {f"run-{load_record(run)['loggers']['Wandb']['id']}.wandb"}
    rows = [row for file in files for row in rows_of(file)]
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    told = Counter((row[STEP], name) for row in rows for name in row if name[0] != "_" and name != STEP)
    assert set(told.values()) == {1}
    pictures = {name for row in rows for name, value in row.items() if isinstance(value, dict)}
    assert "test/confusion" in pictures
    assert {key for key in told if key[1] not in pictures} == set(read_history(run))
    assert len(files) == 2


def runs_in_mlflow(file):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{file}")
    (experiment,) = [each for each in client.search_experiments() if each.name != "Default"]
    return client, client.search_runs([experiment.experiment_id])


@pytest.mark.slow
def test_a_run_killed_several_times_is_one_run_with_each_step_once_in_both(tmp_path, fork_train):
    pytest.importorskip("mlflow")
    run, file = tmp_path / "run", tmp_path / "mlflow.db"
    asked = [*SHORT, *KILLED, "logger=[tensorboard,wandb,mlflow]", "logger.wandb.mode=offline"]
    asked += [f"logger.mlflow.tracking_uri=sqlite:///{file}", "logger.mlflow.log_model=true"]
    asked += [f"hydra.run.dir={run}"]
    for step in (1, 2, 3, 5, 6):
        kill = f"SIGKILL batch_end {step} 0"
        assert fork_train(asked, log := tmp_path / "log", at=kill) == [-9], log.read_text()
    assert fork_train(asked, log) == [0], log.read_text()
    history = set(read_history(run))
    client, runs = runs_in_mlflow(file)
    (found,) = runs
    assert found.info.status == "FINISHED" and found.data.params["optimizer.lr"]
    assert found.info.run_id == load_record(run)["loggers"]["MLflow"]["run_id"]
    told = Counter(
        (each.step, name)
        for name in found.data.metrics
        for each in client.get_metric_history(found.info.run_id, name)
    )
    assert set(told) == history and set(told.values()) == {1}
    kept = {each.path for each in client.list_artifacts(found.info.run_id)}
    assert kept >= {"checkpoints", "config.md", "images", "result.md", "run.md"}
    rows = [row for each in sorted(run.glob("wandb/*run-*/*.wandb")) for row in rows_of(each)]
    told = Counter((row[STEP], name) for row in rows for name in row if name in {key for _, key in history})
    assert set(told) == history and set(told.values()) == {1}


@pytest.mark.slow
def test_jobs_of_a_sweep_share_a_file_a_parent_and_a_tag(tmp_path, fork_train):
    pytest.importorskip("mlflow")
    file = tmp_path / "mlflow.db"
    asked = [*SHORT, "logger=mlflow"]
    asked += [f"logger.mlflow.tracking_uri=sqlite:///{file}", "-m", "seed=0,1", "sweep.parallel=2"]
    asked += [f"hydra.sweep.dir={tmp_path}/outputs/train/seeds"]
    assert fork_train(asked, tmp_path / "log", at=str(tmp_path)) == [0], (tmp_path / "log").read_text()
    _, runs = runs_in_mlflow(file)
    named = {run.info.run_name: run for run in runs}
    parent = named.pop("seeds").info.run_id
    assert sorted(named) == ["seeds/0", "seeds/1"]
    assert {run.data.tags["mlflow.parentRunId"] for run in named.values()} == {parent}
    assert {run.data.tags["sweep"] for run in named.values()} == {"seeds"}
    assert {run.data.params["seed"] for run in named.values()} == {"0", "1"}


def test_a_missing_package_is_named_with_what_installs_it():
    with pytest.raises(ValueError, match=r"logger=notthere needs notthere: pip install 'vitlab\[notthere\]'"):
        require("notthere")


@pytest.fixture
def record(trained_in, tmp_path):
    return load_record(trained_in(tmp_path, *SHORT))


def test_a_record_alone_sends_nothing(record, tmp_path):
    wandb = {"_target_": "vitlab.loggers.wandb.Wandb", "run_dir": record["config"]["run_dir"], "project": "p"}
    mlflow = {"_target_": "vitlab.loggers.mlflow.MLflow", "run_dir": record["config"]["run_dir"],
              "experiment": "e"}  # fmt: skip
    for node, may in (
        (wandb, False),
        (wandb | {"mode": "online"}, False),
        (wandb | {"mode": "offline"}, True),
        (mlflow, True),
        (mlflow | {"tracking_uri": "http://elsewhere"}, False),
        (mlflow | {"tracking_uri": "sqlite:////home/someone/.mozilla/cookies.sqlite"}, False),
    ):
        record["config"]["logger"] = {"there": node}
        asked = (tmp_path / "run.json", tmp_path / "new")
        if may:
            assert config_from_record(record, *asked)["logger"]["there"]["_target_"] == node["_target_"]
        else:
            with pytest.raises(ValueError, match=r"logger\.there\._target_=.* would send what the run logs"):
                config_from_record(record, *asked)
            assert config_from_record(told_to_nobody(record), *asked)["logger"] == {}
            assert config_from_record(record, *asked, allowed={node["_target_"]})["logger"]
