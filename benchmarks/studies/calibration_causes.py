"""Why probabilities miss their goal: how much of a calibration error, and of what sets of classes hold, is
the model's, how much the validation split's, and how much chance.

    python -m benchmarks.studies.calibration_causes RUN [RUN ...] [--data DIR]

Answers to the validation and test images are computed once, and kept beside the checkpoint.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.machine import where
from vitlab.files.atomic import writing
from vitlab.objectives.calibration import COVERAGES, Calibration
from vitlab.objectives.reliability import by_confidence, error_by_chance
from vitlab.objectives.temperature import fit_temperature
from vitlab.runs.load import data_of, load_model

NUM_DRAWN = 200
"""Drawings that a mean or a spread is of."""


class Answers(NamedTuple):
    """Scores [images, classes] and labels of a split."""

    logits: Tensor
    labels: Tensor

    def some(self, indices: Tensor) -> "Answers":
        return Answers(self.logits[indices], self.labels[indices])

    @property
    def accuracy(self) -> float:
        return float((self.logits.argmax(dim=1) == self.labels).double().mean())


def answers_of(run: str, data_root: str | None) -> tuple[Answers, Answers]:
    """Returns what a run's best checkpoint says of its validation and its test images."""
    given = Path(run)
    checkpoint = given / "checkpoints" / "best.ckpt" if given.is_dir() else given
    kept = checkpoint.with_suffix(".answers.pt")
    if not kept.exists():
        model, card = load_model(checkpoint)
        data = data_of(card, "test", data_root)
        data.prepare_data()
        data.setup()
        answers = {}
        for name in ("val", "test"):
            split, said = data.splits[name], []
            for indices in torch.arange(len(split)).split(256):
                with torch.inference_mode():
                    said.append(model(data.view(split[(0, indices)].images)).float())
            answers[name] = (torch.cat(said), split.labels.long())
        with writing(kept):
            torch.save(answers, kept)
    answers = torch.load(kept, weights_only=True)
    return Answers(*answers["val"]), Answers(*answers["test"])


def error(answers: Answers, temperature: float) -> float:
    """Returns the calibration error of scaled scores."""
    return by_confidence((answers.logits.double() / temperature).softmax(dim=1), answers.labels).error


def held(calibration: Calibration, answers: Answers, coverage: float) -> float:
    """Returns the share of images whose set holds the right class."""
    return calibration.held_out(*answers)[f"coverage_at/{coverage}"]


def held_by_halves(answers: Answers) -> dict[float, Tensor]:
    """Returns what sets hold on one half of the test images that were fitted to the other half, for many
    halvings: what would be if validation and test images were alike."""
    draws = torch.Generator().manual_seed(0)
    told: dict[float, list[float]] = {coverage: [] for coverage in COVERAGES}
    for _ in range(NUM_DRAWN // 4):
        one, other = torch.randperm(len(answers.labels), generator=draws).chunk(2)
        numbers = Calibration.fitted(*answers.some(one)).held_out(*answers.some(other))
        for coverage in COVERAGES:
            told[coverage].append(numbers[f"coverage_at/{coverage}"])
    return {coverage: torch.tensor(values) for coverage, values in told.items()}


def spread_by_chance(coverage: float, num_fitted: int, num_tested: int) -> Tensor:
    """Returns what sets hold, for many drawings of both splits from one source: of the share that the k-th
    smallest of n scores leaves below it (Beta(k, n + 1 - k)), as many images as are tested."""
    torch.manual_seed(0)
    rank = min(num_fitted, int(-(-(num_fitted + 1) * coverage // 1)))
    shares = torch.distributions.Beta(rank, num_fitted + 1 - rank).sample((20_000,))
    return torch.distributions.Binomial(num_tested, shares).sample() / num_tested


def of_errors(name: str, val: Answers, test: Answers) -> str:
    """Returns a line on the calibration error."""
    temperature, own = fit_temperature(*val), fit_temperature(*test)
    surely = float((test.logits / temperature).softmax(dim=1).max(dim=1).values.mean())
    shares = [val.accuracy, test.accuracy, surely]
    cells = [f"{len(val.labels):,}", f"{len(test.labels):,}", *(f"{100 * share:.1f} %" for share in shares)]
    cells += [f"{temperature:.2f}", f"{own:.2f}"]
    by_chance, _ = error_by_chance((test.logits.double() / own).softmax(dim=1))
    errors = [error(test, 1.0), error(test, temperature), error(test, own), by_chance]
    return f"| {name} | {' | '.join([*cells, *(f'{100 * each:.1f} %' for each in errors)])} |"


def of_sets(name: str, val: Answers, test: Answers) -> str:
    """Returns a line on what sets of classes hold."""
    calibration, halves = Calibration.fitted(*val), held_by_halves(test)
    cells = []
    for coverage in COVERAGES:
        chance = spread_by_chance(coverage, len(val.labels), len(test.labels))
        near = float(((chance - coverage).abs() <= 0.02).double().mean())
        cells.append(
            f"{100 * held(calibration, test, coverage):.1f} %; {100 * halves[coverage].mean():.1f} %;"
            f" {100 * near:.0f} %"
        )
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="folders of runs, or checkpoints")
    parser.add_argument("--data", help="where the images lie now")
    options = parser.parse_args()
    known = {Path(run).name: answers_of(run, options.data) for run in options.runs}
    print(where(), end="\n\n")
    columns = "run | validation images | test images | accuracy, validation | accuracy, test | sure of"
    columns += " | temperature | test's own | ECE | scaled | at its own | by chance"
    print(f"| {columns} |\n|---|{'--:|' * 11}")
    print(*(of_errors(name, *both) for name, both in known.items()), sep="\n", end="\n\n")
    print(f"| run | {' | '.join(f'{each:.0%}: held; by halves; chance of ±2' for each in COVERAGES)} |")
    print(f"|---|{'--:|' * len(COVERAGES)}")
    print(*(of_sets(name, *both) for name, both in known.items()), sep="\n")


if __name__ == "__main__":
    main()
