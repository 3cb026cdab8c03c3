"""ImageNet's two layouts give the same numbers of classes and names, with val/ as the test, or one line says
what is missing."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from vitlab.data.sources.imagenet import ImageNet

WNIDS = {"n03126707": "crane", "n02012849": "crane, wading bird", "n01440764": "tench, Tinca tinca"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def paint(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), shade).save(path)


VAL = {
    f"ILSVRC2012_val_0000000{place}": wnid
    for place, wnid in enumerate([*WNIDS, "n01440764", "n03126707"], start=1)
}


def write_train(base):
    for shade, wnid in enumerate(WNIDS):
        for index in range(2):
            paint(base / "train" / wnid / f"{wnid}_{index}.png", 10 * shade + index)


def write_val(base, is_flat):
    for shade, (name, wnid) in enumerate(VAL.items()):
        paint(base / "val" / ("" if is_flat else wnid) / f"{name}.png", 100 + shade)


def kaggle(root):
    base = root / "ILSVRC" / "Data" / "CLS-LOC"
    write_train(base)
    write_val(base, is_flat=True)
    paint(base / "test" / "ILSVRC2012_test_00000001.png", 0)
    (root / "LOC_synset_mapping.txt").write_text(
        "".join(f"{wnid} {words}\n" for wnid, words in WNIDS.items())
    )
    rows = "".join(f"{name},{wnid} 1 2 3 4 {wnid} 5 6 7 8 \n" for name, wnid in VAL.items())
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + rows)


def torchvisions(root):
    write_train(root)
    write_val(root, is_flat=False)
    words = {wnid: tuple(words.split(", ")) for wnid, words in WNIDS.items()}
    torch.save((words, list(VAL.values())), root / "meta.bin")


def devkit(root):
    from scipy.io import savemat

    torchvisions(root)
    for file in [*(root / "val").rglob("*.png")]:
        file.rename(root / "val" / file.name)
    for folder in [*(root / "val").iterdir()]:
        if folder.is_dir():
            folder.rmdir()
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    numbers = {wnid: number for number, wnid in enumerate(WNIDS, start=1)}
    kind = [("ILSVRC2012_ID", object), ("WNID", object)]
    savemat(data / "meta.mat", {"synsets": np.array([(n, w) for w, n in numbers.items()], dtype=kind)})
    lines = "".join(f"{numbers[wnid]}\n" for _, wnid in sorted(VAL.items()))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)


@pytest.mark.parametrize("layout", [kaggle, torchvisions, devkit])
def test_every_layout_gives_the_same_classes_and_test_images(tmp_path, layout):
    layout(tmp_path)
    source = ImageNet(str(tmp_path), 4, in_channels=1)
    assert source.class_names == ("tench", "crane, wading bird", "crane")
    parts = source.load()
    found = {
        part: [(int(image.max()), int(label)) for image, label in zip(data.images, data.labels, strict=True)]
        for part, data in parts.items()
    }
    assert found == {
        "train": [(20, 0), (21, 0), (10, 1), (11, 1), (0, 2), (1, 2)],
        "test": [(102, 0), (103, 0), (101, 1), (100, 2), (104, 2)],
    }


def test_without_a_table_of_words_classes_are_called_by_their_ids(tmp_path):
    write_train(tmp_path)
    source = ImageNet(str(tmp_path), 4)
    assert source.class_names == tuple(sorted(WNIDS)) and set(source.load()) == {"train"}


BAD = {
    "nothing": (lambda root: None, "no train/ there"),
    "no classes": (lambda root: (root / "train").mkdir(), "no folders such as n01440764"),
    "empty class": (
        lambda root: (write_train(root), (root / "train/n00000001").mkdir()),
        "no image in n00000001",
    ),
    "flat val without a table": (
        lambda root: (write_train(root), write_val(root, True)),
        "no table of their classes",
    ),
    "another table": (
        lambda root: (kaggle(root), (root / "LOC_val_solution.csv").write_text("a,b\n1,2\n")),
        "not Kaggle's table",
    ),
    "an image that the table lacks": (
        lambda root: (kaggle(root), paint(root / "ILSVRC/Data/CLS-LOC/val/x.png", 1)),
        "no class is known of x",
    ),
    "another meta.bin": (
        lambda root: (write_train(root), (root / "meta.bin").write_bytes(pickle.dumps(ImageNet))),
        "not what torchvision writes",
    ),
    "unknown in val": (
        lambda root: (write_train(root), paint(root / "val/n00000009/1.png", 1)),
        "n00000009 are no classes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_missing_is_said_in_one_line(tmp_path, name):
    build, says = BAD[name]
    build(tmp_path)
    with pytest.raises(ValueError) as complaint:
        ImageNet(str(tmp_path), 4).load()
    assert says in str(complaint.value) and str(tmp_path) in str(complaint.value)
    assert "\n" not in str(complaint.value)
