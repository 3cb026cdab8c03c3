"""Accuracy by training time: `vitlab train experiment=digits_vit` beside a Lightning tutorial's way with the
same model and as much time.

Each run is a process of its own, one after the other. First vitlab trains its recipe; then the template
(`template.py`) trains the same model on the same images for as many epochs as fit into the seconds of work
that vitlab's whole process took: batches of 64 through a DataLoader that turns, shears, shifts and scales
each image as vitlab's recipe does, AdamW at 1e-3 with a cosine, the best checkpoint by validation accuracy.
The recipes differ, the time does not: vitlab's has an average of the weights, warm-up and a higher rate.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.child import run_python
from benchmarks.machine import Setting, table

LIBRARIES = ("pytorch-lightning", "torchvision")
BATCH, GOALS = 64, (0.95, 0.98)
VALIDATE_EVERY = 5

Row = tuple[float, float, float]
"""Seconds of work so far, seconds by the wall, validation accuracy."""


def read_curve(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def with_vitlab(seed: int, threads: int, folder: Path, epochs: int | None) -> tuple[float, float, list[Row]]:
    """Returns test accuracy, the process's seconds of work, and the curve of a whole `vitlab train`."""
    curve = [
        "+callbacks.curve._target_=benchmarks.watch.Curve",
        f"+callbacks.curve.file={folder / 'curve.jsonl'}",
    ]
    lengths = [f"trainer.max_epochs={epochs}"] if epochs else []
    command = [
        "experiment=digits_vit",
        "hardware=cpu",
        f"seed={seed}",
        f"hydra.run.dir={folder / 'run'}",
        *curve,
        *lengths,
    ]
    _, seconds = run_python(
        "-m", "vitlab.cli", "train", *command, threads=threads, VITLAB_TARGETS="benchmarks"
    )
    record = json.loads((folder / "run" / "run.json").read_text())
    return record["metrics"]["test/accuracy"], seconds, read_curve(folder / "curve.jsonl")


def with_template(seed: int, threads: int, folder: Path, epochs: int) -> tuple[float, float, list[Row]]:
    told = json.dumps([seed, epochs, str(folder)])
    said, seconds = run_python("-m", "benchmarks.accuracy", told, threads=threads)
    return json.loads(said.splitlines()[-1]), seconds, read_curve(folder / "curve.jsonl")


def fit_template(seed: int, epochs: int, folder: Path) -> float:
    """Trains in this process, validating as often as the recipe does, and returns the best checkpoint's test
    accuracy."""
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import ModelCheckpoint
    from pytorch_lightning.loggers import TensorBoardLogger
    from torchvision.transforms import v2

    from benchmarks.small import digits, digits_vit
    from benchmarks.template import Template, loaders
    from benchmarks.watch import Curve

    pl.seed_everything(seed, verbose=False)
    affine = v2.RandomAffine(
        degrees=6.0,
        shear=4.0,
        scale=(0.94, 1.06),
        translate=(0.06, 0.06),
        interpolation=v2.InterpolationMode.BILINEAR,
    )
    train, val, test = loaders(digits(BATCH), BATCH, affine)
    callbacks = [
        Curve(str(folder / "curve.jsonl")),
        ModelCheckpoint(folder, monitor="val/accuracy", mode="max"),
    ]
    shown = {"enable_progress_bar": False, "enable_model_summary": False, "logger": TensorBoardLogger(folder)}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        check_val_every_n_epoch=min(VALIDATE_EVERY, epochs),
        callbacks=callbacks,
        **shown,
    )
    trainer.fit(Template(digits_vit(seed), epochs * len(train)), train, val)
    return trainer.test(dataloaders=test, ckpt_path="best", weights_only=True, verbose=False)[0][
        "test/accuracy"
    ]


def reached(curve: list[Row], goal: float) -> str:
    """Returns the seconds of work at the first validation that came to this accuracy."""
    return next((f"{work:.0f}" for work, _, accuracy in curve if accuracy >= goal), "never")


def epochs_within(seconds: float, trial_seconds: float, curve: list[Row]) -> int:
    """Returns how many epochs of the template fit into so many seconds of work, by a trial's whole process
    and its two validations."""
    an_epoch = (curve[1][0] - curve[0][0]) / VALIDATE_EVERY
    start_and_end = trial_seconds - 2 * VALIDATE_EVERY * an_epoch
    return max(1, int((seconds - start_and_end) / an_epoch))


def measure(setting: Setting) -> Iterator[str]:
    threads, seeds = setting.use_threads(1), setting.rounds_or(1)
    rows = []
    for seed in range(1 if setting.quick else seeds):
        with (
            tempfile.TemporaryDirectory() as one,
            tempfile.TemporaryDirectory() as two,
            tempfile.TemporaryDirectory() as three,
        ):
            ours = with_vitlab(seed, threads, Path(one), 10 if setting.quick else None)
            _, trial_seconds, trial_curve = with_template(seed, threads, Path(two), 2 * VALIDATE_EVERY)
            theirs = with_template(
                seed, threads, Path(three), epochs_within(ours[1], trial_seconds, trial_curve)
            )
        for name, (accuracy, seconds, curve) in (
            ("vitlab train experiment=digits_vit", ours),
            ("the usual template", theirs),
        ):
            goals = [reached(curve, goal) for goal in GOALS]
            rows.append(
                (
                    f"{name}, seed {seed}",
                    len(curve) * VALIDATE_EVERY,
                    f"{seconds:.0f}",
                    *goals,
                    f"{100 * accuracy:.1f} %",
                )
            )
    yield (
        f"### digits, {threads} thread(s) each, seconds of work of the whole process, best checkpoint on 359"
        " test images"
    )
    yield table(
        (
            "",
            "epochs",
            "seconds",
            *(f"to {100 * goal:.0f} % of validation" for goal in GOALS),
            "test accuracy",
        ),
        rows,
    )


if __name__ == "__main__":
    asked_seed, asked_epochs, asked_folder = json.loads(sys.argv[1])
    print(json.dumps(fit_template(asked_seed, asked_epochs, Path(asked_folder))))
