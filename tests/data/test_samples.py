"""Files that are decoded at each visit give what the store gives: the same pixels, labels, order and hash."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vitlab.data.sampler import EpochOrder
from vitlab.data.sources.folder import ImageFolder
from vitlab.data.splits import Split


def both(root, cache, **options):
    made = [
        ImageFolder(str(root), 24, cache_dir=str(cache / store), store=store, **options)
        for store in ("cache", "none")
    ]
    return made, [source.load() for source in made]


def test_both_ways_give_the_same_pixels_labels_files_and_fingerprint(photo_folder, tmp_path):
    root = photo_folder("photos", side=40)
    (root / "ash" / "broken.png").write_bytes(b"no picture")
    sources, parts = both(root, tmp_path, on_bad_image="skip")
    kept, visited = (part["all"] for part in parts)
    indices = torch.tensor([5, 0, 31, 5])
    assert torch.equal(visited.fetch(indices), kept.fetch(indices))
    assert torch.equal(visited.labels, kept.labels) and torch.equal(visited.files, kept.files)
    assert visited.size == kept.size and len(visited) == len(kept)
    assert sources[0].skipped == sources[1].skipped != ()
    assert sources[0].fingerprint(parts[0]) == sources[1].fingerprint(parts[1])
    assert visited.fingerprint() == kept.fingerprint()  # of all pixels, whatever was remembered
    assert not list((tmp_path / "none").rglob("images.npy"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_and_threads_fetch_the_batches_of_the_order_from_any_place_on(
    photo_folder, tmp_path, num_workers
):
    _, parts = both(photo_folder("photos", side=40), tmp_path)
    kept, visited = (Split(part["all"], torch.arange(36)) for part in parts)
    order = EpochOrder(36, 8, seed=3)
    order.start_at(1, 2)
    for split in (kept, visited):
        split.batches = list(DataLoader(split, batch_size=None, sampler=order, num_workers=num_workers))
    assert [batch.number for batch in visited.batches] == [6, 7]
    for one, other in zip(kept.batches, visited.batches, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_all_files_are_looked_at_once_and_again_when_one_has_changed(photo_folder, tmp_path, monkeypatch):
    root, looks = photo_folder("photos", side=40), []
    from vitlab.data.files import decoded, survey

    monkeypatch.setattr(
        survey, "decoded", lambda files, *rest: looks.append(len(files)) or decoded.decoded(files, *rest)
    )
    for _ in range(2):
        both(root, tmp_path)
    assert looks == [36]
    changed = sorted((root / "ash").iterdir())[0]
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(changed)
    both(root, tmp_path)
    assert looks == [36, 36]


def test_sixteen_bits_have_one_range_for_the_set_either_way(photo_folder, tmp_path):
    root = photo_folder("photos", side=8)
    for number, folder in enumerate(sorted(root.iterdir())):
        for file in folder.iterdir():
            file.unlink()
            values = np.linspace(0, 900 + 50 * number, 64).reshape(8, 8).astype(np.uint16)
            Image.fromarray(values).save(file.with_suffix(".png"))
    sources, parts = both(root, tmp_path, in_channels=1)
    kept, visited = (part["all"] for part in parts)
    assert torch.equal(visited.fetch(torch.arange(len(kept))), kept.fetch(torch.arange(len(kept))))
    assert sources[0].white == sources[1].white < 65535
