"""Colours mean the same everywhere: what is drawn can be read back as the values it was drawn from."""

from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from vitlab.pictures.drawing import (
    STRENGTH,
    UNIFORM_RANGE,
    colours,
    enlarge,
    fit,
    fitting_range,
    gif,
    in_uniform,
    overlay,
    photograph,
    png,
)
from vitlab.pictures.sheets import Bar, Row, Text, gallery, sheet, uniform_bar

GREY = np.full((32, 48, 3), 128, dtype=np.uint8)


def matplotlibs(value, low, high, name):
    return np.round(np.array(colormaps[name]((value - low) / (high - low)))[:3] * 255)


@pytest.mark.parametrize(("name", "low", "high"), [("inferno", 0.0, UNIFORM_RANGE), ("viridis", -1.0, 1.0)])
def test_a_value_has_matplotlibs_colour_and_the_range_ends_where_it_says(name, low, high):
    values = torch.linspace(low, high, 12).view(3, 4)
    picture = colours(values, high, low, name)
    for place, value in np.ndenumerate(values.numpy()):
        np.testing.assert_allclose(
            picture[place], matplotlibs(value, low, high, name), atol=3
        )  # half a step of 256
    beyond = colours(torch.tensor([[low - 5.0, high + 5.0]]), high, low, name)
    assert (beyond == colours(torch.tensor([[low, high]]), high, low, name)).all()


def test_uniform_attention_is_one_flat_colour_whatever_the_grid():
    colour = set()
    for grid in ((4, 4), (2, 8), (7, 5)):
        heat = in_uniform(torch.full((1, *grid), 1 / (grid[0] * grid[1])))[0]
        colour |= {tuple(pixel) for pixel in overlay(GREY, heat).reshape(-1, 3)}
    assert len(colour) == 1


def test_an_overlay_is_the_formula_at_every_pixel_and_patches_keep_hard_edges():
    heat = torch.tensor([[0.0, 1.0, 4.0], [8.0, 100.0, 2.0]])
    shown = overlay(GREY, heat)
    for row, column in np.ndindex(2, 3):
        patch = shown[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16].reshape(-1, 3)
        assert len(np.unique(patch, axis=0)) == 1
        share = STRENGTH * min(float(heat[row, column]) / UNIFORM_RANGE, 1.0)
        value = min(float(heat[row, column]), UNIFORM_RANGE)
        np.testing.assert_allclose(
            patch[0], (1 - share) * 128 + share * matplotlibs(value, 0.0, UNIFORM_RANGE, "inferno"), atol=2
        )
    assert (
        overlay(GREY, torch.zeros(2, 3)) == GREY
    ).all()  # where nothing is attended to, the photograph is untouched


def test_a_photograph_comes_back_from_what_the_model_sees():
    pixels = torch.randint(0, 256, (3, 6, 5), generator=torch.Generator().manual_seed(0))
    mean, std = [0.2, 0.5, 0.7], [0.1, 0.3, 0.2]
    seen = (pixels / 255.0 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert (photograph(seen, mean, std) == pixels.permute(1, 2, 0).numpy()).all()
    grey = photograph(seen[:1], mean[:1], std[:1])
    assert (grey == pixels[0].numpy()[..., None]).all() and grey.shape == (6, 5, 3)


@pytest.mark.parametrize("size", [(8, 8), (32, 48), (100, 30)])
def test_enlarging_makes_whole_squares_of_pixels(size):
    small = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    large = enlarge(small, at_least=96)
    factor = large.shape[0] // size[0]
    assert min(large.shape[:2]) >= 96 and large.shape[:2] == (factor * size[0], factor * size[1])
    assert (large[::factor, ::factor] == small).all() and (
        large[factor - 1 :: factor, factor - 1 :: factor] == small
    ).all()


def test_a_large_photograph_is_shrunk_to_the_mean_of_its_pixels():
    checkered = np.indices((384, 192)).sum(axis=0) % 2 * 200
    small = fit(np.repeat(checkered[..., None], 3, axis=2).astype(np.uint8), 128)
    assert max(small.shape[:2]) == 128
    assert abs(small.astype(int) - 100).max() <= 12


def texts_in(page, colour):
    """Columns of pixels that have this colour."""
    return np.flatnonzero((page == colour).all(axis=2).any(axis=0))


@pytest.mark.parametrize(
    "words",
    ["rose", "a flower with a name that is longer than any column of a sheet can be", "Gänseblümchen × ß"],
)
def test_no_words_leave_the_page_or_touch_the_pictures(words):
    blue = np.zeros((40, 40, 3), dtype=np.uint8)
    blue[..., 2] = 255
    rows = [Row([blue, blue], [Text(words, warns=True)])] * 2
    page = sheet(rows, [[Text(words)], [Text(words)]], words, [Text(words)], [uniform_bar()])
    margin = np.concatenate(
        [page[:, :8].reshape(-1, 3), page[:, -8:].reshape(-1, 3), page[-8:].reshape(-1, 3)]
    )
    assert (margin == 255).all()
    assert (page == (0, 0, 255)).all(axis=2).sum() == 4 * blue[..., 0].size  # the pictures are whole
    red = texts_in(page, (190, 40, 40))
    assert len(red) and red.max() < texts_in(page, (0, 0, 255)).min()


@pytest.mark.parametrize("width", [1, 50, 128])
def test_a_verdict_over_pictures_however_narrow_is_written_whole(width):
    def verdict_ink(width):
        column = [Text("relevance for what it said"), Text("no better than random here", warns=True)]
        return (
            (sheet([Row([np.zeros((40, width, 3), dtype=np.uint8)] * 2)], [column] * 2) == (190, 40, 40))
            .all(axis=2)
            .sum()
        )

    assert verdict_ink(width) == verdict_ink(400) > 0


def test_a_sheets_bar_shows_the_colours_that_its_pictures_are_drawn_in():
    bar = Bar("a unit", 2.0, -2.0, (-2, 0, 2), "viridis")
    cell = np.full((20, 20, 3), 255, dtype=np.uint8)
    page = sheet([Row([cell])], bars=[bar])
    expected = colours(torch.linspace(-2.0, 2.0, 280)[None], 2.0, -2.0, "viridis")[0]
    assert any((line[12 : 12 + 280] == expected).all() for line in page)


def test_png_and_gif_give_the_pictures_back():
    frames = [np.full((20, 30, 3), level, dtype=np.uint8) for level in (10, 100, 200)]
    with Image.open(BytesIO(png(frames[1]))) as still:
        assert (np.asarray(still) == frames[1]).all()
    with Image.open(BytesIO(gif(frames))) as moving:
        assert moving.n_frames == 3 and moving.info["loop"] == 0
        durations = []
        for index, frame in enumerate(frames):
            moving.seek(index)
            durations.append(moving.info["duration"])
            np.testing.assert_allclose(np.asarray(moving.convert("RGB")).astype(int), frame, atol=8)
    assert durations[2] == 3 * durations[0] == 3 * durations[1]


def test_an_animations_colours_mean_what_the_bar_says():
    rows, columns = np.mgrid[:96, :96]
    scenery = np.stack([rows * 2, columns * 2, 255 - rows - columns], axis=2).astype(np.uint8)
    page = sheet([Row([scenery, scenery.transpose(1, 0, 2)[::-1].copy()])], bars=[uniform_bar()])
    bar = colours(torch.linspace(0, UNIFORM_RANGE, 280)[None])[0]
    (top,) = {
        y
        for y in range(len(page) - 1)
        if (page[y, 12:292] == bar).all() and not (page[y - 1, 12:292] == bar).all()
    }
    with Image.open(BytesIO(gif([page]))) as moving:
        drawn = np.asarray(moving.convert("RGB"))[top, 12:292].astype(int)
    assert np.abs(drawn - bar).max() < 32


def test_a_class_name_with_a_line_break_stands_in_one_line():
    cell = np.full((40, 40, 3), 90, np.uint8)
    broken, whole = (
        sheet([Row([cell], [Text(name)])], [[Text(name)]], "title")
        for name in ("bell\nflower", "bell flower")
    )
    np.testing.assert_array_equal(broken, whole)


@pytest.mark.parametrize(("count", "in_a_line"), [(1, 1), (3, 3), (4, 3), (9, 3)])
def test_a_gallery_shows_every_picture_once_in_lines_under_its_own_caption(count, in_a_line):
    shades = [(10 * number, 0, 255) for number in range(count)]
    pictures = [np.full((24, 40, 3), shade, np.uint8) for shade in shades]
    page = gallery(pictures, [[Text(f"number {number}")] for number in range(count)], columns=3)
    places = [np.argwhere((page == shade).all(axis=2)) for shade in shades]
    corners = [(int(place[:, 0].min()), int(place[:, 1].min())) for place in places]
    assert corners == sorted(corners) and len({top for top, _ in corners}) == -(-count // in_a_line)
    for shade, (top, left) in zip(shades, corners, strict=True):
        assert (page[top : top + 24, left : left + 40] == shade).all()
        assert (page[top - 16 : top, left : left + 40] < 128).any()  # words


@pytest.mark.parametrize(
    ("largest", "high"), [(0.0, 2), (2.0, 2), (2.01, 4), (7.9, 8), (8.1, 16), (40.0, 16)]
)
def test_the_range_of_a_picture_that_stands_alone_is_the_smallest_that_holds_its_largest_value(largest, high):
    assert fitting_range(torch.tensor([[0.0, largest]])) == high
