"""How long a linear probe takes the first time and the second, whole command each; the goal is below 10 %.

    python -m benchmarks.studies.linear_probe [--data DIR] [--images 3670] [--model small]

Without --data it writes noise as photographs of five classes. The backbone has random weights: they take as
long as trained ones.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.machine import where
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

SIZES = {
    "micro": (64, 2, 1),
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
}  # width, blocks, heads
CLASSES = ("daisy", "dandelion", "rose", "sunflower", "tulip")


def write_photographs(root: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    for index in range(count):
        folder = root / CLASSES[index % len(CLASSES)]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((320, 240)).save(folder / f"{index}.jpg", quality=90)


def write_weights(file: Path, name: str, image_size: int) -> None:
    torch.manual_seed(0)
    embed_dim, depth, num_heads = SIZES[name]
    model = VisionTransformer(
        LinearPatchEmbed(16, 3, embed_dim), image_size, 1000, embed_dim, depth, num_heads
    )
    save_file(model.state_dict(), file)


def timed_run(folder: Path, overrides: list[str]) -> tuple[float, float]:
    """Runs the command; returns its wall seconds and the test accuracy."""
    command = [
        sys.executable,
        "-c",
        "from vitlab.cli import main; main()",
        "train",
        "experiment=flowers_linear_probe",
        *overrides,
    ]
    start = time.perf_counter()
    environment = os.environ | {"XDG_CACHE_HOME": str(folder.parent / "cache")}
    subprocess.run([*command, f"hydra.run.dir={folder}"], check=True, env=environment, cwd=folder.parent)
    seconds = time.perf_counter() - start
    return seconds, json.loads((folder / "run.json").read_text())["metrics"]["test/accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder with photographs in class folders")
    parser.add_argument("--images", type=int, default=3670, help="how many to make up without --data")
    parser.add_argument("--model", choices=SIZES, default="small")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("overrides", nargs="*", help="of the config, for example hardware=cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.data is None:
            write_photographs(folder / "photographs", options.images)
        write_weights(folder / "vit.safetensors", options.model, options.image_size)
        overrides = [
            "data=folder",
            f"data.root={options.data.resolve() if options.data else folder / 'photographs'}",
        ]
        overrides += [
            f"model.weights=timm:{folder / 'vit.safetensors'}",
            f"data.image_size={options.image_size}",
            *options.overrides,
        ]
        first, accuracy = timed_run(folder / "first", overrides)
        second, again = timed_run(folder / "second", overrides)
    print(f"{where()}; ViT-{options.model} at {options.image_size} px")
    print(
        f"first run {first:.1f} s, second run {second:.1f} s: {100 * second / first:.1f} % (test accuracy"
        f" {accuracy:.4f}, {again:.4f})"
    )


if __name__ == "__main__":
    main()
