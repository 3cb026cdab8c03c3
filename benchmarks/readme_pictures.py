"""Makes the README's pictures again: a photograph's page, and attention through training, on shapes that this file draws.

    python -m benchmarks.readme_pictures    # about four minutes on two cores; a Chromium must be installed

It draws 1,600 pictures of four shapes, trains a ViT of 144 patches on them, has `vitlab predict` explain a new picture, and photographs
that page with the browser. Nothing here comes from a photograph, so the pictures may be copied by anyone (MIT licence, as the code).
"""

import argparse
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).parents[1] / "docs" / "pictures"
CORNERS = {"triangle": (3, 1.0), "square": (4, 1.0), "star": (10, 0.45), "circle": (60, 1.0)}
"""Corners of each shape, and how near to the middle every second one lies."""

MODEL = ["data=folder", "model=vit_micro", "patch_embed=conv_stem", "data.image_size=96", "patch_size=8", "augment=light"]
MODEL += ["trainer.max_epochs=12", "data.batch_size=64", "model.embed_dim=96", "model.depth=4", "model.num_heads=3", "optimizer=muon"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def outline(name: str, centre: np.ndarray, radius: float, turn: float) -> list[tuple[float, float]]:
    """Returns a shape's corners, in pixels."""
    count, inner = CORNERS[name]
    angles = turn + 2 * math.pi * np.arange(count) / count
    reach = radius * np.where(np.arange(count) % 2, inner, 1.0)
    return [tuple(corner) for corner in centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)]


def draw(name: str, size: tuple[int, int], draws: np.random.Generator) -> Image.Image:
    """Returns a picture of (width, height) with one shape on a hazy ground; thin arcs of all colours lie about, and mean nothing."""
    side = min(size)
    ground = draws.integers(40, 216, (4, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(side / 30))
    pen = ImageDraw.Draw(picture)
    for _ in range(7):
        x, y = draws.uniform(0, 1, 2) * size
        start, reach = draws.uniform(0, 360), side * draws.uniform(0.05, 0.12)
        colour = tuple(draws.integers(0, 256, 3).tolist())
        pen.arc([x - reach, y - reach, x + reach, y + reach], start, start + draws.uniform(60, 150), colour, round(side / 40))
    radius = side * draws.uniform(0.13, 0.2)
    margin = (np.array(size) - side) / 2 + radius  # within the centre, which is all that the model sees
    centre = draws.uniform(margin, np.array(size) - margin)
    colour = tuple(draws.integers(0, 256, 3).tolist())
    pen.polygon(outline(name, centre, radius, draws.uniform(0, 2 * math.pi)), fill=colour)
    noise = draws.normal(0, 6, (size[1], size[0], 1))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def draw_folder(folder: Path, count: int) -> Path:
    """Writes `count` pictures of each shape into class folders, the same ones each time."""
    for number, name in enumerate(CORNERS):
        (folder / name).mkdir(parents=True, exist_ok=True)
        draws = np.random.default_rng([7, number])
        for index in range(count):
            draw(name, (192, 192), draws).resize((96, 96), Image.Resampling.LANCZOS).save(folder / name / f"{index:04}.png")
    return folder


def vitlab(*arguments: str) -> None:
    print("vitlab", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "vitlab.cli", *arguments], check=True, stdout=subprocess.DEVNULL)


def photograph_of(page: Path, target: Path) -> None:
    """Writes what a browser shows of a page at 1,280 px, as WebP."""
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if browser is None:
        raise SystemExit(f"no browser is installed; one of {', '.join(BROWSERS)} would work")
    shot = target.with_suffix(".png")
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,1000", "--virtual-time-budget=4000"]
    subprocess.run([browser, *flags, f"--screenshot={shot}", page.resolve().as_uri()], check=True, capture_output=True)
    with Image.open(shot) as picture:
        picture.convert("RGB").save(target, quality=82, method=6)
    shot.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="outputs/readme_pictures", type=Path, help="for the drawn data, the run and the page")
    out = parser.parse_args().out
    data, run, said = draw_folder(out / "shapes", 400), out / "run", out / "predicted"
    if not (run / "checkpoints" / "best.ckpt").is_file():
        vitlab("train", *MODEL, "hardware=cpu", f"data.root={data}", f"hydra.run.dir={run}")
    draw("star", (640, 480), np.random.default_rng(16)).save(out / "star.png")
    vitlab("predict", f"checkpoint={run}", f"images={out / 'star.png'}", "explain=relevance,rollout", f"hydra.run.dir={said}")
    photograph_of(said / "explained" / "star.png.html", HERE / "photograph_page.webp")
    shutil.copy(run / "figures" / "attention_evolution.gif", HERE / "attention_through_training.gif")


if __name__ == "__main__":
    main()
