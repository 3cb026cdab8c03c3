"""Is it good? CIFAR-10 from scratch in one, two and four minutes (experiment=cifar10_minutes), plain and with
a convolutional stem."""

import json
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import run_python
from benchmarks.gpu.findings import FAILED, PASSED, SKIPPED, Finding, Findings
from benchmarks.gpu.images import unpack, write_noise
from benchmarks.gpu.plan import Plan

TRAINED_ON = 47_500
"""Images of CIFAR-10 that a run trains on: all but those it validates on."""


@dataclass
class Arm:
    """A way to embed patches, with the images a second that it is taken to reach until it has been measured
    here."""

    name: str
    overrides: tuple[str, ...]
    rate: float


ARMS = (
    Arm("plain", ("patch_embed=linear",), 12_000.0),
    Arm(
        "convolutional stem and depthwise convolutions",
        ("patch_embed=conv_stem_deep", "ffn=dwconv"),
        10_000.0,
    ),
)
MINUTES = (1, 2, 4)
AROUND_SECONDS = 45.0
"""What a run takes beside its training: start, compilation, validation, test."""

SHORT = (
    "hardware=cpu",
    "compile=false",
    "model.embed_dim=32",
    "model.depth=1",
    "model.num_heads=1",
    "trainer.limit_train_batches=2",
    "callbacks.evaluation=null",
)


def train(root: Path, arm: Arm, epochs: int, rehearsal: bool) -> tuple[dict, float, float]:
    """Returns the record of a whole run, its images a second and the seconds that it trained for."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        length = (
            f"trainer.max_epochs={epochs}",
            f"schedule.warmup_epochs={min(2, epochs / 4)}",
            f"trainer.check_val_every_n_epoch={epochs}",
        )
        data = (f"data.root={root}", "data.verify=false", "callbacks=[default,ema]")
        small = (*SHORT, "data.batch_size=32", "trainer.log_every_n_steps=1") if rehearsal else ()
        arguments = [
            "experiment=cifar10_minutes",
            *arm.overrides,
            *data,
            *length,
            *small,
            f"hydra.run.dir={run}",
        ]
        run_python("-m", "vitlab.cli", "train", *arguments, threads=1 if rehearsal else 8)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        rates = [row["train/images_per_second"] for row in rows if "train/images_per_second" in row]
        record = json.loads((run / "run.json").read_text())
    rate = statistics.median(rates)
    return record, rate, record["steps"] * record["config"]["data"]["batch_size"] / rate


def main(plan: Plan) -> None:
    findings = Findings(plan.json_file("good"))
    if plan.images is None and not plan.is_rehearsal:
        findings.add(
            Finding(
                "CIFAR-10 in minutes",
                SKIPPED,
                0.0,
                {},
                "no images; make gpu-wheels IMAGES=ARCHIVE.zip packs them",
            )
        )
        return
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if plan.is_rehearsal:
            write_noise(root, 200, 50)
        else:
            unpack(Path(str(plan.images)), root)
        for minutes in MINUTES[: 1 if plan.is_rehearsal else None]:
            for arm in ARMS[1:] if plan.is_rehearsal else ARMS:
                name, start = (
                    f"CIFAR-10, planned for {minutes} min of training, {arm.name}",
                    time.perf_counter(),
                )
                left = plan.shares["good"] - (start - began)
                if 60 * minutes + AROUND_SECONDS > left and not plan.is_rehearsal:
                    findings.add(Finding(name, SKIPPED, 0.0, {}, f"{left:.0f} s of the share are left"))
                    continue
                epochs = 1 if plan.is_rehearsal else max(2, round(60 * minutes * arm.rate / TRAINED_ON))
                try:
                    record, arm.rate, seconds = train(root, arm, epochs, plan.is_rehearsal)
                except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                    findings.add(Finding(name, FAILED, time.perf_counter() - start, {}, str(error)[-6000:]))
                    continue
                numbers = {
                    "test accuracy, %": f"{100 * record['metrics']['test/accuracy']:.2f}",
                    "epochs": epochs,
                }
                numbers |= {
                    "images/s": arm.rate,
                    "seconds of training": seconds,
                    "parameters": f"{record['parameters']:,}",
                }
                findings.add(Finding(name, PASSED, time.perf_counter() - start, numbers))


if __name__ == "__main__":
    main(Plan.from_environment())
