"""Are all labels of an image found, and does relevance for each point at its own evidence?

    python -m benchmarks.studies.planted_labels --seeds 0,1,2

`vitlab train experiment=planted_labels` trains a model with each seed (one that was trained before is not
trained again): images with several labels, each a pattern in a patch of its own among 64. For each label
that a test image has, each method is asked for that label alone; it points right where its largest share lies
on that label's patch. Methods that know no class point at one patch for all labels of an image. Fails where
the mean average precision is below 0.99, or relevance points right in less than 85 %. Overrides of the
training may follow the options.
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
from vitlab.insight.explain import CLASS_SPECIFIC, METHODS, explain
from vitlab.insight.honesty.ground_truth import pointing_game
from vitlab.runs.load import load_model

LEAST_PRECISION, LEAST_POINTING = 0.99, 0.85


def train(seed: str, folder: Path, overrides: list[str]) -> tuple[Path, float]:
    """Returns the checkpoint of a completed run, trained now if there is none, and its test's mAP."""
    record = folder / "run.json"
    if not (record.exists() and json.loads(record.read_text())["status"] == "completed"):
        arguments = ["train", "experiment=planted_labels", "hardware=cpu", *overrides]
        arguments += [f"seed={seed}", f"hydra.run.dir={folder}"]
        print("vitlab", *arguments, flush=True)
        subprocess.run(
            [sys.executable, "-m", "vitlab.cli", *arguments], check=True, stdout=subprocess.DEVNULL
        )
    metrics = json.loads(record.read_text())["metrics"]
    return folder / "checkpoints" / "best.ckpt", metrics["test/average_precision"]


def pointing(checkpoint: Path, num_images: int) -> dict[str, float]:
    """Returns for each method in which share of (image, label) it points at that label's patch."""
    model, card = load_model(checkpoint)
    data = build(card.config["datamodule"])
    data.setup()
    test = data.splits["test"].indices[:num_images]
    everything = data.source.load()["all"]
    image, label = everything.labels[test].nonzero().unbind(1)
    images = normalise(everything.images[test[image]], data.mean, data.std)
    masks = data.source.masks()[test[image], label]
    return {method: pointing_game(explain(model, images, method, label), masks) for method in METHODS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--out", default="outputs/planted_labels")
    options, overrides = parser.parse_known_args()
    torch.set_num_threads(1)
    seeds = options.seeds.split(",")
    folders = [Path(options.out, "_".join([f"seed_{seed}", *overrides]).replace("/", "_")) for seed in seeds]
    trained = [train(seed, folder, overrides) for seed, folder in zip(seeds, folders, strict=True)]
    results = [pointing(checkpoint, options.images) for checkpoint, _ in trained]
    print(f"{where()}; seeds {options.seeds}")
    print("test mAP by seed: " + ", ".join(f"{precision:.4f}" for _, precision in trained))
    for method in METHODS:
        shares = [each[method] for each in results]
        knows = "" if method in CLASS_SPECIFIC else " (knows no label)"
        print(f"{method:16} points right in {', '.join(f'{share:.1%}' for share in shares)}{knows}")
    if min(precision for _, precision in trained) < LEAST_PRECISION:
        sys.exit(f"mAP is below {LEAST_PRECISION}")
    if min(each["relevance"] for each in results) < LEAST_POINTING:
        sys.exit(f"relevance points right in less than {LEAST_POINTING:.0%}")


if __name__ == "__main__":
    main()
