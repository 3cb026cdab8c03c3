"""Any number of bands, of any kind of number, as TIFF and NumPy files hold them."""

import logging
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitlab.data.files import tiff
from vitlab.data.files.bands import Layout
from vitlab.data.files.places import Picture, readable
from vitlab.data.files.suffixes import NPY

NPY_START, TIFF_STARTS = b"\x93NUMPY", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MASK_OR_SMALLER = 5
"""Bits of `tiff.SUBFILE` by which a page is a reduced copy of another one, or its mask."""

# What is wrong with a file, or not known of it (such as where on Earth it lies), is said by our one line or
# not at all.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def kind_of(path: Picture) -> Literal["npy", "tiff", "other"]:
    """Tells by its first bytes what a file is."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(NPY_START) or path.suffix.lower() == NPY:
        return "npy"
    return "tiff" if start[:4] in TIFF_STARTS else "other"


def _check_size(pixels: int, max_megapixels: int) -> None:
    if pixels > max_megapixels * 1_000_000:
        raise ValueError(
            f"{pixels:,} pixels are more than {max_megapixels} million;"
            f" data.max_megapixels={-(-pixels // 1_000_000)} would read it"
        )


def arranged(shape: tuple[int, ...], channels: int, layout: Layout | None) -> Layout:
    """Returns where an array's channels stand: as `layout` says, or where only one place has so many."""
    by_layout: dict[Layout, int] = {"hwc": shape[2], "chw": shape[0]}
    fitting: list[Layout] = [name for name, found in by_layout.items() if found == channels]
    given = f"an array of shape {list(shape)}"
    if layout is not None:
        if layout not in fitting:
            raise ValueError(
                f"{given} has {by_layout[layout]} channels as data.npy_layout={layout} says, and"
                f" data.in_channels={channels}; data.in_channels={by_layout[layout]} would work"
            )
        return layout
    if len(fitting) > 1:
        raise ValueError(
            f"{given} may have its {channels} channels first or last; data.npy_layout=hwc (last) or chw"
            " (first) says which"
        )
    if not fitting:
        raise ValueError(
            f"{given} has {shape[2]} channels last or {shape[0]} first, and data.in_channels={channels}"
        )
    return fitting[0]


def _from_npy(path: Picture, channels: int, layout: Layout | None, max_megapixels: int) -> np.ndarray:
    try:  # the map reads no more than the header: a shape that lies costs nothing
        mapped = "r" if isinstance(path, Path) else None
        array = np.load(readable(path), mmap_mode=mapped, allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        if "pickle" in str(error).lower():
            raise ValueError("it holds Python objects, which could run code, or is no NumPy array") from None
        raise ValueError(f"a NumPy file that is damaged or cut short ({error})") from None
    if array.ndim == 2:
        array = array[..., None]
        if channels != 1:
            raise ValueError(
                f"an array of shape {list(array.shape[:2])} has one channel, and data.in_channels={channels};"
                " data.in_channels=1 would work"
            )
    elif array.ndim != 3:
        raise ValueError(f"an array of shape {list(array.shape)}; [height, width, channels] would work")
    elif arranged(array.shape, channels, layout) == "chw":
        array = array.transpose(1, 2, 0)
    _check_size(array.shape[0] * array.shape[1], max_megapixels)
    return np.ascontiguousarray(array)


def _whole_pages(file: Any) -> list[Any]:
    """Returns a TIFF's pages without reduced copies and masks."""
    pages = [page for page in file.pages if not int(getattr(page, "subfiletype", 0) or 0) & MASK_OR_SMALLER]
    return pages or [file.pages[0]]


def _from_tiff(path: Picture, channels: int, max_megapixels: int) -> np.ndarray:
    try:
        import tifffile
    except ImportError:
        raise ValueError(
            f"a TIFF for data.in_channels={channels} and its range of values is read by tifffile: pip install"
            " 'vitlab[bands]' would work"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tifffile.TiffFile(readable(path)) as file:
            pages = _whole_pages(file)
            first = pages[0]
            _check_size(first.imagelength * first.imagewidth, max_megapixels)
            if first.samplesperpixel == channels and len(pages) == 1:
                planes = first.asarray()
                planes = planes.reshape(planes.shape[-3:] if planes.ndim > 3 else planes.shape)
                _check_transparency(first, planes, channels)
                if planes.ndim == 2:
                    planes = planes[..., None]
                elif int(first.planarconfig or 1) == 2:  # band after band
                    planes = planes.transpose(1, 2, 0)
            elif first.samplesperpixel == 1 and len(pages) == channels:
                sizes = {(page.imagelength, page.imagewidth, str(page.dtype)) for page in pages}
                if len(sizes) > 1:
                    listed = ", ".join(
                        f"{rows} x {columns} px of {kind}" for rows, columns, kind in sorted(sizes)
                    )
                    raise ValueError(f"bands of unequal size ({listed}); save them on one grid")
                planes = np.stack([page.asarray() for page in pages], axis=-1)
            else:
                found, what = first.samplesperpixel, f"{first.samplesperpixel} band(s)"
                if len(pages) > 1:
                    found, what = len(pages), f"{len(pages)} pages of {what}"
                way = f"data.in_channels={found} would work"
                raise ValueError(f"{what}, and data.in_channels={channels}; {way}")
            is_whole = np.issubdtype(planes.dtype, np.integer)
            is_negative = int(first.photometric) == tiff.WHITE_IS_ZERO and is_whole
            return np.ascontiguousarray(np.iinfo(planes.dtype).max - planes if is_negative else planes)


def _check_transparency(page: Any, planes: np.ndarray, channels: int) -> None:
    """Raises ValueError where the last of four bands is transparency by the file's word and looks."""
    extra = tuple(int(kind) for kind in page.extrasamples or ())
    if channels not in (2, 4) or not extra or extra[-1] not in tiff.TRANSPARENCY:
        return
    last = planes[-1] if int(page.planarconfig or 1) == 2 else planes[..., -1]
    clear, opaque = 0, np.iinfo(last.dtype).max if np.issubdtype(last.dtype, np.integer) else 1
    if np.mean((last != clear) & (last != opaque)) <= 0.5:
        raise ValueError(
            f"its last band is transparency, as the file says; data.in_channels={channels - 1} would work"
        )


def read_bands(
    path: Picture, kind: str, channels: int, layout: Layout | None, max_megapixels: int
) -> np.ndarray:
    """Returns a file's values as they are, [height, width, channels], or raises ValueError."""
    if kind == "other":
        raise ValueError(
            f"data.in_channels={channels}, and such a picture has 1 (grey) or 3 (colour); TIFF and .npy may"
            " have more"
        )
    if kind == "npy":
        values = _from_npy(path, channels, layout, max_megapixels)
    else:
        values = _from_tiff(path, channels, max_megapixels)
    if values.ndim != 3 or values.shape[2] != channels or not values.size:  # of a damaged file
        raise ValueError(f"its values are of shape {list(values.shape)}, which is no picture")
    return values
