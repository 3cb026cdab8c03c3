"""A patch's place in the photograph is where the model's patch comes from, whatever resizing and cropping lie
between."""

import numpy as np
import pytest
import torch
from PIL import Image

from vitlab.data.augment.crop import centre_view
from vitlab.data.files.decode import read_image
from vitlab.data.files.fit import with_bars
from vitlab.gallery.seen import Rectangle, overlay_on_original, seen_rectangle
from vitlab.pictures.drawing import colours

CASES = {
    "wide, squashed": ((90, 163), (36, 36), (32, 32), "squash"),
    "wide, padded": ((90, 163), (36, 36), (32, 32), "pad"),
    "tall, padded": ((211, 100), (40, 40), (32, 32), "pad"),
    "wide, stored larger than seen": ((90, 163), (36, 36), (32, 32)),
    "tall": ((211, 100), (40, 40), (32, 32)),
    "stored smaller than seen": ((120, 97), (24, 24), (32, 32)),
    "rectangular images": ((130, 70), (48, 72), (32, 64)),
    "as stored": ((32, 32), (32, 32), (32, 32)),
    "smaller than stored": ((20, 31), (36, 36), (32, 32)),
}


def grid_of(image_size):
    return image_size[0] // 8, image_size[1] // 8


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_patch_painted_in_a_rotated_photograph_fills_that_patch_of_what_the_model_sees_and_no_other(
    case, tmp_path
):
    size, stored, image_size, *more = case
    fit = more[0] if more else "crop"
    shown = with_bars(np.zeros((*size, 1), np.uint8), stored).shape[:2] if fit == "pad" else size
    bars = (shown[0] - size[0]) // 2, (shown[1] - size[1]) // 2
    grid, seen = grid_of(image_size), seen_rectangle(shown, stored, image_size, fit)
    for row, column in [(1, 1), (1, 2)] if fit == "pad" else [(0, 0), (grid[0] - 1, grid[1] - 1), (1, 2)]:
        left, top, right, bottom = seen.cell(row, column, grid).whole()
        upright = np.zeros((*size, 3), dtype=np.uint8)
        upright[top - bars[0] : bottom - bars[0], left - bars[1] : right - bars[1]] = 255
        exif = Image.Exif()
        exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
        file = tmp_path / "photo.png"
        Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90).save(file, exif=exif)
        view = (
            centre_view(torch.from_numpy(read_image(file, stored, 3, fit=fit))[None], image_size)[0]
            .float()
            .mean(dim=0)
            / 255
        )
        light = view.unflatten(0, (grid[0], -1)).unflatten(2, (grid[1], -1)).mean(dim=(1, 3))
        assert light[row, column] > 0.75  # less than 1 where few pixels were resized
        if fit == "pad":
            light = light.where(light - 128 / 255 > 0.01, light * 0)  # bars
        light[row, column] = 0
        assert light.max() < 0.25


def test_an_overlay_colours_the_patch_and_hatches_what_the_model_never_saw():
    size, stored, image_size = CASES["wide, stored larger than seen"]
    seen = seen_rectangle(size, stored, image_size)
    picture = np.full((*size, 3), 200, dtype=np.uint8)
    heat = torch.zeros(4, 4)
    heat[1, 2] = 8.0
    drawn = overlay_on_original(picture, seen, heat, vmax=8.0)
    left, top, right, bottom = seen.cell(1, 2, (4, 4)).whole()
    expected = 0.4 * picture[0, 0] + 0.6 * colours(torch.tensor([[8.0]]))[0, 0]
    assert np.abs(drawn[top + 1 : bottom - 1, left + 1 : right - 1] - expected).max() <= 1
    coloured = (drawn != picture).any(axis=2)
    left, top, right, bottom = seen.whole()
    assert coloured[top:bottom, left:right].sum() == pytest.approx(
        (right - left) * (bottom - top) / 16, rel=0.1
    )
    coloured[top:bottom, left:right] = True
    assert coloured.all()  # hatched: every pixel is paler or a line


def test_edges_between_pixels_never_close_to_nothing():
    assert Rectangle(3.2, 4.9, 3.3, 5.0).whole() == (3, 5, 4, 6)
