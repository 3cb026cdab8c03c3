"""CIFAR-10 in one small file that travels, and in torchvision's layout, which `data=cifar10` reads.

    python -m benchmarks.gpu.images ARCHIVE.zip FILE.npz

packs an archive of `train|test/CLASS/NAME.jpg`. All its JPEGs must begin alike (the same tables, written
once): what is left is a third of their bytes.
"""

import io
import pickle
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SPLITS = ("train", "test")
START_OF_SCAN = b"\xff\xda"


def split_jpeg(content: bytes) -> tuple[bytes, bytes]:
    """Returns a JPEG's head, with all its tables, and its scan, which holds the picture."""
    marker = content.index(START_OF_SCAN)
    end = marker + 2 + int.from_bytes(content[marker + 2 : marker + 4], "big")
    return content[:end], content[end:]


def pack(archive: Path, file: Path) -> str:
    """Writes the archive's images into one file and returns a line about it.

    Raises ValueError where a JPEG does not begin as the others do.
    """
    scans, sizes, labels, splits, heads, names = [], [], [], [], set(), []
    with zipfile.ZipFile(archive) as opened:
        members = [name for name in opened.namelist() if name.endswith(".jpg")]
        names = sorted({member.split("/")[1] for member in members})
        for member in members:
            split, label, _ = member.split("/")
            head, scan = split_jpeg(opened.read(member))
            heads.add(head)
            if len(heads) > 1:
                raise ValueError(
                    f"{archive}: {member} begins otherwise than the images before it; images of one size and"
                    " quality would work"
                )
            scans.append(scan)
            sizes.append(len(scan))
            labels.append(names.index(label))
            splits.append(SPLITS.index(split))
    parts = {"head": np.frombuffer(heads.pop(), np.uint8), "scans": np.frombuffer(b"".join(scans), np.uint8)}
    parts |= {
        "sizes": np.array(sizes, np.uint16),
        "labels": np.array(labels, np.uint8),
        "splits": np.array(splits, np.uint8),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **parts, names=np.array(names))
    return f"{file}: {len(scans):,} images, {file.stat().st_size / 2**20:.1f} MiB"


def write_batches(
    root: Path, pixels: Sequence[np.ndarray], labels: Sequence[np.ndarray], names: Sequence[str]
) -> None:
    """Writes pixels [N, 3072] and labels of the training and the test split as the files of CIFAR-10."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(len(labels[0]))
    batches = {
        f"data_batch_{number}": (0, rows) for number, rows in enumerate(np.array_split(order, 5), start=1)
    }
    batches["test_batch"] = (1, np.random.default_rng(1).permutation(len(labels[1])))
    for name, (split, rows) in batches.items():
        content = {"data": pixels[split][rows], "labels": [int(label) for label in labels[split][rows]]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=4))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(names)}, protocol=4))


def unpack(file: Path, root: Path) -> None:
    """Writes a packed file's images as the files of CIFAR-10."""
    with np.load(file) as packed:
        head, scans = packed["head"].tobytes(), packed["scans"].tobytes()
        sizes, labels, splits, names = (packed[name] for name in ("sizes", "labels", "splits", "names"))
    pixels = np.empty((len(sizes), 3 * 32 * 32), np.uint8)
    ends = np.cumsum(sizes, dtype=np.int64)
    for row, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        picture = Image.open(io.BytesIO(head + scans[end - size : end]))
        pixels[row] = np.asarray(picture.convert("RGB")).transpose(2, 0, 1).reshape(-1)
    chosen = [splits == number for number in range(len(SPLITS))]
    write_batches(
        root,
        [pixels[each] for each in chosen],
        [labels[each] for each in chosen],
        [str(name) for name in names],
    )


def write_noise(root: Path, num_train: int, num_test: int) -> None:
    """Writes noise as the files of CIFAR-10: where only time counts, the content costs none."""
    generator = np.random.default_rng(0)
    pixels = [
        generator.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8) for count in (num_train, num_test)
    ]
    write_batches(
        root,
        pixels,
        [np.arange(count) % 10 for count in (num_train, num_test)],
        [f"class {index}" for index in range(10)],
    )


if __name__ == "__main__":
    print(pack(Path(sys.argv[1]), Path(sys.argv[2])))
