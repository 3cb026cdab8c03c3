"""A run's metric history: exact, readable after a kill at any byte, and compared by value."""

import math

import pytest

from vitlab.loggers.json_lines import MetricHistory
from vitlab.runs.history import FILE, first_difference, history_hash, read_history

ROWS = [
    (1, {"train/loss": 0.1 + 0.2, "train/images_per_second": 900.0, "epoch": 0}),
    (1, {"val/loss": 1e-310}),
    (3, {"train/loss": math.nan}),
]
EXPECTED = {
    (1, "train/loss"): 0.30000000000000004,
    (1, "train/images_per_second"): 900.0,
    (1, "val/loss"): 1e-310,
}


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    logger = MetricHistory(folder)
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
    return folder / FILE


def test_values_come_back_to_the_last_bit(tmp_path):
    write(tmp_path, ROWS)
    history = read_history(tmp_path)
    assert math.isnan(history.pop((3, "train/loss")))
    assert history == EXPECTED


def test_a_kill_at_any_byte_leaves_whole_rows_and_a_resume_writes_the_rest(tmp_path):
    content = write(tmp_path / "whole", ROWS).read_bytes()
    expected = history_hash(read_history(tmp_path / "whole"))
    second_row = content.index(b"\n") + 1
    killed = tmp_path / "killed"
    for size in range(second_row, len(content) + 1):
        write(killed, ROWS[:1])
        at_checkpoint = MetricHistory(killed).state()
        (killed / FILE).write_bytes(content[:size])
        assert len(read_history(killed)) == 2 + content[second_row:size].count(b"\n")
        MetricHistory(killed).go_back(1, at_checkpoint)
        write(killed, ROWS[1:])
        assert history_hash(read_history(killed)) == expected
        (killed / FILE).unlink()


def test_a_damaged_row_is_named_with_its_line(tmp_path):
    for damage in (
        b"zeros \0\0\0\n",
        b"[1]\n",
        b'{"train/loss": 1.0}\n',
        b'{"step": 1, "train/loss": "low"}\n',
    ):
        file = write(tmp_path, ROWS)
        file.write_bytes(file.read_bytes() + damage)
        with pytest.raises(ValueError, match=rf"{FILE}, line 4 is no row"):
            read_history(tmp_path)
        file.unlink()


def test_the_hash_sees_the_last_bit_of_every_value_but_neither_speed_nor_the_order_of_writing(tmp_path):
    def hash_of(name, rows):
        write(tmp_path / name, rows)
        return history_hash(read_history(tmp_path / name))

    base = hash_of("base", ROWS)
    assert base == hash_of("other order", ROWS[::-1])
    assert base == hash_of("slower", [(1, ROWS[0][1] | {"train/images_per_second": 3.0}), *ROWS[1:]])
    assert base != hash_of("one bit", [(1, {"train/loss": 0.3}), *ROWS[1:]])
    assert base != hash_of("one step", [(2, ROWS[0][1]), *ROWS[1:]])
    assert base != hash_of("less", ROWS[:2])


def test_histories_part_at_the_first_step_that_differs_whatever_was_written_first():
    before = {
        (5, "val/loss"): 2.0,
        (1, "train/loss"): 1.0,
        (3, "train/loss"): math.nan,
        (9, "x_per_second"): 1.0,
    }
    assert first_difference(before, dict(before) | {(9, "x_per_second"): 2.0}) is None
    assert (
        first_difference(before, before | {(5, "val/loss"): 2.5, (3, "train/loss"): 0.1})
        == "step 3: train/loss was nan, is 0.1"
    )
    longer = before | {(7, "train/loss"): 0.5}
    assert first_difference(before, longer) == "step 7: train/loss was absent, is 0.5"
    assert first_difference(longer, before) == "step 7: train/loss was 0.5, is absent"
    assert first_difference(before, longer, whole=False) is None
