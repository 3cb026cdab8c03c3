"""Strangers' image files come out as the picture they show, or are refused in one line."""

import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from vitlab.data.files.decode import Reading, read_image, read_pixels


def png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes) -> Path:
    """Writes a PNG chunk by chunk: for what Pillow cannot write, and for headers that lie."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without noise, uint8 [height, width, 3], different in every corner and channel."""
    y, x = np.mgrid[0:height, 0:width]
    return (
        np.stack([120 + 90 * np.sin(x / 9 + c) * np.cos(y / 7 - c) + 0.3 * y - 0.2 * x for c in range(3)], -1)
        .clip(0, 255)
        .astype(np.uint8)
    )


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read_image(path, 8, 3)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_lossless_files_give_their_pixels_exactly(tmp_path: Path, suffix: str) -> None:
    pixels = smooth(10, 12)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    assert (read_image(tmp_path / f"a.{suffix}", (10, 12), 3) == pixels.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_files_come_out_close_to_what_was_saved(tmp_path: Path, suffix: str) -> None:
    pixels = smooth(32, 32)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", quality=95)
    assert (
        np.abs(read_image(tmp_path / f"a.{suffix}", 32, 3).astype(int) - pixels.transpose(2, 0, 1)).mean() < 3
    )


def test_a_name_with_the_wrong_suffix_spaces_and_unicode_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "große Blüte 花.jpg"
    Image.fromarray(smooth(8, 8)).save(path, "PNG")
    assert (read_image(path, 8, 3) == smooth(8, 8).transpose(2, 0, 1)).all()


def test_cmyk_becomes_the_colour_it_prints(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "a.jpg", 8, 3).astype(int)
    assert red.min() > 235 and green.max() < 20 and blue.max() < 20


@pytest.mark.parametrize("mode, value, shown", [("L", 77, 77), ("1", 1, 255), ("1", 0, 0)])
def test_grey_and_1_bit_fill_all_three_channels(tmp_path: Path, mode: str, value: int, shown: int) -> None:
    Image.new(mode, (8, 8), value).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", 8, 3) == shown).all()


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    cases = {
        "RGBA": (
            Image.new("RGBA", (8, 8), (200, 100, 0, 51)),
            {},
            (244, 224, 204),
        ),  # a fifth of the colour, four fifths of white
        "LA": (Image.new("LA", (8, 8), (0, 102)), {}, (153, 153, 153)),
        "hidden black": (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), {}, (255, 255, 255)),
        "one grey value": (Image.new("L", (8, 8), 9), {"transparency": 9}, (255, 255, 255)),
    }
    for name, (image, settings, shown) in cases.items():
        image.save(tmp_path / f"{name}.png", **settings)
        pixels = read_image(tmp_path / f"{name}.png", 8, 3).astype(int)
        assert np.abs(pixels - np.array(shown)[:, None, None]).max() <= 1, name


def test_a_palette_keeps_its_colours_and_its_transparent_entries_turn_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(1, (4, 0, 8, 8))
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "half.png", transparency=bytes([0, 255]))
    assert read_image(tmp_path / "plain.png", 8, 3)[:, 0, 0].tolist() == [10, 20, 30]
    transparent = read_image(tmp_path / "half.png", 8, 3)
    assert transparent[:, 0, 0].tolist() == [255, 255, 255] and transparent[:, 0, 7].tolist() == [200, 0, 0]


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif", 8, 3)[:, 0, 0].tolist() == [250, 0, 0]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (16, 16), dtype=np.uint16)
    values[0, :2] = 0, 65535
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    for channels in (1, 3):
        assert (read_image(tmp_path / f"a.{suffix}", 16, channels) == np.round(values / 257)).all()


def test_16_bit_colour_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    pixels = read_image(png(tmp_path / "a.png", 8, 8, 16, 2, rows), 8, 3)
    assert np.abs(pixels - (values / 257).transpose(2, 0, 1)).max() <= 1


def test_32_bit_pixels_are_refused_because_their_range_is_unknown(tmp_path: Path) -> None:
    for dtype in (np.float32, np.int32):
        Image.fromarray(np.full((8, 8), 100_000, dtype)).save(tmp_path / "a.tiff")
        assert "32 bits" in refusal(tmp_path / "a.tiff")


STORED_BY_ORIENTATION: dict[
    int, Callable[[np.ndarray], np.ndarray]
] = {  # EXIF 2.32, tag 0x0112: which side of the scene row 0 and column 0 are
    1: lambda scene: scene,
    2: lambda scene: scene[:, ::-1],  # top, right
    3: lambda scene: scene[::-1, ::-1],  # bottom, right
    4: lambda scene: scene[::-1],  # bottom, left
    5: lambda scene: scene.swapaxes(0, 1),  # left, top
    6: lambda scene: scene[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda scene: scene[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda scene: scene[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED_BY_ORIENTATION)
def test_exif_orientation_shows_the_scene_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    colour, grey = smooth(10, 16), smooth(10, 16)[..., 0].astype(np.uint16) * 257
    for name, scene, channels in (("colour", colour, 3), ("16 bit", grey, 1)):
        Image.fromarray(np.ascontiguousarray(STORED_BY_ORIENTATION[orientation](scene))).save(
            tmp_path / f"{name}.png", exif=exif
        )
        pixels = read_image(tmp_path / f"{name}.png", (10, 16), channels)
        assert (pixels == (colour.transpose(2, 0, 1) if channels == 3 else colour[..., 0])).all(), name


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    "height, width, size", [(40, 60, (20, 20)), (60, 40, (20, 20)), (48, 72, (24, 36)), (20, 30, (40, 40))]
)
def test_resize_is_torchs_antialiased_one_then_a_centre_crop(
    tmp_path: Path,
    height: int,
    width: int,
    size: tuple[int, int],
    interpolation: Literal["bicubic", "bilinear"],
) -> None:
    Image.fromarray(smooth(height, width)).save(tmp_path / "a.png")
    scale = max(size[0] / height, size[1] / width)
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(smooth(height, width)).permute(2, 0, 1)[None].float(),
        size=(round(height * scale), round(width * scale)),
        mode=interpolation,
        antialias=True,
    )[0]
    top, left = (whole.shape[1] - size[0]) // 2, (whole.shape[2] - size[1]) // 2
    expected = whole[:, top : top + size[0], left : left + size[1]].clamp(0, 255)
    difference = (
        torch.from_numpy(read_image(tmp_path / "a.png", size, 3, interpolation)).float() - expected
    ).abs()
    assert difference.max() <= 1.2  # Pillow rounds to 8 bits twice, after the rows and after the columns


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    "height, width, size", [(300, 420, (30, 30)), (600, 420, (24, 36)), (260, 260, (300, 300))]
)
def test_large_pictures_are_resized_as_pillow_does_it_but_for_their_edges(
    tmp_path: Path,
    height: int,
    width: int,
    size: tuple[int, int],
    interpolation: Literal["bicubic", "bilinear"],
    channels: Literal[1, 3],
) -> None:
    noise = np.random.default_rng(0).integers(-20, 20, (height, width, 3))
    scene = Image.fromarray((smooth(height, width) + noise).clip(0, 255).astype(np.uint8)).convert(
        {1: "L", 3: "RGB"}[channels]
    )
    scene.save(tmp_path / "a.png")
    expected = np.asarray(ImageOps.fit(scene, size[::-1], Image.Resampling[interpolation.upper()])).reshape(
        *size, channels
    )
    difference = np.abs(
        read_image(tmp_path / "a.png", size, channels, interpolation).transpose(1, 2, 0).astype(int)
        - expected
    )
    inside = difference[2:-2, 2:-2]  # at the edges Pillow's filter reaches beyond the part that is cut out
    assert inside.max() <= 1 and inside.mean() < 0.02 and difference.max() <= 12


def test_a_large_jpeg_decoded_at_less_than_its_size_shows_what_the_whole_one_shows(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 20, (1200, 1600, 3))
    scene = Image.fromarray((smooth(1200, 1600) + noise).clip(0, 255).astype(np.uint8))
    scene.save(tmp_path / "a.jpg", quality=90)
    scene.save(tmp_path / "a.png")
    assert read_pixels(tmp_path / "a.jpg", 3, Reading(), at_least=192).shape == (300, 400, 3)
    for channels in (1, 3):
        difference = read_image(tmp_path / "a.jpg", 64, channels).astype(float) - read_image(
            tmp_path / "a.png", 64, channels
        )
        assert np.abs(difference).mean() < 1.0 and np.abs(difference).max() <= 6


def test_a_line_of_50_000_pixels_is_cropped_at_its_middle(tmp_path: Path) -> None:
    line = np.linspace(0, 255, 50_000).round().astype(np.uint8)
    Image.fromarray(line[:, None]).save(tmp_path / "a.png")
    assert set(read_image(tmp_path / "a.png", 32, 1).ravel().tolist()) <= {127, 128}


def test_one_channel_is_the_luminance(tmp_path: Path) -> None:
    pixels = smooth(16, 16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    luminance = pixels @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(read_image(tmp_path / "a.png", 16, 1)[0] - luminance).max() <= 1


@pytest.mark.parametrize(
    "width, height", [(9_000, 9_939), (8_900, 10_050), (13_000, 13_000), (20_000, 20_000), (60_000, 60_000)]
)
def test_more_than_89_megapixels_are_refused_before_they_are_decoded(
    tmp_path: Path, width: int, height: int
) -> None:
    # There are no rows: had decoding begun, the complaint would be about those.
    message = refusal(png(tmp_path / "bomb.png", width, height, 8, 2, b""))
    assert "pixels" in message and "truncated" not in message


@pytest.mark.parametrize("side", [9_450, 13_500, 20_000])
def test_pillows_own_limit_is_raised_as_asked(
    tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # it is the process's
    path = png(tmp_path / "large.png", side, side, 1, 0, b"")  # no rows: it is to be refused for that
    needed = math.ceil(side * side / 1e6)
    assert (
        f"{side * side:,} pixels are more than 89 million; data.max_megapixels={needed} would read it"
        in refusal(path)
    )
    with pytest.raises(ValueError, match=r"truncated|broken"):
        read_image(path, 8, 3, reading=Reading(max_megapixels=needed))


def test_damaged_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    Image.fromarray(smooth(64, 64)).save(tmp_path / "good.jpg")
    Image.fromarray(smooth(64, 64)).save(tmp_path / "good.png")
    jpg, png_bytes = (tmp_path / "good.jpg").read_bytes(), (tmp_path / "good.png").read_bytes()
    data = png_bytes.index(b"IDAT") + 20
    cases = {
        "empty.jpg": (b"", "empty"),
        "page.jpg": (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        "vector.png": (b'<?xml version="1.0"?><svg/>', "web page or xml"),
        "garbage.jpg": (bytes(range(256)) * 4, "formats"),
        "printed.jpg": (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "formats",
        ),  # would start Ghostscript
        "half.jpg": (jpg[: len(jpg) // 2], "truncated"),
        "half.png": (png_bytes[: len(png_bytes) // 2], "truncated"),
        "header.png": (png_bytes[:20], ""),
        "flipped.png": (
            png_bytes[:data] + bytes(b ^ 255 for b in png_bytes[data : data + 40]) + png_bytes[data + 40 :],
            "",
        ),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert reason in refusal(tmp_path / name).lower(), name
    assert "No such file" in refusal(tmp_path / "missing.jpg")
    assert "directory" in refusal(tmp_path)


def test_no_damage_to_the_bytes_gets_past_as_anything_but_an_image_or_a_refusal(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "a"
    refused = 0
    for suffix in ("jpeg", "png", "gif", "webp", "tiff", "bmp"):
        Image.fromarray(smooth(24, 24)).save(path, suffix)
        good = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            bad = good.copy()
            bad[random.integers(0, len(bad), 6)] = random.integers(0, 256, 6)
            path.write_bytes(bad.tobytes()[: random.integers(1, 2 * len(bad))])
            try:
                assert read_image(path, 16, 3).shape == (3, 16, 16)
            except ValueError as error:
                refused += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 50
