"""Small models of every kind with weights that matter, and what a checkpoint would tell of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vitlab.checkpoint.card import Card
from vitlab.data.preprocessing import Preprocessing
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

EXIF_ORIENTATION = 0x0112

NAMES = ["ash", "birch", "cedar", "fir", "oak"]


@pytest.fixture
def make_model():
    """Builds a ViT whose every parameter and statistic is random."""

    def make(patch_embed=None, image_size=32, embed_dim=64, in_channels=3, depth=2, **options):
        torch.manual_seed(0)
        patch_embed = patch_embed or LinearPatchEmbed(8, in_channels, embed_dim)
        model = VisionTransformer(
            patch_embed, image_size, len(NAMES), embed_dim, depth, num_heads=4, **options
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
        return model.eval()

    return make


@pytest.fixture
def make_card():
    """Returns what a checkpoint keeps under "vitlab", as far as an export reads it."""

    def make(image_size=(32, 32), stored_size=None, in_channels=3, **preprocessing):
        facts = {
            "stored_size": stored_size or image_size,
            "image_size": image_size,
            "in_channels": in_channels,
            "interpolation": "bicubic",
            "mean": (0.5, 0.4, 0.3)[:in_channels],
            "std": (0.2, 0.25, 0.3)[:in_channels],
        }
        config = {"name": "trees", "model": {"_target_": "vitlab.models.vit.VisionTransformer"}}
        return Card(config, NAMES, Preprocessing(**facts | preprocessing), data={})

    return make


def scene(width: int, height: int) -> Image.Image:
    """A gradient from left to right and one from top to bottom, an edge, and a fine pattern."""
    rows, columns = np.mgrid[0:height, 0:width]
    pattern = 90 * ((rows // 3 + columns // 2) % 2)
    pixels = np.stack(
        [200 * rows / height + 20, 255 * columns / width, 150 * (columns > width / 2) + pattern], axis=-1
    )
    return Image.fromarray(pixels.astype(np.uint8))


def half_clear(picture: Image.Image) -> Image.Image:
    """The same, a third clear, a third opaque, and the middle in between."""
    ramp = (
        np.linspace(-255, 510, picture.height)
        .clip(0, 255)
        .astype(np.uint8)[:, None]
        .repeat(picture.width, axis=1)
    )
    picture.putalpha(Image.fromarray(ramp))
    return picture


def write_pictures(folder: Path) -> list[Path]:
    """Writes them all, and returns their paths."""
    small, wide, large = scene(53, 37), scene(160, 90), scene(400, 290)
    rgba, grey = half_clear(scene(70, 60)), wide.convert("L")
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    palette = wide.quantize(12)
    turned = Image.Exif()
    turned[EXIF_ORIENTATION] = 6
    mirrored = Image.Exif()
    mirrored[EXIF_ORIENTATION] = 5
    pictures = {
        "small.png": (small, {}),
        "fits.png": (scene(40, 40), {}),
        "wide.jpg": (wide, {"quality": 90}),
        "large.png": (large, {}),
        "large_upright.png": (scene(250, 600), {}),
        "large_clear.png": (half_clear(scene(300, 300)), {}),
        "photograph.jpg": (scene(1200, 900), {}),  # of which a JPEG decoder gives a half or a quarter
        "turned.jpg": (wide, {"exif": turned}),
        "turned_large.jpg": (scene(900, 600), {"exif": turned}),
        "mirrored.png": (small, {"exif": mirrored}),
        "rgba.png": (rgba, {}),
        "rgba.tif": (rgba, {}),
        "rgba.webp": (rgba, {"lossless": True}),
        "grey.png": (grey, {}),
        "grey_large.png": (large.convert("L"), {}),
        "grey_clear.png": (rgba.convert("LA"), {}),
        "grey.jpg": (grey, {}),
        "grey_sixteen.png": (sixteen, {}),
        "grey_sixteen.tif": (sixteen, {}),
        "black_and_white.png": (grey.convert("1"), {}),
        "palette.png": (palette, {}),
        "palette_clear.png": (palette, {"transparency": 3}),
        "palette.gif": (palette, {"transparency": 5}),
        "palette.bmp": (palette, {}),
        "cmyk.jpg": (wide.convert("CMYK"), {}),
        "cmyk.tif": (wide.convert("CMYK"), {}),
        "colour_key.png": (wide, {"transparency": wide.getpixel((0, 0))}),
        "plain.ppm": (wide, {}),
        "plain.pgm": (grey, {}),
    }
    for name, (picture, options) in pictures.items():
        picture.save(folder / name, **options)
    return [folder / name for name in pictures]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A picture of every mode that a file can have, each of which shows a shift of a pixel, a mirrored side
    or a wrong white."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))
