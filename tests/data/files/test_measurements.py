"""Files that hold measurements where others hold colours come out as what they show, or are refused with the
true reason."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vitlab.data.files.decode import read_image

RANDOM = np.random.default_rng(0)


def tiff(path: Path, *pages: np.ndarray, order: str = "<", **tags: Any) -> Path:
    """Writes pages [height, width] or [height, width, bands] as a TIFF with these tags (TIFF 6.0), one strip
    each."""
    content, link = {"<": b"II*\0", ">": b"MM\0*"}[order] + bytes(4), 4
    for pixels in pages:
        bands = pixels.shape[2] if pixels.ndim == 3 else 1
        entries = {
            256: [pixels.shape[1]],
            257: [pixels.shape[0]],
            258: [8 * pixels.itemsize] * bands,
            259: [1],
            262: [2 if bands > 2 else 1],
        }
        entries |= {273: [len(content)], 277: [bands], 278: [pixels.shape[0]], 279: [pixels.nbytes]}
        entries |= {
            {"meaning": 262, "extra": 338, "kind": 339, "subfile": 254, "bits": 258}[name]: value
            for name, value in tags.items()
        }
        content += pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        table, more = b"", b""
        start = len(content)
        for tag, values in sorted(entries.items()):
            packed = struct.pack(f"{order}{len(values)}L", *values)
            if len(values) > 1:
                packed, more = (
                    struct.pack(f"{order}L", start + 6 + 12 * len(entries) + len(more)),
                    more + packed,
                )
            table += struct.pack(f"{order}HHL", tag, 4, len(values)) + packed
        content = content[:link] + struct.pack(f"{order}L", start) + content[link + 4 :]
        content += struct.pack(f"{order}H", len(entries)) + table + bytes(4) + more
        link = start + 2 + len(table)
    path.write_bytes(content)
    return path


def levels(*shape: int, dtype: Any = np.uint8, below: int | None = None) -> np.ndarray:
    """Noise over the whole range of a type, or below a value."""
    return RANDOM.integers(0, below or np.iinfo(dtype).max + 1, shape).astype(dtype)


def refusal(path: Path, channels: int = 3) -> str:
    with pytest.raises(ValueError) as caught:
        read_image(path, 8, channels)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_few_bits_of_grey_in_16_are_refused_with_the_values_and_the_levels_that_would_be_left(
    tmp_path: Path, bits: int, suffix: str
) -> None:
    pixels = levels(8, 8, dtype=np.uint16, below=2**bits)
    pixels[0, 0] = 2**bits - 1
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    left = (2**bits - 1) * 255 / 65535 + 1
    assert f"values end at {2**bits - 1:,} of 65,535" in refusal(tmp_path / f"a.{suffix}", 1)
    assert f"{left:.0f} of 256 levels would be left" in refusal(tmp_path / f"a.{suffix}", 3)


@pytest.mark.parametrize("extra", [None, [2]])
def test_few_bits_of_colour_in_16_are_refused_too(tmp_path: Path, extra: list[int] | None) -> None:
    pixels = levels(8, 8, 4 if extra else 3, dtype=np.uint16, below=4096)
    if extra:
        pixels[..., 3] = 65535
    assert "16-bit file" in refusal(tiff(tmp_path / "a.tif", pixels, **({"extra": extra} if extra else {})))
    (tmp_path / "a.ppm").write_bytes(b"P6 8 8 65535\n" + pixels[..., :3].astype(">u2").tobytes())
    assert "16-bit file" in refusal(tmp_path / "a.ppm")


def test_black_is_black_with_any_number_of_bits(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "a.png")
    assert not read_image(tmp_path / "a.png", 8, 1).any()


def test_a_file_that_names_its_white_is_scaled_to_it(tmp_path: Path) -> None:
    pixels = levels(8, 8, dtype=np.uint16, below=1024)
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 1023\n" + pixels.astype(">u2").tobytes())
    assert np.abs(read_image(tmp_path / "a.pgm", 8, 1)[0] - pixels / 1023 * 255).max() <= 1
    (tmp_path / "dark.pgm").write_bytes(b"P5 8 8 1023\n" + (pixels // 8).astype(">u2").tobytes())
    assert np.abs(read_image(tmp_path / "dark.pgm", 8, 1)[0] - pixels // 8 / 1023 * 255).max() <= 1
    packed = np.array(
        [(even >> 4, (even & 15) << 4 | odd >> 8, odd & 255) for even, odd in (4 * pixels).reshape(-1, 2)],
        np.uint8,
    )
    content = tiff(tmp_path / "12.tif", packed.reshape(8, 12), bits=[12]).read_bytes()
    (tmp_path / "12.tif").write_bytes(
        content.replace(struct.pack("<HHLL", 256, 4, 1, 12), struct.pack("<HHLL", 256, 4, 1, 8))
    )
    assert np.abs(read_image(tmp_path / "12.tif", 8, 1)[0] - 4 * pixels / 4095 * 255).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_min_is_white_is_shown_as_such_with_8_and_16_bits(tmp_path: Path, dtype: Any) -> None:
    pixels, white = levels(8, 8, dtype=dtype), np.iinfo(dtype).max
    shown = read_image(tiff(tmp_path / "a.tif", pixels, meaning=[0]), 8, 1)[0]
    assert np.abs(shown - (1 - pixels / white) * 255).max() <= 0.5


def test_16_bit_grey_and_colour_show_white_where_they_are_transparent(tmp_path: Path) -> None:
    grey = np.full((8, 8), 40_000, np.uint16)
    grey[0] = 30_000
    Image.fromarray(grey).save(tmp_path / "a.png", transparency=30_000)
    shown = read_image(tmp_path / "a.png", 8, 1)[0]
    assert (shown[0] == 255).all() and (shown[1:] == round(40_000 / 257)).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "dtype, says",
    [
        (np.int8, "signed pixels of 8 bits"),
        (np.int16, "signed pixels of 16 bits"),
        (np.int32, "signed pixels of 32"),
    ],
)
def test_signed_pixels_are_refused_as_such(tmp_path: Path, dtype: Any, says: str, order: str) -> None:
    for shape in ((8, 8), (8, 8, 3)):
        pixels = levels(*shape, dtype=np.uint8).astype(dtype)
        assert says in refusal(
            tiff(tmp_path / "a.tif", pixels, order=order, kind=[2] * (shape[2] if len(shape) == 3 else 1))
        )


@pytest.mark.parametrize(
    "dtype, says",
    [(np.float32, "floating-point pixels of 32 bits"), (np.float64, "floating-point pixels of 64 bits")],
)
def test_fractions_are_refused_as_such(tmp_path: Path, dtype: Any, says: str) -> None:
    assert says in refusal(tiff(tmp_path / "a.tif", RANDOM.random((8, 8)).astype(dtype), kind=[3]))
    assert "unsigned pixels of 32 bits" in refusal(tiff(tmp_path / "a.tif", levels(8, 8, dtype=np.uint32)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "bands, tags, says",
    [
        (4, {"extra": [0]}, "4 bands, of which 1 are neither red, green and blue nor transparency"),
        (4, {}, "4 bands, of which 1 are"),
        (5, {"extra": [0, 0]}, "5 bands, of which 2 are"),
        (5, {"extra": [2, 0]}, "5 bands, of which 2 are"),
        (13, {"extra": [0] * 10}, "13 bands, of which 10 are"),
        (13, {"meaning": [1], "extra": [0] * 12}, "13 bands, of which 12 are neither grey nor transparency"),
        (2, {"extra": [0]}, "2 bands, of which 1 are neither grey"),
        (3, {"meaning": [1], "extra": [0, 0]}, "3 bands, of which 2 are neither grey"),
    ],
)
def test_bands_that_are_neither_colour_nor_transparency_are_refused_with_their_number(
    tmp_path: Path, bands: int, tags: dict[str, Any], says: str, dtype: Any
) -> None:
    assert says in refusal(tiff(tmp_path / "a.tif", levels(8, 8, bands, dtype=dtype), **tags))


def test_transparency_of_a_tiff_is_laid_on_white_and_near_infrared_in_its_place_is_refused(
    tmp_path: Path,
) -> None:
    pixels = levels(8, 8, 4)
    pixels[..., 3] = np.where(levels(8, 8) < 128, 0, 255)
    expected = np.where(pixels[..., 3:] == 0, 255, pixels[..., :3]).transpose(2, 0, 1)
    assert (read_image(tiff(tmp_path / "a.tif", pixels, extra=[2]), 8, 3) == expected).all()
    Image.fromarray(levels(8, 8, 4)).save(
        tmp_path / "infrared.tif"
    )  # Pillow calls any fourth band transparency
    assert "its last band is called transparency, but" in refusal(tmp_path / "infrared.tif")


def test_a_stack_of_pages_is_refused_and_a_thumbnail_behind_the_picture_is_not(tmp_path: Path) -> None:
    pixels = levels(8, 8, 3)
    assert "a stack of several pages" in refusal(
        tiff(tmp_path / "stack.tif", pixels, levels(8, 8, 3), levels(8, 8, 3))
    )
    assert (
        read_image(tiff(tmp_path / "a.tif", pixels, pixels[::2, ::2]), 8, 3) == pixels.transpose(2, 0, 1)
    ).all()


def test_a_kind_of_tiff_that_pillow_lacks_is_named(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", levels(8, 8, dtype=np.uint16), order=">", meaning=[0])
    assert "a TIFF of 1 band(s) of 16 bits, of a kind that Pillow does not read" in refusal(path)
