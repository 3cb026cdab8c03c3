"""Makes the README's pictures again: a photograph's page, and attention through training, on insects that
this file draws.

    python -m benchmarks.readme_pictures    # about three minutes on one core; a Chromium must be installed

It draws 960 pictures of four insects, trains a ViT of 144 patches on them, has `vitlab predict` explain a new
picture, and photographs that page with the browser. Nothing here comes from a photograph, so the pictures may
be copied by anyone (MIT licence, as the code).
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).parents[1] / "docs" / "pictures"
CLASSES = ("bee", "beetle", "butterfly", "ladybird")
DARK = (25, 22, 20)

MODEL = [
    "data=folder",
    "model=vit_micro",
    "patch_embed=conv_stem",
    "data.image_size=96",
    "patch_size=8",
    "augment=light",
]
MODEL += [
    "trainer.max_epochs=14",
    "data.batch_size=48",
    "model.embed_dim=96",
    "model.num_heads=3",
    "optimizer=muon",
    "hardware=cpu",
]
MODEL += [
    "model.class_token=true",
    "model.global_pool=token",
]  # a class token must look where the insect is; a mean over patches need not
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def insect(name: str, side: int, draws: np.random.Generator) -> Image.Image:
    """Returns an insect seen from above on a clear ground, turned as it may be, no two of quite the same
    colour."""
    picture = Image.new("RGBA", (side, side))
    pen = ImageDraw.Draw(picture)

    def oval(x: float, y: float, width: float, height: float, colour: tuple[int, ...]) -> None:
        pen.ellipse(
            [side * (x - width), side * (y - height), side * (x + width), side * (y + height)], fill=colour
        )

    def near(*colour: int) -> tuple[int, ...]:
        return tuple(int(level) for level in np.clip(np.array(colour) + draws.integers(-25, 26, 3), 0, 255))

    if name == "ladybird":
        oval(0.5, 0.2, 0.14, 0.12, DARK)
        oval(0.5, 0.55, 0.33, 0.37, near(205, 35, 30))
        pen.line([side * 0.5, side * 0.18, side * 0.5, side * 0.92], DARK, max(side // 30, 1))
        for x, y in ((0.33, 0.4), (0.67, 0.4), (0.3, 0.65), (0.7, 0.65), (0.5, 0.3)):
            oval(x, y, 0.07, 0.07, DARK)
    elif name == "bee":
        for x in (0.22, 0.78):
            oval(x, 0.42, 0.2, 0.13, (225, 230, 235, 255))
        oval(0.5, 0.5, 0.2, 0.4, near(240, 190, 40))
        for y in (0.35, 0.52, 0.69):
            oval(0.5, y, 0.19, 0.045, DARK)
        oval(0.5, 0.13, 0.11, 0.09, DARK)
    elif name == "beetle":
        oval(0.5, 0.18, 0.17, 0.13, near(30, 50, 95))
        oval(0.5, 0.58, 0.27, 0.36, near(35, 85, 165))
        pen.line([side * 0.5, side * 0.24, side * 0.5, side * 0.92], DARK, max(side // 25, 1))
    else:
        wings = near(150, 70, 190)
        for x in (0.26, 0.74):
            oval(x, 0.32, 0.24, 0.22, wings)
            oval(x, 0.7, 0.19, 0.18, wings)
            oval(x, 0.32, 0.09, 0.08, (245, 225, 160))
        oval(0.5, 0.5, 0.05, 0.36, DARK)
    return picture.rotate(draws.uniform(0, 360), Image.Resampling.BICUBIC)


def draw(name: str, size: tuple[int, int], draws: np.random.Generator) -> Image.Image:
    """Returns a picture of (width, height): one insect somewhere on hazy greens and browns, within the middle
    square that a model sees."""
    side = min(size)
    ground = draws.integers((50, 80, 30), (150, 170, 90), (5, 7, 3)).astype(np.uint8)
    picture = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC)
    for _ in range(12):  # blades of grass
        x, reach = draws.uniform(0, size[0]), draws.uniform(-0.3, 0.3) * side
        colour = tuple(draws.integers((40, 80, 20), (120, 190, 80)).tolist())
        ImageDraw.Draw(picture).line(
            [x, size[1], x + reach, size[1] * draws.uniform(0, 0.6)], colour, max(side // 60, 1)
        )
    picture = picture.filter(ImageFilter.GaussianBlur(side / 120))
    length = round(side * draws.uniform(0.28, 0.42))
    left, top = (np.array(size) - side) // 2 + draws.integers(0, side - length, 2)
    body = insect(name, 2 * length, draws).resize((length, length), Image.Resampling.LANCZOS)
    picture.paste(body, (int(left), int(top)), body)
    noise = draws.normal(0, 4, (size[1], size[0], 1))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def draw_folder(folder: Path, count: int) -> Path:
    """Writes `count` pictures of each class into class folders, the same ones each time."""
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        draws = np.random.default_rng([7, number])
        for index in range(count):
            draw(name, (96, 96), draws).save(folder / name / f"{index:04}.png")
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
    flags = [
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        "--window-size=1280,1000",
        "--virtual-time-budget=4000",
    ]
    subprocess.run(
        [browser, *flags, f"--screenshot={shot}", page.resolve().as_uri()], check=True, capture_output=True
    )
    with Image.open(shot) as picture:
        picture.convert("RGB").save(target, quality=82, method=6)
    shot.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", default="outputs/readme_pictures", type=Path, help="for the drawn data, the run and the page"
    )
    out = parser.parse_args().out
    data, run, said = draw_folder(out / "insects", 240), out / "run", out / "predicted"
    if not (run / "checkpoints" / "best.ckpt").is_file():
        vitlab("train", *MODEL, f"data.root={data}", f"hydra.run.dir={run}", "resume=auto")
    draw("ladybird", (640, 480), np.random.default_rng(16)).save(out / "ladybird.png")
    vitlab(
        "predict",
        f"checkpoint={run}",
        f"images={out / 'ladybird.png'}",
        "explain=relevance,rollout",
        f"hydra.run.dir={said}",
    )
    photograph_of(said / "explained" / "ladybird.png.html", HERE / "photograph_page.webp")
    shutil.copy(run / "figures" / "attention_evolution.gif", HERE / "attention_through_training.gif")


if __name__ == "__main__":
    main()
