"""Any number of bands, of any kind of number, comes out as the levels that its range says, or is refused in
one line."""

import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from vitlab.data.files.bands import as_colours
from vitlab.data.files.decode import Reading, read_image, read_with_facts

RANDOM = np.random.default_rng(0)
BANDS: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
"""How tifffile writes [height, width, bands] as one page."""

FIVE = RANDOM.integers(0, 256, (8, 12, 5), dtype=np.uint8)


def first(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 0, 1)


def png(path: Path, rows: np.ndarray) -> None:
    """Writes a PNG of 8 x 8 px in 16-bit colour, which Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header, data = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0), zlib.compress(rows.tobytes())
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def refusal(path: Path, channels: int = 5, **reading: Any) -> str:
    with pytest.raises(ValueError) as caught:
        read_image(path, 8, channels, reading=Reading(**reading))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "lzw", "predictor": True},
        {"compression": "zlib", "tile": (16, 16)},
        {"planarconfig": "separate"},
        {"bigtiff": True, "byteorder": ">"},
        {"extrasamples": ["unspecified"] * 4, "photometric": "minisblack"},
    ],
    ids=str,
)
def test_a_tiff_of_five_bands_gives_each_of_them_as_it_is(tmp_path: Path, how: dict[str, Any]) -> None:
    pixels = first(FIVE) if "planarconfig" in how else FIVE
    tifffile.imwrite(tmp_path / "a.tif", pixels, **(BANDS | how))
    assert (read_image(tmp_path / "a.tif", (8, 12), 5) == first(FIVE)).all()


def test_georeference_makes_no_noise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = (1, 1, 0, 1, 3072, 0, 1, 9_999)  # a code that no table has, and a directory that ends too early
    tags = [(33550, "d", 3, (10.0, 10.0, 0.0), False), (34735, "H", len(keys), keys, False)]
    tags += [(42113, "s", 0, "nan", False), (33922, "d", 6, (0.0, 0, 0, 5e5, 4e6, 0), False)]
    tifffile.imwrite(tmp_path / "a.tif", FIVE, **BANDS, extratags=tags)
    with caplog.at_level(logging.DEBUG):
        assert (read_image(tmp_path / "a.tif", (8, 12), 5) == first(FIVE)).all()
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_pages_of_one_band_each_are_its_bands_and_those_of_unequal_size_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for band in first(FIVE):
            writer.write(band, photometric="minisblack")
    assert (read_image(tmp_path / "a.tif", (8, 12), 5) == first(FIVE)).all()
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        for band in (FIVE[..., 0], FIVE[:4, :6, 1]):
            writer.write(np.ascontiguousarray(band), photometric="minisblack")
    assert "bands of unequal size (4 x 6 px of uint8, 8 x 12 px of uint8)" in refusal(tmp_path / "b.tif", 2)
    assert "5 pages of 1 band(s), and data.in_channels=4" in refusal(tmp_path / "a.tif", 4)


def test_arrays_have_their_channels_where_only_one_place_has_so_many_or_where_the_config_says(
    tmp_path: Path,
) -> None:
    for array in (FIVE, first(FIVE)):
        np.save(tmp_path / "a.npy", array)
        assert (read_image(tmp_path / "a.npy", (8, 12), 5) == first(FIVE)).all()
    np.save(tmp_path / "grey.npy", FIVE[..., 0])
    assert (read_image(tmp_path / "grey.npy", (8, 12), 1)[0] == FIVE[..., 0]).all()
    square = np.ascontiguousarray(FIVE[:5])  # [5, 12, 5]
    np.save(tmp_path / "b.npy", square)
    assert "data.npy_layout=hwc (last) or chw (first)" in refusal(tmp_path / "b.npy")
    for layout, expected in (("hwc", first(square)), ("chw", square)):
        found = read_image(tmp_path / "b.npy", expected.shape[1:], 5, reading=Reading(layout=layout))
        assert (found == expected).all()
    np.save(tmp_path / "c.npy", FIVE[..., :4])
    assert "4 channels last or 8 first, and data.in_channels=5" in refusal(tmp_path / "c.npy")


def test_arrays_that_could_run_code_or_lie_about_their_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "Python objects" in refusal(path)
    np.save(path, FIVE)
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut short" in refusal(path)
    path.write_bytes(b"\x93NUMPY")
    assert "damaged or cut short" in refusal(path)
    np.save(path, np.zeros((2000, 2000, 5), np.uint8))
    assert "4,000,000 pixels are more than 1 million; data.max_megapixels=4" in refusal(
        path, max_megapixels=1
    )
    np.save(path, FIVE.astype(np.complex64))
    assert "complex64" in refusal(path)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64, np.uint32])
@pytest.mark.parametrize("suffix", ["tif", "npy"])
def test_a_stated_range_becomes_the_256_levels_and_what_lies_beyond_is_counted(
    tmp_path: Path, dtype: Any, suffix: str
) -> None:
    values = np.array([[100, 101, 355], [610, 865, 1120]], dtype)[..., None].repeat(5, 2)
    path = tmp_path / f"a.{suffix}"
    np.save(path, values) if suffix == "npy" else tifffile.imwrite(path, values, **BANDS)
    reading = Reading(value_range=(100, 1120))
    pixels, facts = read_with_facts(path, (2, 3), 5, reading=reading)
    assert pixels[2].tolist() == [[0, 0, 64], [128, 191, 255]] and not facts.beyond
    clipped, facts = read_with_facts(path, (2, 3), 5, reading=Reading(value_range=(355, 865)))
    assert clipped[2].tolist() == [[0, 0, 0], [128, 255, 255]] and facts.beyond == 1


def test_without_a_stated_range_16_bits_go_by_the_sets_white_and_other_numbers_are_refused(
    tmp_path: Path,
) -> None:
    values = RANDOM.integers(0, 4096, (8, 8, 5)).astype(np.uint16)
    values[0, 0] = 4095
    np.save(tmp_path / "a.npy", values)
    pixels, facts = read_with_facts(tmp_path / "a.npy", 8, 5, reading=Reading(white=4095))
    assert np.abs(first(values) * 255.0 / 4095 - pixels).max() <= 0.5 and facts.highest == 4095
    assert "values end at 4,095 of 65,535" in refusal(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", values.astype(np.float32) - 7)
    assert "to 4,088, have no known range; data.value_range=[" in refusal(tmp_path / "b.npy")
    values = values.astype(np.float32)
    values[0, 0, 0] = np.nan
    np.save(tmp_path / "c.npy", values)
    assert "1 of 320 values are not finite" in refusal(tmp_path / "c.npy", value_range=(0, 1))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_goes_by_the_stated_range_and_8_bits_stay(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(1000, 3000, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    reading = Reading(value_range=(1000, 3000))
    expected = np.floor((ramp - 1000.0) * 255 / 2000 + 0.5)
    assert (read_image(tmp_path / f"a.{suffix}", 8, 1, reading=reading)[0] == expected).all()
    Image.fromarray(FIVE[:, :8, 0]).save(tmp_path / f"b.{suffix}")
    assert (read_image(tmp_path / f"b.{suffix}", 8, 1, reading=reading)[0] == FIVE[:, :8, 0]).all()


def test_16_bit_colour_keeps_its_lower_bytes_in_a_tiff_and_is_refused_where_the_reader_drops_them(
    tmp_path: Path,
) -> None:
    colours = RANDOM.integers(0, 1001, (8, 8, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb")
    levels = read_image(tmp_path / "a.tif", 8, 3, reading=Reading(value_range=(0, 1000)))
    assert (levels == np.floor(first(colours) * 255.0 / 1000 + 0.5)).all()
    rows = np.concatenate(
        [np.zeros((8, 1), np.uint8), colours.astype(">u2").view(np.uint8).reshape(8, -1)], 1
    )
    png(tmp_path / "a.png", rows)
    assert "comes without its lower bytes" in refusal(tmp_path / "a.png", 3, value_range=(0, 1000))


def test_a_fourth_band_is_transparency_only_where_the_file_says_so_and_it_looks_like_it(
    tmp_path: Path,
) -> None:
    pixels = RANDOM.integers(1, 255, (8, 8, 4), dtype=np.uint8)
    for extra in ("unspecified", "unassalpha"):  # near infrared in a band of the wrong name is a band
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[extra])
        assert (read_image(tmp_path / "a.tif", 8, 4) == first(pixels)).all()
    pixels[..., 3] = np.where(pixels[..., 3] < 128, 0, 255)
    tifffile.imwrite(tmp_path / "b.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert "last band is transparency, as the file says; data.in_channels=3" in refusal(tmp_path / "b.tif", 4)
    Image.fromarray(pixels).save(tmp_path / "c.png")
    assert "1 (grey) or 3 (colour); TIFF and .npy may have more" in refusal(tmp_path / "c.png", 4)


def test_no_damage_to_a_tiff_gets_past_as_anything_but_bands_or_a_refusal(tmp_path: Path) -> None:
    random, path, refused = np.random.default_rng(0), tmp_path / "a.tif", 0
    for how in ({}, {"compression": "lzw"}, {"compression": "zlib"}):
        tifffile.imwrite(path, FIVE, **BANDS, **how)
        good = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            bad = good.copy()
            bad[random.integers(0, len(bad), 6)] = random.integers(0, 256, 6)
            path.write_bytes(bad.tobytes()[: random.integers(1, 2 * len(bad))])
            try:
                assert read_image(path, 16, 5).shape == (5, 16, 16)
            except ValueError as error:
                refused += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 30


def test_people_see_the_chosen_bands_or_the_first_three_and_one_of_two(tmp_path: Path) -> None:
    assert (as_colours(FIVE, [4, 0, 2]) == FIVE[..., [4, 0, 2]]).all()
    assert (as_colours(FIVE, None) == FIVE[..., :3]).all()
    assert (as_colours(FIVE[..., :2], None) == FIVE[..., [0, 0, 0]]).all()
