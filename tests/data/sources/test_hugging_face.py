"""What `datasets` holds, saved in any way, is the folder of the same pictures, or one line says why not."""

import pytest
import torch

from vitlab.data.sources.folder import ImageFolder
from vitlab.data.sources.hugging_face import HuggingFace, load_parts

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    load_parts.cache_clear()


@pytest.fixture(scope="module")
def photos(tmp_path_factory, write_photos):
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", side=8, count=4)


def dataset(photos, **columns):
    files = sorted(photos.rglob("*.png"))
    names = sorted({file.parent.name for file in files})
    known = {
        "image": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
        "label": [names.index(file.parent.name) for file in files],
    }
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    for name, (values, kind) in columns.items():
        known[name], features[name] = values, kind
    return datasets.Dataset.from_dict(known, features=features)


def saved(photos, folder, how):
    if how == "saved":
        dataset(photos).save_to_disk(folder)
    elif how == "parquet file":
        folder = folder.with_suffix(".parquet")
        dataset(photos).to_parquet(folder)
    elif how == "parquet folder":
        folder.mkdir()
        dataset(photos).to_parquet(folder / "train-00000.parquet")
    elif how == "image folder":
        return photos
    return folder


@pytest.mark.parametrize("how", ["saved", "parquet file", "parquet folder", "image folder"])
def test_every_way_to_save_it_is_the_folder(photos, tmp_path, how):
    path = str(saved(photos, tmp_path / "set", how))
    source, folder = HuggingFace(path, 8, path, store="none"), ImageFolder(str(photos), 8)
    assert source.class_names == folder.class_names == ("ash", "birch", "cedar")
    one, other = next(iter(source.load().values())), folder.load()["all"]
    assert torch.equal(one.labels, other.labels) and torch.equal(one.files, other.files)
    assert torch.equal(one.fetch(torch.arange(12)), other.fetch(torch.arange(12)))


def test_splits_are_taken_over_and_one_without_labels_or_of_another_name_is_named(photos, tmp_path, caplog):
    whole = dataset(photos)
    unlabelled = whole.select(range(2)).remove_columns("label").add_column("label", [-1, -1])
    parts = {
        "train": whole,
        "validation": whole.select(range(3)),
        "test": unlabelled,
        "extra": whole.select(range(2)),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    found = HuggingFace(str(tmp_path / "set"), 8, str(tmp_path / "set")).load()
    assert {part: len(samples) for part, samples in found.items()} == {"train": 12, "val": 3}
    assert "split test (2 rows) has no labels" in caplog.text
    assert "split extra (2 rows) is neither train, validation nor test" in caplog.text


def test_labels_in_words_or_numbers_are_classes_in_their_order(photos, tmp_path):
    words = [str(number) for number in (10, 2, 9)] * 4
    dataset(photos, kind=(words, datasets.Value("string"))).save_to_disk(tmp_path / "set")
    source = HuggingFace(str(tmp_path / "set"), 8, str(tmp_path / "set"), label_column="kind")
    assert source.class_names == ("2", "9", "10") and source.load()["all"].labels.tolist() == [2, 0, 1] * 4


BAD = {
    "no such thing": ({}, None, "data.path="),
    "image column": ({"image_column": "img"}, {}, "data.image_column=img: ", "it has image, label"),
    "label column": ({"label_column": "class"}, {}, "data.label_column=class: ", "it has image, label"),
    "no label": (
        {"label_column": "kind"},
        {"kind": (["a", "", "b"] * 4, "string")},
        "row 1 of all has no kind; 4 have none",
    ),
    "one class": ({"label_column": "kind"}, {"kind": (["a"] * 12, "string")}, "only one class (a)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(photos, tmp_path, name):
    options, columns, *says = BAD[name]
    path = str(tmp_path / "set")
    if columns is not None:
        dataset(
            photos, **{key: (values, datasets.Value(kind)) for key, (values, kind) in columns.items()}
        ).save_to_disk(path)
    with pytest.raises(ValueError) as complaint:
        HuggingFace(path, 8, path, **options).load()
    assert all(part in str(complaint.value) for part in [*says, path]) and "\n" not in str(complaint.value)
