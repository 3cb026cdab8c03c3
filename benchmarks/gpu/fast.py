"""Is it fast? A training step of ViT-B/16 beside timm's, and CIFAR-10 end to end through `vitlab train`, with
what bounds it."""

import json
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.child import run_python
from benchmarks.contest import race
from benchmarks.floor import best_seconds, floor, operations
from benchmarks.gpu.findings import FAILED, PASSED, Finding, Findings
from benchmarks.gpu.images import unpack, write_noise
from benchmarks.gpu.plan import Plan
from benchmarks.machine import Setting, missing
from benchmarks.peers import VIT_B_16, Builder, Shape, compiled, simple_vit, timm, vitlab
from benchmarks.timing import Clock, ratios, spread
from benchmarks.training import make_step

PRECISION = "bf16-autocast"
RIVAL = "timm, compiled"


@dataclass(frozen=True)
class Sizes:
    """What is measured: the model alone, the side of the matrices whose rate counts, and the run end to
    end."""

    model: Shape
    rounds: int
    matrix: int
    images: int  # to train on
    batch: int
    epochs: int
    overrides: tuple[str, ...]


LARGE = Sizes(VIT_B_16, 8, 8192, 50_000, 1024, 10, ("model=vit_tiny", "hardware=gpu", "compile=true"))
SMALL_MODEL = ("model=vit", "model.embed_dim=64", "model.depth=1", "model.num_heads=1")
TINY = Sizes(
    Shape("a tiny ViT", 32, 16, 64, 1, 1, batch=2, num_classes=10),
    2,
    256,
    800,
    16,
    1,
    (*SMALL_MODEL, "hardware=cpu", "trainer.precision=bf16-mixed"),
)


def builders(plan: Plan) -> dict[str, Builder]:
    """Returns who runs: in a rehearsal nothing is compiled."""
    if plan.is_rehearsal:
        return {"vitlab": vitlab, RIVAL: timm}
    peers = {"vitlab": vitlab, "vitlab, compiled": compiled(vitlab), "timm": timm, RIVAL: compiled(timm)}
    return (
        peers
        if missing(["vit-pytorch"])
        else peers | {"vit-pytorch SimpleViT (one token fewer), compiled": compiled(simple_vit)}
    )


def matrix_rate(side: int, clock: Clock, device: str) -> float:
    """Returns the rate of a large square bfloat16 product, in floating-point operations a second."""
    one, other = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    return 2 * side**3 / best_seconds(lambda: one @ other, clock)


def with_memory(peaks: dict[str, float], device: str) -> Callable[..., Callable[[], object]]:
    """Returns `make_step` whose steps note in `peaks` what the second of them, which is not timed, takes
    beyond the model, in GiB."""

    def make(name: str, *parts: object) -> Callable[[], object]:
        step, calls = make_step(name, *parts), iter(range(2))

        def measured() -> None:
            if next(calls, None) != 1 or device != "cuda":
                step()
                return
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            step()
            torch.cuda.synchronize()
            peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**30

        return measured

    return make


def model_alone(plan: Plan, sizes: Sizes, findings: Findings) -> None:
    """Finds the training step's speed, over timm compiled and as a share of the rate that large matrix
    products reach."""
    setting = Setting(device=plan.device)
    shape, began, peaks = sizes.model, time.perf_counter(), {}
    rate = matrix_rate(sizes.matrix, setting.ticks(), plan.device)
    ended = race(
        setting, shape, PRECISION, builders(plan), with_memory(peaks, plan.device), True, sizes.rounds
    )
    bound = rate / operations(shape)
    least, _ = floor(shape, torch.bfloat16, True, setting.ticks(), plan.device)
    each = (time.perf_counter() - began) / len(ended.seconds)
    for name, values in ended.seconds.items():
        speeds = [shape.batch / value for value in values]
        numbers = {
            "images/s": spread(speeds, 0),
            f"over {RIVAL}": spread(ratios(ended.seconds[RIVAL], values)),
            "of the matrix rate, %": 100 * statistics.median(speeds) / bound,
            "of the floor, %": 100 * least / statistics.median(values),
            **({"memory of a step, GiB": peaks[name]} if name in peaks else {}),
        }
        findings.add(
            Finding(
                f"training step, {shape.name}, batch {shape.batch}, {PRECISION}: {name}",
                PASSED,
                each,
                numbers,
            )
        )
    told = {
        "TFLOP/s": rate / 1e12,
        "GFLOP an image": operations(shape) / 1e9,
        "floor, images/s": shape.batch / least,
    }
    findings.add(
        Finding(
            f"matrix rate, {sizes.matrix} x {sizes.matrix} bfloat16; floor: the blocks' dense layers alone",
            PASSED,
            0.0,
            told,
        )
    )


def end_to_end(plan: Plan, sizes: Sizes, findings: Findings, augment: str) -> None:
    """Finds a `vitlab train`'s images a second, the median of its logging intervals after the first epoch,
    and what a step is made of."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root, watched = Path(folder), Path(folder, "watched.json")
        if plan.images and not plan.is_rehearsal:
            unpack(Path(plan.images), root)
        else:
            write_noise(root, sizes.images, 100)
        steps = round(0.95 * sizes.images) // sizes.batch
        data = (
            "data=cifar10",
            f"data.root={root}",
            "data.verify=false",
            f"data.batch_size={sizes.batch}",
            f"augment={augment}",
        )
        length = (
            f"trainer.max_epochs={sizes.epochs}",
            "schedule.warmup_epochs=0.5",
            f"trainer.check_val_every_n_epoch={sizes.epochs}",
        )
        watch = ("+callbacks.watch._target_=benchmarks.gpu.watch.Watch", f"+callbacks.watch.file={watched}")
        watch += (f"+callbacks.watch.skip={steps if sizes.epochs > 1 else 2}", "callbacks=[default]")
        watch += ("callbacks.evaluation=null",)
        arguments = [*data, *sizes.overrides, *length, *watch, f"hydra.run.dir={root / 'run'}"]
        run_python(
            "-m",
            "vitlab.cli",
            "train",
            *arguments,
            threads=1 if plan.is_rehearsal else 8,
            VITLAB_TARGETS="benchmarks",
        )
        rows = [json.loads(line) for line in (root / "run" / "metrics.jsonl").read_text().splitlines()]
        least = steps if sizes.epochs > 1 else 0
        rates = [
            row["train/images_per_second"]
            for row in rows
            if "train/images_per_second" in row and row["step"] >= least
        ]
        numbers = {"images/s": spread(rates, 0), **json.loads(watched.read_text())}
    name = f"vitlab train, ViT-Ti/4 on CIFAR-10, batch {sizes.batch}, augment={augment}, end to end"
    findings.add(Finding(name, PASSED, time.perf_counter() - began, numbers))


def main(plan: Plan) -> None:
    if plan.is_rehearsal:
        torch.set_num_threads(1)
    sizes, findings = TINY if plan.is_rehearsal else LARGE, Findings(plan.json_file("fast"))
    works = {"model alone": partial(model_alone, plan, sizes, findings)}
    works |= {
        f"end to end, {name}": partial(end_to_end, plan, sizes, findings, name)
        for name in ("light", "strong")[: 1 if plan.is_rehearsal else 2]
    }
    for name, work in works.items():
        began = time.perf_counter()
        try:
            work()
        except Exception as error:  # the next one shall run all the same
            findings.add(
                Finding(
                    name,
                    FAILED,
                    time.perf_counter() - began,
                    {},
                    f"{error}\n{traceback.format_exc()}"[-6000:],
                )
            )


if __name__ == "__main__":
    main(Plan.from_environment())
