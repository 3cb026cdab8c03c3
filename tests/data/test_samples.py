"""Files that are decoded at each visit give what the store gives, without a pass over them before; one that
cannot be read is named, or another takes its place."""

import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vitlab.config.compose import compose_config
from vitlab.config.fill import fill_in
from vitlab.data.files import decoded, places
from vitlab.data.fingerprint import hashed_what
from vitlab.data.sampler import EpochOrder
from vitlab.data.sources.folder import ImageFolder
from vitlab.data.splits import Split
from vitlab.data.statistics import measure_statistics


def both(root, cache, **options):
    made = [
        ImageFolder(str(root), 24, cache_dir=str(cache / store), store=store, **options)
        for store in ("cache", "none")
    ]
    return made, [source.load() for source in made]


def visited(root, cache, **options):
    source = ImageFolder(str(root), 24, cache_dir=str(cache), store="none", **options)
    return source, source.load()["all"]


def test_both_ways_give_the_same_pixels_labels_and_files(photo_folder, tmp_path):
    root = photo_folder("photos", side=40)
    sources, parts = both(root, tmp_path)
    kept, at_each_visit = (part["all"] for part in parts)
    indices = torch.tensor([5, 0, 31, 5])
    assert torch.equal(at_each_visit.fetch(indices), kept.fetch(indices))
    assert torch.equal(at_each_visit.labels, kept.labels) and torch.equal(at_each_visit.files, kept.files)
    assert at_each_visit.size == kept.size and len(at_each_visit) == len(kept)
    assert at_each_visit.fingerprint() == kept.fingerprint()  # of all pixels
    hashed = [hashed_what(source.fingerprint(part)) for source, part in zip(sources, parts, strict=True)]
    assert hashed == ["pixels", "bytes of files"]
    assert not list((tmp_path / "none").rglob("images.npy"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_and_threads_fetch_the_batches_of_the_order_from_any_place_on(
    photo_folder, tmp_path, num_workers
):
    _, parts = both(photo_folder("photos", side=40), tmp_path)
    kept, at_each_visit = (Split(part["all"], torch.arange(36)) for part in parts)
    order = EpochOrder(36, 8, seed=3)
    order.start_at(1, 2)
    for split in (kept, at_each_visit):
        split.batches = list(DataLoader(split, batch_size=None, sampler=order, num_workers=num_workers))
    assert [batch.number for batch in at_each_visit.batches] == [6, 7]
    for one, other in zip(kept.batches, at_each_visit.batches, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_no_picture_is_opened_before_the_first_batch_and_a_large_set_is_not_even_hashed(
    photo_folder, tmp_path, monkeypatch
):
    root = photo_folder("photos", side=40)
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        file.write_bytes(b"no picture" + bytes(number))
    before, parts = visited(root, tmp_path / "cache")
    prints = [before.fingerprint({"all": parts})]
    monkeypatch.setattr(places, "HASHED_BYTES", 1)
    source, samples = visited(root, tmp_path / "cache")
    prints.append(source.fingerprint({"all": samples}))
    assert [hashed_what(each) for each in prints] == ["bytes of files", "names, sizes and times of files"]
    assert len(samples) == 36 and samples.files.unique().numel() == 36
    (root / "ash" / "1.png").write_bytes(b"another size")
    again, others = visited(root, tmp_path / "cache")
    assert again.fingerprint({"all": others}) != prints[1]
    assert int((others.files != samples.files).sum()) == 1


UNREADABLE = torch.tensor([5, 12, 34])
"""Places of the pictures that `damaged` spoils."""


@pytest.fixture
def damaged(photo_folder, tmp_path):
    """A folder in which three of 36 pictures cannot be read."""
    root = photo_folder("photos", side=40)
    for name in ("ash/3.png", "birch/0.png", "cedar/8.png"):
        (root / name).write_bytes((root / name).read_bytes()[:200])
    return root


def test_a_damaged_picture_is_named_when_it_is_fetched(damaged, tmp_path):
    split = Split(visited(damaged, tmp_path)[1], torch.arange(36))
    with pytest.raises(ValueError) as complaint:
        split[(0, torch.arange(36))]
    said = str(complaint.value)
    assert str(damaged / "ash" / "3.png") in said and "data.on_bad_image=skip" in said and "\n" not in said


def test_another_picture_of_the_split_takes_its_place_the_same_one_whoever_fetches_and_is_counted(
    damaged, tmp_path, caplog
):
    samples = visited(damaged, tmp_path, on_bad_image="skip")[1]
    split = Split(samples, torch.arange(36)[torch.arange(36) % 4 != 2])
    order = EpochOrder(27, 9, seed=3)
    with caplog.at_level(logging.WARNING):
        here = list(DataLoader(split, batch_size=None, sampler=order))
    assert sum("others take its place" in line for line in caplog.messages) == 2
    assert "2 such picture(s) so far" in caplog.messages[-1]  # the third one is in no batch of the split
    caplog.clear()
    again = pickle.loads(pickle.dumps(split))
    for batches in (
        DataLoader(again, batch_size=None, sampler=order, num_workers=2),
        [split[at] for at in order],
    ):
        for one, other in zip(here, batches, strict=True):
            assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)
    assert not caplog.messages  # each is said once a run
    good = torch.arange(36)[~torch.isin(torch.arange(36), UNREADABLE)]
    whole = samples.fetch(good)
    for batch, (_, positions) in zip(here, order, strict=True):
        bad = torch.isin(split.indices[positions], UNREADABLE)
        assert torch.equal(batch.labels[~bad], split.labels[positions][~bad])
        for image, label in zip(batch.images[bad], batch.labels[bad], strict=True):
            same = (whole == image).flatten(1).all(dim=1).nonzero().flatten()
            assert samples.labels[good][same].tolist() == [int(label)]
    assert int(samples.unreadable.sum()) == 2


def test_where_nothing_can_be_read_one_line_says_so(damaged, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "TRIES", 5)
    samples = visited(damaged, tmp_path, on_bad_image="skip")[1]
    with pytest.raises(ValueError, match="of 5 others, chosen at random, none can be used either"):
        Split(samples, UNREADABLE)[(0, torch.tensor([0]))]


def test_mean_and_deviation_come_from_a_sample_whose_size_is_said(
    photo_folder, tmp_path, monkeypatch, caplog
):
    samples = visited(photo_folder("photos", side=40), tmp_path)[1]
    whole = measure_statistics(Split(samples, torch.arange(36)))
    assert not caplog.messages
    monkeypatch.setattr(decoded.DecodedFiles, "measured", 9)
    with caplog.at_level(logging.INFO):
        sampled = measure_statistics(Split(samples, torch.arange(36)))
    assert "measured on 9 of 36 training images" in caplog.text
    assert sampled == measure_statistics(Split(samples, torch.arange(0, 36, 4))) != whole


def test_sixteen_bits_have_one_range_for_the_set_either_way(photo_folder, tmp_path):
    root = photo_folder("photos", side=8)
    for number, folder in enumerate(sorted(root.iterdir())):
        for file in folder.iterdir():
            file.unlink()
            values = np.linspace(0, 900 + 50 * number, 64).reshape(8, 8).astype(np.uint16)
            Image.fromarray(values).save(file.with_suffix(".png"))
    sources, parts = both(root, tmp_path, in_channels=1)
    kept, at_each_visit = (part["all"] for part in parts)
    assert torch.equal(at_each_visit.fetch(torch.arange(len(kept))), kept.fetch(torch.arange(len(kept))))
    assert sources[0].white == sources[1].white < 65535


def test_auto_keeps_what_fits_and_a_run_records_which_it_was(photo_folder, tmp_path, monkeypatch):
    root = photo_folder("photos", side=40)
    given = ["data=folder", f"data.root={root}", f"data.cache_dir={tmp_path}/cache", "data.store=auto"]
    config = compose_config("train", given)
    config.run_dir = str(tmp_path)
    fill_in(config)
    assert config.data.store == "cache"
    monkeypatch.setattr("vitlab.data.sources.picture_files.AUTO_BYTES", 36 * 3 * 128 * 128 - 1)
    config = compose_config("train", given)
    config.run_dir = str(tmp_path)
    fill_in(config)
    assert config.data.store == "none"
    source = ImageFolder(str(root), 128, cache_dir=str(tmp_path / "cache"), store="auto")
    assert isinstance(source.load()["all"], decoded.DecodedFiles)
