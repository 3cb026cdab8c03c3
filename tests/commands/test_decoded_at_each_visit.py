"""`data.store=none`: a run without a store of decoded pictures, killed in the middle of an epoch or not, is
the run with one."""

import json
import tarfile
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from vitlab.data.sampler import EpochOrder
from vitlab.data.sources.folder import ImageFolder
from vitlab.data.splits import Split
from vitlab.training.complaints import complaints_in_a_line

SHORT = [
    "hardware=cpu",
    "data=folder",
    "data.image_size=24",
    "data.batch_size=6",
    "data.test_fraction=0.2",
    "patch_size=8",
]
SHORT += [
    "model.depth=1",
    "model.embed_dim=16",
    "model.num_heads=2",
    "augment=light",
    "data.crop_padding=2",
    "callbacks=[default]",
]
SHORT += [
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=2",
    "checkpoint_every_steps=1",
    "callbacks.evaluation=null",
]


def hashes(run):
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "completed"
    return record["hashes"] | record["data"]["splits"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory, write_photos):
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", side=40)


@pytest.fixture(scope="module")
def with_a_store(trained_in, tmp_path_factory, photos):
    folder = tmp_path_factory.mktemp("store")
    return hashes(trained_in(folder, *SHORT, f"data.root={photos}", f"data.cache_dir={folder}/cache"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_run_has_the_same_weights_history_and_data(
    trained_in, tmp_path, photos, with_a_store, num_workers
):
    given = [
        f"data.root={photos}",
        f"data.cache_dir={tmp_path}/cache",
        "data.store=none",
        f"data.num_workers={num_workers}",
    ]
    assert hashes(trained_in(tmp_path, *SHORT, *given)) == with_a_store
    assert not list(tmp_path.rglob("images.npy"))


@pytest.fixture(scope="module")
def as_shards(tmp_path_factory, photos):
    """The same photographs in two tars, as WebDataset packs them."""
    folder, files = tmp_path_factory.mktemp("shards"), sorted(photos.rglob("*.png"))
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for file in files[number::2]:
                name = file.relative_to(photos)
                tar.add(file, str(name))
                (folder / "label").write_text(file.parent.name)
                tar.add(folder / "label", str(name.with_suffix(".cls")))
    return [f"data.root={folder}", "data=shards"]


@pytest.fixture(scope="module")
def as_table(tmp_path_factory, photos):
    """The same photographs in a table, in another order."""
    file = tmp_path_factory.mktemp("table") / "labels.csv"
    rows = [
        f"{each.relative_to(photos)},{each.parent.name}\n" for each in sorted(photos.rglob("*.png"))[::-1]
    ]
    file.write_text("path,label\n" + "".join(rows))
    return [f"data.root={photos}", "data=table", f"data.file={file}"]


def test_a_table_of_them_is_the_same_run(trained_in, tmp_path, as_table, with_a_store):
    given = [*as_table, f"data.cache_dir={tmp_path}/cache", "data.store=none"]
    assert hashes(trained_in(tmp_path, *given_last(SHORT, given))) == with_a_store


@pytest.fixture(scope="module")
def weighed(as_table):
    """Returns settings of the same table with a weight a row, by the function that gives it."""

    def settings(folder, weight):
        lines = Path(as_table[2].partition("=")[2]).read_text().split()[1:]
        rows = [f"{line},{weight(number)}" for number, line in enumerate(lines)]
        (folder / "weighed.csv").write_text("\n".join(["path,label,sure", *rows]))
        return [*as_table, f"data.file={folder}/weighed.csv", "data.weight_column=sure"]

    return settings


def test_equal_weights_change_no_bit_and_other_ones_go_on_to_the_same_end(
    trained_in, fork_train, tmp_path, weighed, with_a_store
):
    for name in ("equal", "whole", "killed"):
        (tmp_path / name).mkdir()
    given = [f"data.cache_dir={tmp_path}/cache", *CROPS, "data.store=none"]
    equal = [*weighed(tmp_path / "equal", lambda row: 0.25), f"data.cache_dir={tmp_path}/cache"]
    assert hashes(trained_in(tmp_path / "equal", *given_last(SHORT, equal))) == with_a_store

    given = given_last(SHORT, [*weighed(tmp_path, lambda row: row % 3), *given, "augment.mixup=0.5"])
    whole = hashes(trained_in(tmp_path / "whole", *given))
    command = [*given, "data.num_workers=2", "+callbacks.at._target_=starts.At", "resume=auto"]
    command, log = [*command, f"hydra.run.dir={tmp_path}/killed"], tmp_path / "log"
    assert fork_train(command, log, at="SIGKILL step 6 0") == [-9], log.read_text()
    assert fork_train(command, log) == [0], log.read_text()
    assert hashes(tmp_path / "killed") == whole


def given_last(known, given):
    """Returns settings of which a later one replaces an earlier one of the same key."""
    return list({each.partition("=")[0]: each for each in (*known, *given)}.values())


CROPS = ["augment.crop_padding=0", "augment.resized_crop=[0.2,1.0]"]
"""Cut from the original files, at each visit."""


@pytest.fixture(scope="module")
def of_crops(trained_in, tmp_path_factory, photos):
    folder = tmp_path_factory.mktemp("crops")
    given = [f"data.root={photos}", f"data.cache_dir={folder}/cache", "data.store=none"]
    return hashes(trained_in(folder, *SHORT, *given, *CROPS))


@pytest.mark.parametrize(
    ("kind", "num_workers", "crops"),
    [("folder", 2, []), ("shards", 0, []), ("shards", 1, []), ("shards", 2, CROPS), ("folder", 1, CROPS)],
)
def test_killed_in_the_middle_of_an_epoch_it_goes_on_to_the_same_end(
    fork_train, tmp_path, photos, as_shards, with_a_store, of_crops, kind, num_workers, crops
):
    given = as_shards if kind == "shards" else [f"data.root={photos}"]
    given = [
        *given,
        f"data.cache_dir={tmp_path}/cache",
        "data.store=none",
        f"data.num_workers={num_workers}",
        *crops,
    ]
    command = [
        *given_last(SHORT, given),
        "+callbacks.at._target_=starts.At",
        f"hydra.run.dir={tmp_path}/run",
        "resume=auto",
    ]
    log = tmp_path / "log"
    assert fork_train(command, log, at="SIGKILL step 2 0") == [-9], log.read_text()
    assert fork_train(command, log, at="SIGKILL step 6 0") == [-9], log.read_text()
    assert fork_train(command, log) == [0], log.read_text()
    assert hashes(tmp_path / "run") == (of_crops if crops else with_a_store)
    assert of_crops != with_a_store


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_picture_that_is_gone_when_it_is_fetched_is_named_in_one_line(photo_folder, tmp_path, num_workers):
    root = photo_folder(side=40)
    samples = ImageFolder(str(root), 24, cache_dir=str(tmp_path / "cache"), store="none").load()["all"]
    picture = sorted((root / "ash").iterdir())[0]
    picture.unlink()
    loader = DataLoader(
        Split(samples, torch.arange(36)),
        batch_size=None,
        sampler=EpochOrder(36, 36, 0),
        num_workers=num_workers,
    )
    with pytest.raises(ValueError) as complaint, complaints_in_a_line({}):
        next(iter(loader))
    assert str(picture) in str(complaint.value) and "\n" not in str(complaint.value)
