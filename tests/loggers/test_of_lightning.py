"""A logger that knows Lightning alone is told all that it can take, and no failure of its server ends a
training."""

import json
from io import BytesIO

import pytest
from PIL import Image
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from vitlab.construct import allow_from_environment
from vitlab.loggers.run_logger import RunFacts
from vitlab.loggers.tell import go_back, run_loggers
from vitlab.training.trainer import build_loggers


class Numbers(Logger):
    """Keeps what it is told, unless its server is away."""

    name, version = "", ""

    def __init__(self):
        super().__init__()
        self.told, self.away = [], set()

    def reach(self, method):
        if method in self.away:
            raise ConnectionError(f"no route\nto {method}")

    def log_metrics(self, metrics, step=None):
        self.reach("log_metrics")
        self.told += [(step, name) for name in metrics]

    def log_hyperparams(self, params):
        self.reach("log_hyperparams")

    def save(self):
        self.reach("save")

    def finalize(self, status):
        self.reach("finalize")
        self.told.append(status)


class Pictures(Numbers):
    def log_image(self, key, images, step=None):
        self.reach("log_image")
        self.told.append((step, key))


def picture():
    Image.new("L", (4, 4)).save(content := BytesIO(), "png")
    return content.getvalue()


@pytest.fixture
def facts(tmp_path, caplog):
    caplog.set_level("INFO")
    return RunFacts(tmp_path, 0, {}, {}, {}, {"seed": 0})


def number(logger, folder, step):
    logger.log_metrics(metrics={"train/loss": 1.0}, step=step)
    with (folder / "metrics.jsonl").open("a") as history:
        history.write(json.dumps({"step": step, "train/loss": 1.0}) + "\n")
    logger.save()


def test_numbers_that_a_server_missed_are_told_when_it_is_back_and_pictures_are_counted(
    tmp_path, caplog, facts
):
    logger = Pictures()
    (told,) = run_loggers([logger]).values()
    told.begin(facts)
    for step in range(9):
        logger.away = {"log_metrics", "save", "log_image"} if 3 <= step < 7 else set()
        told.ask_at = 0.0 if step == 8 else told.ask_at  # 30 s have gone by
        number(logger, tmp_path, step)
        if step in (2, 5):
            run_loggers([logger])["Pictures"].picture("seen", picture(), step)
    logger.finalize("success")
    told.end("completed")
    assert logger.told == [
        *((step, "train/loss") for step in range(3)),
        (2, "seen"),
        *((step, "train/loss") for step in range(3, 9)),
        "success",
    ]
    assert [message.partition(".Pictures")[2] for message in caplog.messages] == [
        ": log_metrics: ConnectionError: no route to log_metrics; training goes on, and what is missing there"
        f" from step 3 on is told when it is back: numbers are in {tmp_path}/metrics.jsonl, pictures in"
        " figures/",
        " is back: it was told what it missed from step 3 on, but for 1 pictures and pages",
    ]


def test_one_that_stays_away_is_a_line_and_a_word_in_the_record_and_hears_the_end_if_it_can(
    tmp_path, caplog, facts
):
    logger = Pictures()
    (told,) = run_loggers([logger]).values()
    told.begin(facts)
    number(logger, tmp_path, 0)
    logger.away = {"log_metrics", "finalize"}
    number(logger, tmp_path, 1)
    logger.finalize("failed")  # Lightning's word, which must hide no other error
    told.end("failed")
    assert told.identity() == {"missing_from": 1}
    assert "is still away: it has nothing from step 1 on, nor that the run failed" in caplog.messages[-1]
    logger.away = set()
    told.end("failed")
    assert logger.told[-2:] == [(1, "train/loss"), "failed"] and told.identity() == {}


def test_what_fails_beside_numbers_is_a_line_and_numbers_go_on(tmp_path, caplog, facts):
    logger = Pictures()
    (told,) = run_loggers([logger]).values()
    told.begin(facts)
    number(logger, tmp_path, 0)
    logger.away = {"save", "log_image", "finalize"}
    for step in range(1, 4):
        number(logger, tmp_path, step)
        told.picture("seen", picture(), step)
    logger.finalize("success")
    told.end("completed")
    assert logger.told == [(step, "train/loss") for step in range(4)] and told.identity() == {}
    assert [message.partition(".Pictures.")[2].partition(":")[0] for message in caplog.messages] == [
        "save",
        "log_image",
        "finalize",
    ]


@pytest.mark.parametrize("method", ["log_hyperparams", "log_image", "log_metrics", "save"])
def test_what_a_new_runs_logger_raises_before_its_first_numbers_is_refused(tmp_path, facts, method):
    logger = Pictures()
    logger.away = {method}
    (told,) = run_loggers([logger]).values()
    with pytest.raises(ValueError, match=rf"Pictures\.{method}: ConnectionError: no route to {method}$"):
        for act in (
            lambda: told.begin(facts),
            logger.save,
            lambda: told.picture("seen", picture(), 0),
            lambda: number(logger, tmp_path, 0),
        ):
            act()


def test_a_run_that_goes_on_does_so_without_its_logger_and_tells_no_step_of_before_twice(
    tmp_path, caplog, facts
):
    logger = Numbers()
    (told,) = run_loggers([logger]).values()
    number(logger, tmp_path, 0)
    again = Numbers()
    again.away = {"log_metrics"}
    go_back([again], 1, {}, {})
    (told,) = run_loggers([again]).values()
    told.begin(facts._replace(step=1))
    number(again, tmp_path, 1)
    again.away, told.ask_at = set(), 0.0
    number(again, tmp_path, 2)
    assert again.told == [(1, "train/loss"), (2, "train/loss")]
    assert "cannot go back to step 1" in caplog.messages[0] and "no log_image" in caplog.messages[1]


def test_only_the_first_of_several_processes_calls_a_logger_that_its_class_lets_all_call(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("VITLAB_TARGETS", __name__)
    allow_from_environment()
    config = {"logger": {"mine": {"_target_": f"{__name__}.Numbers"}}, "run_dir": str(tmp_path)}
    logger, _ = build_loggers(config)
    logger.away = {"save"}
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger.log_metrics(metrics={"train/loss": 1.0}, step=0)
    logger.save()
    logger.finalize("failed")
    monkeypatch.undo()
    allow_from_environment()
    assert logger.told == []
