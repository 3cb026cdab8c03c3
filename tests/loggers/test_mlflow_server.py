"""A real MLflow server on this machine: what it hears of runs, and what a training does when it goes away."""

import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import types
from collections import Counter
from typing import ClassVar
from urllib.request import urlopen

import pytest
import pytorch_lightning as pl
from tiny import SHORTLY, TINY_DIGITS

from vitlab.loggers import tracker
from vitlab.loggers.mlflow import MLflow
from vitlab.loggers.run_logger import RunFacts
from vitlab.runs.history import read_history
from vitlab.runs.record import load_record

pytest.importorskip("mlflow")

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")  # MLflow 3.17

SHORT = (
    *TINY_DIGITS,
    "callbacks=default",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=4",
    *SHORTLY,
    "logger=mlflow",
)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """`mlflow server` on a port of its own, with a SQLite file and a folder of artefacts."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/runs.db"]
        command += ["--artifacts-destination", str(self.folder / "artefacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | quiet,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(600):
            try:
                return urlopen(f"{self.uri}/health", timeout=1).close()
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def send(self, number):
        os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()

    def runs(self):
        """Returns MLflow's client and all runs by name."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.uri)
        found = client.search_runs([each.experiment_id for each in client.search_experiments()])
        assert len({run.info.run_name for run in found}) == len(found)
        return client, {run.info.run_name: run for run in found}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.send(signal.SIGKILL)


def told(client, run):
    """Returns how often the server was told each number."""
    names = run.data.metrics
    return Counter(
        (each.step, name) for name in names for each in client.get_metric_history(run.info.run_id, name)
    )


def files(client, run, path=None):
    for each in client.list_artifacts(run.info.run_id, path):
        yield from files(client, run, each.path) if each.is_dir else [each.path]


def pictures(names):
    """Returns how often each step of a picture is there, by the names that `mlflow ui` reads."""
    return Counter(
        name.removeprefix("images/").partition("+timestamp")[0]
        for name in names
        if name.startswith("images/") and name.endswith(".png")
    )


@pytest.mark.slow
def test_a_server_hears_each_step_once_and_how_runs_ended_and_whose_jobs_they_are(
    server, tmp_path, fork_train
):
    asked = [*SHORT, f"logger.mlflow.tracking_uri={server.uri}", "+callbacks.at._target_=starts.At"]
    killed = [*asked, "resume=auto", "logger.mlflow.log_model=true", f"hydra.run.dir={tmp_path}/killed"]
    log = tmp_path / "log"
    for at, status in (("SIGKILL batch_end 1 0", -9), ("SIGKILL batch_end 5 0", -9), ("", 0)):
        assert fork_train(killed, log, at=at) == [status], log.read_text()
    assert fork_train([*asked, f"hydra.run.dir={tmp_path}/cut"], log, at="SIGTERM batch_end 3 0") == [143]
    failing = [*asked, "optimizer.lr=1e30", f"hydra.run.dir={tmp_path}/failing"]
    assert fork_train(failing, log) == [3], log.read_text()
    more = [*asked, f"continue={tmp_path}/killed", "resume=auto", f"hydra.run.dir={tmp_path}/more"]
    assert fork_train(more, log) == [0], log.read_text()
    sweep = [*asked[:-1], "-m", "seed=0,1", "sweep.parallel=2", f"hydra.sweep.dir={tmp_path}/train/seeds"]
    assert fork_train(sweep, log, at=str(tmp_path)) == [0], log.read_text()

    client, runs = server.runs()
    parent = runs["seeds"].info.run_id
    assert {name: run.info.status for name, run in runs.items()} == {
        "killed": "FINISHED",
        "cut": "KILLED",
        "failing": "FAILED",
        "more": "FINISHED",
        "seeds": "FINISHED",
        "seeds/0": "FINISHED",
        "seeds/1": "FINISHED",
    }
    assert {name for name, run in runs.items() if run.data.tags.get("mlflow.parentRunId") == parent} == {
        "seeds/0",
        "seeds/1",
    }
    run = runs["killed"]
    heard = told(client, run)
    assert set(heard) == set(read_history(tmp_path / "killed")) and set(heard.values()) == {1}
    assert run.data.params["optimizer.lr"] and run.data.params["model.depth"] == "1"
    assert run.info.run_id == load_record(tmp_path / "killed")["loggers"]["MLflow"]["run_id"]
    kept = set(files(client, run))
    assert kept >= {"checkpoints/best.ckpt", "config.md", "result.md", "run.md"}
    assert pictures(kept)["test~confusion+step+8"] == 1 and set(pictures(kept).values()) == {1}
    assert runs["more"].data.tags["vitlab.continues.run_id"] == run.info.run_id


class Troubles(pl.Callback):
    """Does something to a server after some of the steps."""

    plan: ClassVar = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for act in self.plan.get(trainer.global_step, ()):
            act()


@pytest.fixture
def train_through(vitlab, monkeypatch):
    """Trains while a server suffers what a plan has for each step; asks it again at once."""
    module = types.ModuleType("troubles")
    module.Troubles = Troubles
    Troubles.__module__ = "troubles"
    monkeypatch.setitem(sys.modules, "troubles", module)
    monkeypatch.setenv("VITLAB_TARGETS", "troubles")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(tracker, "SOON", 0.0)

    def train(plan, *asked):
        monkeypatch.setattr(Troubles, "plan", plan)
        return vitlab("train", *SHORT, "+callbacks.troubles._target_=troubles.Troubles", *asked)

    return train


@pytest.mark.slow
def test_training_goes_on_without_its_server_which_hears_the_rest_when_it_is_back(
    server, tmp_path, train_through, vitlab
):
    plan = {2: [lambda: server.send(signal.SIGSTOP)], 4: [lambda: server.send(signal.SIGKILL)]}
    plan[6] = [server.start]
    ended = train_through(plan, f"logger.mlflow.tracking_uri={server.uri}", f"hydra.run.dir={tmp_path}/away")
    assert ended.status == 0, ended
    (away,) = [line for line in ended.out.splitlines() if "training goes on" in line]
    assert "no answer within 1 s" in away and "from step 1 on" in away and f"{tmp_path}/away/metrics" in away
    assert ended.out.count("is back: it was told what it missed from step 1 on") == 1
    client, runs = server.runs()
    heard = told(client, runs["away"])
    assert set(heard) == set(read_history(tmp_path / "away")) and set(heard.values()) == {1}
    assert runs["away"].info.status == "FINISHED"
    assert pictures(files(client, runs["away"]))["test~confusion+step+8"] == 1

    gone = {3: [lambda: server.send(signal.SIGKILL)]}
    ended = train_through(gone, f"logger.mlflow.tracking_uri={server.uri}", f"hydra.run.dir={tmp_path}/gone")
    assert ended.status == 0, ended
    lines = [line for line in ended.out.splitlines() if server.uri in line and "MLflow: run" not in line]
    assert "no MLflow server answers" in lines[0] and "is still away: it has nothing from step 2" in lines[1]
    assert len(lines) == 2
    server.start()
    assert server.runs()[1]["gone"].info.status == "RUNNING"
    alone = vitlab("train", f"resume={tmp_path}/gone")
    assert alone.status == 0 and "MLflow has not heard all of it: logger.mlflow._target_=" in alone.out
    again = vitlab("train", f"resume={tmp_path}/gone", "logger=mlflow")
    assert "was told what it missed from step 2 on" in again.out
    assert "was told" not in vitlab("train", f"resume={tmp_path}/gone", "logger=mlflow").out
    client, runs = server.runs()
    heard = told(client, runs["gone"])
    assert set(heard) == set(read_history(tmp_path / "gone")) and set(heard.values()) == {1}
    assert runs["gone"].info.status == "FINISHED" and "result.md" in set(files(client, runs["gone"]))


def test_a_server_that_is_away_at_the_start_is_named_before_any_step(vitlab, tmp_path):
    uri = f"http://127.0.0.1:{free_port()}"
    ended = vitlab("train", *SHORT, f"logger.mlflow.tracking_uri={uri}", "hydra.run.dir=run")
    assert ended.status == 2 and ended.err.strip().splitlines()[-1].endswith(
        f"logger.mlflow.tracking_uri={uri}: no MLflow server answers there"
    )
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("uri", "says"),
    {
        "sqlite:///FOLDER": "OperationalError: unable to open database file",
        "sqlite:///FOLDER/file": "DatabaseError: file is not a database",
        "sqlite:///FOLDER/file/below.db": "FileExistsError: .*",
        "sqlite://below.db": "ArgumentError: Invalid SQLite URL: sqlite://below.db Valid SQLite URL forms .*",
        "http://[::1": "ValueError: Invalid IPv6 URL",
        "nosuch+driver://x/y": ".*nosuch.*",
    }.items(),
)
def test_a_store_that_is_none_is_a_line_that_names_it(tmp_path, uri, says):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 20)
    store = MLflow(str(tmp_path / "run"), "name", uri.replace("FOLDER", str(tmp_path)))
    with pytest.raises(ValueError, match=rf"^{re.escape(store.place)}: {says}$"):
        store.begin(RunFacts(tmp_path / "run", 0, {}, {}, {}, {}))


def test_tags_that_are_none_are_refused_and_numbers_are_texts(tmp_path):
    assert MLflow(str(tmp_path), "name", tags={"grant": 17}).tags == {"grant": "17"}
    with pytest.raises(ValueError, match=r"logger.mlflow.tags=.*: names with a text each would work"):
        MLflow(str(tmp_path), "name", tags={"mlflow": {"user": "me"}})


def test_a_number_that_mlflow_refuses_costs_a_line_and_none_of_the_others(tmp_path, caplog):
    run = MLflow(str(tmp_path), "name", f"sqlite:///{tmp_path}/runs.db")
    run.begin(RunFacts(tmp_path, 0, {}, {}, {}, {}))
    for step in (0, 1):
        run.numbers({"val/loss": 0.5, "": 1.0, "x" * 300: 2.0, "größe/ä#1": math.nan, "/up": math.inf}, step)
    run.end("completed")
    found = run.client.get_run(run.run_id)
    assert set(found.data.metrics) == {"val/loss", "größe/ä_1"} and found.info.status == "FINISHED"
    assert len(run.client.get_metric_history(run.run_id, "val/loss")) == 2
    refused = [message.partition(" takes no ")[2][:3] for message in caplog.messages]
    assert [name for name in refused if name] == ["'':", "'xx", "'/u"]
