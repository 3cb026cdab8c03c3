"""Whatever a killed run told its loggers after a checkpoint, they hold what an uninterrupted run tells."""

import csv
import os
from io import BytesIO

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vitlab.loggers.csv_table import Table
from vitlab.loggers.json_lines import MetricHistory
from vitlab.loggers.tell import go_back, lost_since, run_loggers, states
from vitlab.loggers.tensorboard import TensorBoard
from vitlab.runs.history import read_history


def picture(step):
    content = BytesIO()
    Image.new("RGB", (4, 4), (step, 0, 0)).save(content, "png")
    return content.getvalue()


def tell(logger, steps):
    for step in steps:
        logger.log_metrics({"train/loss": 1 / (step + 3), "epoch": 0}, step)
        if step % 4 == 3:
            logger.log_metrics({"val/loss": 2 / (step + 3), f"test/of_{step}": 0.5}, step)
            logger.picture("test/seen", picture(step), step)
    logger.save()


def events(folder):
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    scalars = {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    images = {
        tag: [(e.step, e.encoded_image_string) for e in found.Images(tag)] for tag in found.Tags()["images"]
    }
    return scalars | images


def files(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


KINDS = {TensorBoard: events, Table: files, MetricHistory: files}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("kept", [0, 8], ids=["before the first checkpoint", "after a checkpoint"])
def test_a_run_that_goes_back_leaves_what_one_leaves_that_was_never_killed(tmp_path, kind, kept):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    tell(first := kind(whole), range(16))
    first.state()  # which writes out what is held back
    tell(logger := kind(killed), range(kept))
    state = logger.state() if kept else {}
    tell(logger, range(kept, 13))
    logger.state()
    again = kind(killed)
    assert again.lost(state) == []
    again.go_back(kept, state)
    tell(again, range(kept, 16))
    again.state()
    assert KINDS[kind](killed) == KINDS[kind](whole)


def test_what_is_gone_since_a_checkpoint_is_a_line_and_another_history_a_refusal(tmp_path):
    loggers = [TensorBoard(tmp_path), Table(tmp_path), MetricHistory(tmp_path)]
    for logger in loggers:
        tell(logger, range(8))
    known = states(loggers)
    assert lost_since(loggers, known) == []
    (events_file,) = tmp_path.glob("events*")
    os.truncate(events_file, 20)
    table = (tmp_path / "metrics.csv").read_bytes().splitlines(keepends=True)
    (tmp_path / "metrics.csv").write_bytes(b"".join(table[:3])[:-4])
    size = known["TensorBoard"][events_file.name]
    assert lost_since(loggers, known) == [
        f"{events_file.name} has 20 bytes, and had {size:,}",
        "metrics.csv has 1 rows, and had 10",
    ]
    events_file.unlink()
    (tmp_path / "metrics.csv").unlink()
    assert lost_since(loggers, known) == [f"{events_file.name} is gone", "metrics.csv is gone"]
    history = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(history.replace(b"0.", b"1.", 1))
    with pytest.raises(ValueError, match=r"metrics\.jsonl no longer begins with the"):
        lost_since(loggers, known)
    (tmp_path / "metrics.jsonl").unlink()
    assert lost_since(loggers, known)[-1] == "metrics.jsonl is gone"
    go_back(loggers, 8, known, {})
    for logger in loggers:
        tell(logger, range(8, 12))
    assert {step for step, _ in read_history(tmp_path)} == {8, 9, 10, 11}
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["8", "9", "10", "11", "11"]


@pytest.mark.parametrize("state", [{"bytes": "many"}, {"rows": 3}, {"events.out.tfevents.1.h": "x"}])
def test_a_state_that_no_logger_writes_is_refused_by_its_name(tmp_path, state):
    loggers = [TensorBoard(tmp_path), MetricHistory(tmp_path)]
    tell(loggers[1], range(2))
    with pytest.raises(ValueError, match=r"resume\.loggers\.\w+ is not what \w+ writes"):
        lost_since(loggers, dict.fromkeys(run_loggers(loggers), state))


def test_names_in_a_table_are_no_formulas_and_a_later_column_is_empty_before(tmp_path):
    table = Table(tmp_path)
    table.log_metrics({"=1+1": 1.0}, 0)
    table.log_metrics({"late, but quoted": 0.1 + 0.2}, 1)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"step": "0", "'=1+1": "1.0", "late, but quoted": ""},
        {"step": "1", "'=1+1": "", "late, but quoted": "0.30000000000000004"},
    ]


def test_two_loggers_of_a_kind_keep_their_states_apart(tmp_path):
    loggers = [Table(tmp_path / "one"), Table(tmp_path / "two")]
    tell(loggers[0], range(3))
    known = states(loggers)
    assert [known["Table"]["rows"], known["Table 2"]["rows"]] == [3, 0]
