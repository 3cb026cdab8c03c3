"""One GPU: a training step of ViT-B/16 beside timm's, and CIFAR-10 end to end through `vitlab train`, with what bounds it.

    python -m benchmarks gpu --device cuda

The images of CIFAR-10 are noise in its own files' format: a GPU machine without a network has no others, and their content costs no time.
With `--device cpu` the sizes are tiny: that shows that the code runs, and nothing else.
"""

import json
import pickle
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.child import run_python
from benchmarks.contest import race
from benchmarks.floor import best_seconds, floor, operations
from benchmarks.machine import Setting, table
from benchmarks.peers import VIT_B_16, Shape, compiled, kernels_of, simple_vit, timm, vitlab
from benchmarks.timing import Clock, Contestant, interleave, ratios, spread
from benchmarks.training import make_step
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.cifar import CIFAR

LIBRARIES = ("timm", "vit-pytorch", "pytorch-lightning")
PRECISION = "bf16-autocast"
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]

BUILDERS = {
    "vitlab": vitlab,
    "vitlab, compiled": compiled(vitlab),
    "timm": timm,
    "timm, compiled": compiled(timm),
    "vit-pytorch SimpleViT (one token fewer), compiled": compiled(simple_vit),
}


@dataclass(frozen=True)
class Sizes:
    """What is measured: the model alone, the side of the matrices whose rate counts, and the run end to end."""

    model: Shape
    matrix: int
    end_to_end: Shape
    images: int  # a file; there are five to train on
    epochs: int
    overrides: tuple[str, ...]


CIFAR_VIT = Shape("ViT-Ti/4 on CIFAR-10", 32, 4, 192, 12, 3, batch=1024, num_classes=10)
LARGE = Sizes(VIT_B_16, 8192, CIFAR_VIT, 10_000, 12, ("model=vit_tiny", "hardware=gpu", "compile=true"))
TINY = Sizes(
    Shape("a tiny ViT", 32, 16, 64, 1, 1, batch=2, num_classes=10),
    256,
    Shape("a tiny ViT on noise", 32, 4, 64, 1, 1, batch=32, num_classes=10),
    100,
    3,
    ("model=vit", "model.embed_dim=64", "model.depth=1", "model.num_heads=1", "hardware=cpu", "trainer.precision=bf16-mixed"),
)


def matrix_rate(side: int, clock: Clock, device: str) -> float:
    """Returns the rate of a large square bfloat16 product, in floating-point operations a second."""
    one, other = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    return 2 * side**3 / best_seconds(lambda: one @ other, clock)


def write_cifar(root: Path, images_a_file: int) -> None:
    """Writes noise as the files of CIFAR-10."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        pixels = generator.integers(0, 256, (images_a_file, 3 * 32 * 32), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [index % 10 for index in range(images_a_file)]}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {index}" for index in range(10)]}, protocol=2))


def train_end_to_end(root: Path, sizes: Sizes) -> float:
    """Returns a `vitlab train`'s images a second, the median of its logging intervals after the first epoch, which compiles."""
    data = ("data=cifar10", f"data.root={root}", "data.verify=false", "optimizer=adamw", f"data.batch_size={sizes.end_to_end.batch}")
    steps = 5 * sizes.images * 19 // 20 // sizes.end_to_end.batch
    length = (f"trainer.max_epochs={sizes.epochs}", "schedule.warmup_epochs=1", f"trainer.log_every_n_steps={min(20, max(1, steps // 2))}")
    folder = root / "run"
    run_python("-m", "vitlab.cli", "train", *data, *sizes.overrides, *length, f"hydra.run.dir={folder}", threads=torch.get_num_threads())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(row["train/images_per_second"] for row in rows if "train/images_per_second" in row and row["step"] >= steps)


def input_epoch(root: Path, sizes: Sizes, device: str) -> tuple[Callable[[], None], int]:
    """Returns what makes an epoch's batches on the device as `vitlab train` does, without a model, and its number of images."""
    split = {"val_fraction": 0.05, "test_fraction": 0.1, "split_seed": 0}
    augment = Augment(crop_padding=4, flip=0.5)
    data = ImageData(CIFAR(str(root), 10, False, False), augment, 32, 3, 10, sizes.end_to_end.batch, 0, **split, seed=0, mean=MEAN, std=STD)
    data.setup()
    loader = data.train_dataloader()

    def epoch() -> None:
        for batch in loader:
            moved = data.transfer_batch_to_device(batch, torch.device(device), 0)
            augment(moved.images, moved.labels, seed=0, number=moved.number, num_classes=10, image_size=(32, 32), mean=MEAN, std=STD)

    return epoch, len(loader) * sizes.end_to_end.batch


def model_step(shape: Shape, device: str) -> Callable[[], object]:
    """Returns a training step of vitlab's compiled model on one batch that stays on the device."""
    images = torch.randn(shape.batch, 3, shape.image_size, shape.image_size, device=device)
    labels = torch.randint(0, shape.num_classes, (shape.batch,), device=device)
    model = compiled(vitlab)(shape) if device == "cuda" else vitlab(shape)
    return make_step("vitlab", model.to(device).train(), images, labels, partial(torch.autocast, device, torch.bfloat16))


def model_alone(setting: Setting, sizes: Sizes) -> Iterator[str]:
    """Yields a table of training steps, beside timm compiled, with the share of the rate that large matrix products reach."""
    builders, rival = (BUILDERS, "timm, compiled") if setting.device == "cuda" else ({"vitlab": vitlab, "timm": timm}, "timm")
    shape, rounds = sizes.model, setting.rounds_or(8)
    ended = race(setting, shape, PRECISION, builders, make_step, True, rounds)
    rate = matrix_rate(sizes.matrix, setting.ticks(), setting.device)
    bound = rate / operations(shape)
    least, _ = floor(shape, torch.bfloat16, True, setting.ticks(), setting.device)
    rows = []
    for name, values in ended.seconds.items():
        speeds = [shape.batch / value for value in values]
        shares = [f"{100 * part:.0f} %" for part in (statistics.median(speeds) / bound, least / statistics.median(values))]
        rows.append((name, f"{ended.parameters[name]:,}", spread(speeds, 0), spread(ratios(ended.seconds[rival], values)), *shares))
    yield f"### training step, {shape.name}, {PRECISION}, batch {shape.batch}, {setting.device}, {rounds} rounds"
    yield table(("", "parameters", setting.rate_unit, f"speed over {rival}", "of the matrix rate", "of the floor"), rows)
    yield (
        f"The matrix rate: {rate / 1e12:,.2f} TFLOP/s, of a product of two {sizes.matrix} x {sizes.matrix} bfloat16 matrices; a step takes "
        f"{operations(shape) / 1e9:,.2f} GFLOP an image. The floor: the blocks' dense layers alone, each shape at its own best rate."
    )


def end_to_end(setting: Setting, sizes: Sizes) -> Iterator[str]:
    """Yields a table of `vitlab train` from files to weights, beside its input and its model's step alone."""
    shape = sizes.end_to_end
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_cifar(root, sizes.images)
        epoch, num_images = input_epoch(root, sizes, setting.device)
        alone = {
            "input": Contestant(epoch),
            "model": Contestant(model_step(shape, setting.device), partial(kernels_of, "vitlab", setting.device)),
        }
        seconds = {
            name: statistics.median(values) for name, values in interleave(alone, setting.rounds_or(5), setting.ticks(), 0.5).items()
        }
        whole = train_end_to_end(root, sizes)
    rates = {"its input alone": num_images / seconds["input"], "its model's step alone": shape.batch / seconds["model"]}
    yield f"### {shape.name}, batch {shape.batch}, {PRECISION}, {setting.device}"
    rows = [
        ("vitlab train, end to end", f"{whole:,.0f}", ""),
        *((name, f"{each:,.0f}", f"{whole / each:.2f}") for name, each in rates.items()),
    ]
    yield table(("", "images/s", "end to end over it"), rows)
    bound = min(rates, key=lambda name: rates[name])
    yield f"The slower of the two alone is {bound}: {rates[bound]:,.0f} images/s."


def measure(setting: Setting, sizes: Sizes | None = None) -> Iterator[str]:
    setting.use_threads()
    chosen = sizes or (LARGE if setting.device == "cuda" else TINY)
    yield from model_alone(setting, chosen)
    yield from end_to_end(setting, chosen)
