"""Whether class weights or balanced sampling help where classes are uneven: flowers made 20 : 1 by leaving
images out, judged by macro-F1 on a balanced test split.

    python -m benchmarks.studies.uneven --data /data/flowers [--seeds 0 1 2] [--epochs 60]
                                        [--parallel 8] [hardware=cpu ...]

Writes benchmarks/results/uneven.md. The test split is drawn first, as many images of each class; of the
others the classes keep 1, 20^-1/4, ... 1/20 of what the smallest class has, in an order that the seed of the
split shuffles. Links stand for the images, so the originals stay as they are.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from benchmarks.machine import where

RATIO = 20
WAYS = {
    "plain": [],
    "class_weights=auto": ["objective.class_weights=auto"],
    "class_weights=effective": ["objective.class_weights=effective"],
    "sampling=balanced": ["data.sampling=balanced"],
    "sampling=sqrt": ["data.sampling=sqrt"],
}
METRICS = ("f1_macro", "balanced_accuracy", "accuracy")
PAGE = Path(__file__).parents[1] / "results" / "uneven.md"


def make_uneven(source: Path, root: Path, seed: int, num_test: int) -> dict[str, dict[str, int]]:
    """Links the images of class folders into root/train and root/test; returns how many there are of each."""
    generator = np.random.default_rng(seed)
    files = {folder.name: sorted(folder.iterdir()) for folder in sorted(source.iterdir()) if folder.is_dir()}
    largest = min(map(len, files.values())) - num_test
    names = [str(name) for name in generator.permutation(list(files))]
    counts: dict[str, dict[str, int]] = {"train": {}, "test": {}}
    for rank, name in enumerate(names):
        order = generator.permutation(len(files[name]))
        kept = round(largest * RATIO ** (-rank / (len(names) - 1)))
        for part, chosen in (("test", order[:num_test]), ("train", order[num_test : num_test + kept])):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in chosen:
                (folder / files[name][index].name).symlink_to(files[name][index].resolve())
            counts[part][name] = len(chosen)
    return counts


def trained(root: Path, folder: Path, overrides: list[str]) -> dict[str, float]:
    """Trains and returns the test's metrics."""
    command = [sys.executable, "-m", "vitlab", "train", "experiment=flowers_vit", "data=folder"]
    command += [f"data.root={root}", "callbacks=[default,ema]", f"objective.metrics=[{','.join(METRICS)}]"]
    command += ["objective.monitor=val/f1_macro", *overrides, f"hydra.run.dir={folder}"]
    environment = os.environ | {"XDG_CACHE_HOME": str(root.parent / "cache"), "PYTHONSAFEPATH": "1"}
    subprocess.run(command, check=True, env=environment, cwd=root.parent)
    print(f"{folder.name} has ended", flush=True)
    return json.loads((folder / "run.json").read_text())["metrics"]


def in_cell(values: list[float]) -> str:
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="class folders of photographs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--num-test", type=int, default=120, help="test images of each class")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("overrides", nargs="*", help="of the config, for example hardware=cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "uneven"
        counts = make_uneven(options.data, root, options.split_seed, options.num_test)
        given = [f"trainer.max_epochs={options.epochs}", *options.overrides]
        with ThreadPoolExecutor(options.parallel) as pool:
            runs = [  # ways side by side, so that a busy hour meets all of them
                (
                    way,
                    pool.submit(
                        trained, root, Path(temporary) / f"{way}_{seed}", [*given, *WAYS[way], f"seed={seed}"]
                    ),
                )
                for seed in options.seeds
                for way in options.ways
            ]
        found = {way: [run.result() for name, run in runs if name == way] for way in options.ways}
    command = " ".join(["python -m benchmarks.studies.uneven", *sys.argv[1:]])
    lines = ["# Uneven classes", "", f"`{command}`: {where()}.", ""]
    lines += [f"Training images: {counts['train']}; test: {options.num_test} of each class; split seed"]
    lines += [f"{options.split_seed}; training seeds {options.seeds}; {options.epochs} epochs each.", ""]
    lines += [f"| | {' | '.join(METRICS)} |", f"|---|{'--:|' * len(METRICS)}"]
    for way, runs in found.items():
        cells = [in_cell([run[f"test/{metric}"] for run in runs]) for metric in METRICS]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    text = "\n".join([*lines, "", "In percent, mean ± standard deviation over the training seeds.", ""])
    options.page.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
