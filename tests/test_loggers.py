"""What a run leaves in its folder, also when it was killed in between."""

import csv
import os

import pytest

from vitlab.loggers import MetricHistory, Table
from vitlab.runs.history import FILE, read_history


def log(folder, steps):
    loggers = [Table(str(folder)), MetricHistory(folder)]
    for step in steps:
        row = {"train/loss": 1 / (step + 3), "epoch": 0} if step % 5 else {"val/loss": 2 / (step + 3)}
        for logger in loggers:
            logger.log_metrics(row, step)
    loggers[0].save()


@pytest.mark.filterwarnings("ignore:.*Previous log files in this directory:UserWarning")
def test_a_table_has_all_that_the_history_has_after_a_run_was_killed_and_went_on(tmp_path):
    log(tmp_path, range(8))
    size = (tmp_path / FILE).stat().st_size
    log(tmp_path, range(8, 11))  # lost with the kill
    os.truncate(tmp_path / FILE, size)
    log(tmp_path, range(8, 20))
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = [
        (int(row["step"]), name, value)
        for row in rows
        for name, value in row.items()
        if value and name != "step"
    ]
    assert {(step, name): float(value) for step, name, value in cells} == read_history(tmp_path)
    assert len(cells) == 20
