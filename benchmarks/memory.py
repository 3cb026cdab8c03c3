"""Peak memory of a training step, each library alone in a process of its own.

Told are the most that a process held at once, and how much of that came after all imports: what the model,
its gradients, the optimizer's state and the activations take. The others step with `torch.optim.AdamW`,
vitlab with the kernels that `vitlab train` chooses.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.child import run_python
from benchmarks.contest import PRECISIONS
from benchmarks.machine import Setting, table
from benchmarks.peers import MODELS, PEERS, VIT_TI_4, Shape, kernels_of
from benchmarks.timing import spread
from benchmarks.training import make_step

LIBRARIES = PEERS


def resident_mib(field: str) -> float:
    """Returns this process's resident memory in MiB: VmRSS now, VmHWM at most so far.

    Linux alone has it; `getrusage` will not do, for there a new process begins with its parent's peak.
    """
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def train_steps(name: str, shape: Shape, precision: str, steps: int) -> None:
    images = torch.randn(shape.batch, 3, shape.image_size, shape.image_size)
    labels = torch.randint(0, shape.num_classes, (shape.batch,))
    autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=precision == "bf16-autocast")
    step = make_step(name, MODELS[name](shape).train(), images, labels, autocast)
    for _ in range(steps):
        step()


def train_in_this_process(name: str, shape: Shape, precision: str) -> dict[str, float]:
    """Returns the memory in MiB before the model is built, and the most of three training steps."""
    torch.manual_seed(0)
    with kernels_of(name):
        train_steps(
            name, replace(shape, image_size=2 * shape.patch_size, depth=1, batch=1), precision, 1
        )  # imports all that a step needs
        before = resident_mib("VmRSS")
        train_steps(name, shape, precision, 3)
    return {"before": before, "peak": resident_mib("VmHWM")}


def measure(setting: Setting, shapes: Sequence[Shape] = (VIT_TI_4,)) -> Iterator[str]:
    threads, rounds = setting.use_threads(), setting.rounds_or(2)
    names = (
        ["vitlab", "timm"]
        if setting.quick
        else ["vitlab", "timm", "torchvision", "transformers", "vit-pytorch ViT"]
    )
    for shape in shapes:
        cells: dict[str, list[str]] = {name: [] for name in names}
        for precision in PRECISIONS:
            found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for _ in range(rounds):
                for name in names:
                    told = json.dumps([name, asdict(shape), precision])
                    found[name].append(
                        json.loads(run_python("-m", "benchmarks.memory", told, threads=threads)[0])
                    )
            for name, runs in found.items():
                cells[name] += [
                    spread([run["peak"] for run in runs], 0),
                    spread([run["peak"] - run["before"] for run in runs], 0),
                ]
        yield f"### {shape.name}, batch {shape.batch}, {threads} thread(s), MiB, {rounds} rounds"
        columns = [
            column
            for precision in PRECISIONS
            for column in (f"{precision}, peak", f"{precision}, without imports")
        ]
        yield table(("", *columns), [(name, *values) for name, values in cells.items()])


if __name__ == "__main__":
    asked_name, sizes, asked_precision = json.loads(sys.argv[1])
    print(json.dumps(train_in_this_process(asked_name, Shape(**sizes), asked_precision)))
