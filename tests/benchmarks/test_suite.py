"""The suite's arithmetic on known numbers, and its parts in their smallest size; how long anything takes is
never asserted."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from benchmarks.__main__ import PARTS, main, run_part
from benchmarks.accuracy import epochs_within, reached
from benchmarks.machine import Setting, table
from benchmarks.peers import MODELS, VIT_B_16, VIT_TI_4, Shape, differences, timm
from benchmarks.timing import Contestant, interleave, ratios, spread
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import attention, contest, floor, inference, input, training

ROOT = Path(__file__).parents[2]
SMALLEST = Shape("smallest", 16, 8, 64, 1, 1, batch=1, num_classes=10)
SETTING = Setting(quick=True, rounds=1, threads=1, clock="cpu")


class Machine:
    """A clock that only its own work moves; it becomes twice as slow after every `period` pieces of work."""

    def __init__(self, period: int):
        self.now, self.done, self.period = 0.0, [], period

    def work(self, name: str, seconds: float) -> None:
        self.now += seconds * 2.0 ** (len(self.done) // self.period)
        self.done.append(name)


def test_a_ratio_within_rounds_is_exact_on_a_machine_that_becomes_slower_and_slower():
    machine = Machine(period=3)  # the two warm-ups of three are two periods
    works = {
        name: Contestant(lambda name=name, s=s: machine.work(name, s))
        for name, s in (("one", 1.0), ("two", 2.5), ("three", 4.0))
    }
    seconds = interleave(works, 5, lambda: machine.now)
    assert seconds["one"] == [4.0, 8.0, 16.0, 32.0, 64.0]
    assert ratios(seconds["two"], seconds["one"]) == [2.5] * 5
    assert spread(ratios(seconds["three"], seconds["one"])) == "4.00 [4.00-4.00]"


def test_each_contestant_opens_its_share_of_the_rounds():
    machine = Machine(period=100)
    interleave(
        {name: Contestant(lambda name=name: machine.work(name, 1.0)) for name in "abc"},
        3,
        lambda: machine.now,
    )
    assert "".join(machine.done[6:]) == "abcbcacab"


def test_what_is_around_a_run_is_not_timed_and_short_runs_are_repeated():
    machine = Machine(period=10**9)

    @contextmanager
    def around():
        machine.work("in", 50.0)
        yield
        machine.work("out", 70.0)

    seconds = interleave(
        {"short": Contestant(lambda: machine.work("run", 0.25), around)},
        2,
        lambda: machine.now,
        least_seconds=1.0,
    )
    assert seconds == {"short": [0.25, 0.25]}
    assert machine.done[6:] == ["in", *["run"] * 4, "out"] * 2


def test_a_spread_is_the_median_and_the_range():
    assert spread([3.0, 1.0, 2.0, 1000.0], 1) == "2.5 [1.0-1,000.0]"


def test_time_to_accuracy_reads_the_first_validation_that_gets_there():
    curve = [(10.0, 20.0, 0.5), (14.0, 24.0, 0.96), (18.0, 28.0, 0.94), (22.0, 32.0, 0.99)]
    assert [reached(curve, goal) for goal in (0.95, 0.98, 0.995)] == ["14", "22", "never"]
    # five epochs took 4 seconds, so a trial of 30 seconds and ten epochs spent 22 on its start and end; 78
    # are left for 97 epochs
    assert epochs_within(100.0, 30.0, curve[:2]) == 97


def test_a_page_is_a_markdown_table():
    assert table(("", "x"), [("a", 1), ("bb", 22)]) == "|    |  x |\n|----|---:|\n| a  |  1 |\n| bb | 22 |"


@pytest.mark.parametrize("shape", [VIT_TI_4, VIT_B_16], ids=lambda shape: shape.name)
def test_the_operations_that_a_gpus_share_rests_on_are_those_that_torch_counts(shape):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        timm(shape)(torch.zeros(1, 3, shape.image_size, shape.image_size))
    assert floor.operations(shape) == 3 * counter.get_total_flops()


def test_with_the_same_weights_the_peers_compute_what_vitlab_computes():
    assert max(differences(SMALLEST).values()) < 1e-5


def test_the_models_beside_ours_are_as_large_as_ours():
    with torch.device("meta"):
        sizes = {
            name: sum(parameter.numel() for parameter in build(VIT_TI_4).parameters())
            for name, build in MODELS.items()
        }
    assert {sizes[name] for name in ("vitlab", "timm", "torchvision", "transformers")} == {sizes["vitlab"]}
    assert all(abs(size - sizes["vitlab"]) < 0.01 * sizes["vitlab"] for size in sizes.values())


def test_parts_run_in_their_smallest_size(monkeypatch):
    monkeypatch.setattr(floor, "LEAST_SECONDS", 0.0)
    pages = [
        *inference.measure(SETTING, [SMALLEST]),
        *training.measure(SETTING, [SMALLEST]),
        *input.measure(SETTING, 128),
        *attention.measure(SETTING, SMALLEST),
    ]
    text = "\n".join(pages)
    assert text.count("| vit-pytorch ViT ") == 2 * len(contest.PRECISIONS)
    assert "nan" not in text


def test_a_part_leaves_a_page_that_says_where_it_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "scaling", "--quick"])
    run_part("scaling", SETTING, tmp_path)
    page = (tmp_path / "scaling.md").read_text()
    assert "| ViT-S/16 at 224 px, fsdp " in page
    assert "`python -m benchmarks scaling --quick`, 20" in page
    assert f"torch {torch.__version__.partition('+')[0]}" in page


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["training", "speed"], "no part speed; there are inference, training"),
        (["training", "--rounds", "0"], "0 is no whole number from 1 up"),
        (
            ["training", "overhead", "--device", "cuda"],
            "--device cuda is for inference, training, not for overhead",
        ),
        (["training", "--device", "cuda", "--clock", "cpu"], "--clock wall would work"),
    ],
    ids=["part", "rounds", "device", "clock"],
)
def test_what_cannot_be_measured_is_refused_with_what_can(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_named_before_anything_is_timed(monkeypatch, capsys):
    monkeypatch.setattr(attention, "LIBRARIES", ("timm", "no-such-peer"))
    with pytest.raises(SystemExit):
        main(["scaling", "attention"])
    said = capsys.readouterr()
    assert (
        "attention needs no-such-peer, not installed here; make setup, or pip install no-such-peer, would do"
        in said.err
    )
    assert not said.out


@pytest.mark.slow
def test_every_part_runs_as_a_command():
    command = [sys.executable, "-m", "benchmarks", *PARTS, "--quick", "--rounds", "1", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nwrote ") == len(PARTS)
