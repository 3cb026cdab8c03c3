"""Do maps point at the evidence, and does dropping tokens know? Both held against images whose evidence we
planted.

    python -m benchmarks.studies.planted --seeds 0,1,2

`vitlab train experiment=planted_vit` trains a model with each seed (one that was trained before is not
trained again). On the test images each method points at a patch; the pattern lies in one of 64, so random
points right in 1.6 %. Deletion and insertion never see where. Last comes the rank correlation of what they
say about the methods with what pointing says. Overrides of the training may follow the options.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.machine import where
from vitlab.construct import build
from vitlab.data.augment.crop import normalise
from vitlab.insight.explain import METHODS, explain
from vitlab.insight.honesty.faithfulness import compare
from vitlab.insight.honesty.ground_truth import mass_in_mask, pointing_game
from vitlab.insight.honesty.likeness import similarity
from vitlab.runs.load import load_model


def train(seed: str, folder: Path, overrides: list[str]) -> Path:
    """Returns the checkpoint of a completed run, trained now if there is none."""
    record = folder / "run.json"
    if not (record.exists() and json.loads(record.read_text())["status"] == "completed"):
        arguments = [
            "train",
            "experiment=planted_vit",
            "hardware=cpu",
            *overrides,
            f"seed={seed}",
            f"hydra.run.dir={folder}",
        ]
        print("vitlab", *arguments, flush=True)
        subprocess.run(
            [sys.executable, "-m", "vitlab.cli", *arguments], check=True, stdout=subprocess.DEVNULL
        )
    return folder / "checkpoints" / "best.ckpt"


def score(checkpoint: Path, num_images: int) -> tuple[float, float, dict[str, tuple[float, ...]]]:
    """Returns test accuracy, agreement with half of the patches dropped, and for each method pointing, mass,
    deletion, gain, insertion.

    The gain is that of deletion over a random order, in standard errors.
    """
    model, card = load_model(checkpoint)
    data = build(card.config["datamodule"])
    data.setup()
    test = data.splits["test"].indices[:num_images]
    everything = data.source.load()["all"]
    images, labels = normalise(everything.images[test], data.mean, data.std), everything.labels[test]
    masks = data.source.masks()[test]
    maps = {method: explain(model, images, method, labels) for method in METHODS}
    faith = compare(model, images, maps, labels)
    rows = {}
    for method, heatmaps in maps.items():
        found = faith[method]
        in_errors = found.deletion_gain / found.deletion_gain_se
        rows[method] = (
            pointing_game(heatmaps, masks),
            mass_in_mask(heatmaps, masks),
            found.deletion,
            in_errors,
            found.insertion,
        )
    with torch.no_grad():
        accuracy = (model.eval()(images).argmax(dim=1) == labels).float().mean().item()
    return accuracy, faith["random"].agreement_at_half, rows


def rank_correlation(one: list[float], other: list[float]) -> float:
    return similarity(torch.tensor([[one]]), torch.tensor([[other]])).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--out", default="outputs/planted")
    options, overrides = parser.parse_known_args()
    seeds = options.seeds.split(",")
    folders = [Path(options.out, "_".join([f"seed_{seed}", *overrides]).replace("/", "_")) for seed in seeds]
    results = [
        score(train(seed, folder, overrides), options.images)
        for seed, folder in zip(seeds, folders, strict=True)
    ]
    print(f"{where()}; seeds {options.seeds}")
    print(
        "test accuracy by seed: " + ", ".join(f"{100 * accuracy:.1f}" for accuracy, _, _ in results) + " %;",
        end=" ",
    )
    print(
        "with half of the patches dropped at random: "
        + ", ".join(f"{100 * half:.1f}" for _, half, _ in results)
        + " %"
    )
    print(
        f"{'method':16} {'pointing %, mean':>28} {'mass %':>20} {'deletion':>18} {'gain / s.e.':>18}"
        f" {'insertion':>18}"
    )
    for method in METHODS:
        columns = list(zip(*(rows[method] for _, _, rows in results), strict=True))
        pointing = (
            ", ".join(f"{100 * value:.1f}" for value in columns[0])
            + f": {100 * sum(columns[0]) / len(seeds):.1f}"
        )
        mass = ", ".join(f"{100 * value:.1f}" for value in columns[1])
        deletion, gain, insertion = (
            ", ".join(f"{value:.{digits}f}" for value in columns[at])
            for at, digits in ((2, 2), (3, 0), (4, 2))
        )
        print(f"{method:16} {pointing:>28} {mass:>20} {deletion:>18} {gain:>18} {insertion:>18}")
    for name, at, sign in (("deletion", 2, -1), ("insertion", 4, 1)):
        agreement = []
        for _, _, rows in results:
            columns = list(zip(*rows.values(), strict=True))
            agreement.append(rank_correlation(list(columns[0]), [sign * value for value in columns[at]]))
        print(
            f"rank correlation of {name} and pointing over methods: "
            + ", ".join(f"{value:.2f}" for value in agreement)
        )


if __name__ == "__main__":
    main()
