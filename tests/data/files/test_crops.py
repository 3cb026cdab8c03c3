"""Crops of original files are what torchvision cuts out of the whole picture, whoever decodes them and
however small."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as v2

from vitlab.data.augment.boxes import CROP_ASPECT, random_boxes
from vitlab.data.augment.draws import Draws
from vitlab.data.augment.policy import Augment
from vitlab.data.files import crops
from vitlab.data.files.crops import Cut, crops_of, cut_out, opened, shrinking
from vitlab.data.files.decode import ALONE, ORIENTATION, read_pixels
from vitlab.data.image_data import ImageData
from vitlab.data.sources.folder import ImageFolder


def scene(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        120 + 90 * np.sin(x / 19 + c) * np.cos(y / 17 - c) + 20 * ((x // 8 + y // 8) % 2) for c in range(3)
    ]
    return Image.fromarray(np.stack(waves, -1).clip(0, 255).astype(np.uint8))


def crops_at(
    paths: list[Path],
    draws: torch.Tensor,
    size: tuple[int, int] = (48, 48),
    channels: int = 3,
    flip: float = 0.0,
) -> Any:
    return list(crops_of(paths, Cut(draws, flip, (0.08, 1.0), size), channels, ALONE))


def test_a_crop_is_torchvisions_of_the_whole_picture(tmp_path: Path) -> None:
    sizes = [(90, 140), (200, 61), (30, 30), (1, 300)]
    for number, size in enumerate(sizes):
        scene(*size).save(tmp_path / f"{number}.png")
    draws = torch.rand(4, 5, generator=torch.Generator().manual_seed(3))
    for path, size, draw, crop in zip(
        sorted(tmp_path.iterdir()), sizes, draws, crops_at(sorted(tmp_path.iterdir()), draws), strict=True
    ):
        top, left, bottom, right = (
            round(side) for side in random_boxes(draw[None, :4], (0.08, 1.0), CROP_ASPECT, size)[0].tolist()
        )
        top, left = min(top, size[0] - 1), min(left, size[1] - 1)
        whole = torch.from_numpy(read_pixels(path, 3, ALONE).copy()).permute(2, 0, 1)
        box = [top, left, max(bottom, top + 1) - top, max(right, left + 1) - left]
        expected = v2.resized_crop(whole, *box, [48, 48], antialias=True)  # type: ignore[call-arg]
        assert (crop.int() - expected.int()).abs().max() <= 1


def pictures(folder: Path) -> list[Path]:
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    large = scene(903, 1207)
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "small.jpg": (scene(61, 77), {}),
        "large.jpg": (large, {}),
        "grey.jpg": (large.convert("L"), {}),
        "fine.jpg": (large, {"subsampling": 0, "quality": 95}),
        "progressive.jpg": (large, {"progressive": True}),
        "turned.jpg": (large, {"exif": turned}),
        "cmyk.jpg": (large.convert("CMYK"), {}),
        "png.jpg": (scene(300, 300), {"format": "PNG"}),
    }
    for name, (picture, options) in made.items():
        picture.save(folder / name, **options)
    return [folder / name for name in made]


@pytest.mark.parametrize("channels", [1, 3])
def test_both_decoders_give_the_same_pixels_at_every_scale(
    tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = {1: (0.0, 0.0, 60.0, 60.0), 2: (100.0, 50.0, 240.0, 170.0), 4: (3.0, 5.0, 403.0, 205.0)}
    boxes[8] = (0.0, 0.0, 900.0, 900.0)
    decoded = 0
    for path in pictures(tmp_path):
        for factor, box in boxes.items():
            assert shrinking(box, (48, 48)) == factor
            fast = opened(path, channels, ALONE)
            decoded += fast.content is not None
            with monkeypatch.context() as patch:
                patch.setattr(crops, "simplejpeg", None)
                slow = opened(path, channels, ALONE)
                assert slow.content is None and slow.size == fast.size
                expected = cut_out(slow, box, (48, 48), channels, ALONE)
            assert torch.equal(cut_out(fast, box, (48, 48), channels, ALONE), expected), (path.name, factor)
    assert decoded >= (4 if channels == 1 else 20)


def test_a_crop_of_a_picture_decoded_at_less_than_its_size_shows_what_one_of_the_whole_shows(
    tmp_path: Path,
) -> None:
    for path in pictures(tmp_path)[1:7]:
        box = (80.0, 96.0, 688.0, 760.0)  # whose edges are pixels of an eighth, too
        original = opened(path, 3, ALONE)
        whole = torch.from_numpy(read_pixels(path, 3, ALONE).copy()).permute(2, 0, 1)
        expected = v2.resized_crop(whole, 80, 96, 608, 664, [48, 48], antialias=True)  # type: ignore[call-arg]
        assert shrinking(box, (48, 48)) == 8
        assert (cut_out(original, box, (48, 48), 3, ALONE).int() - expected.int()).abs().float().mean() < 3, (
            path
        )


def test_damaged_files_are_the_same_picture_or_the_same_refusal_with_either_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, path = np.random.default_rng(0), tmp_path / "a.jpg"
    scene(64, 80).save(path)
    good, refused, draws = np.frombuffer(path.read_bytes(), np.uint8), 0, torch.rand(1, 5)
    for _ in range(80):
        bad = good.copy()
        bad[random.integers(0, len(bad), 4)] = random.integers(0, 256, 4)
        path.write_bytes(bad.tobytes()[: random.integers(len(bad) // 2, 2 * len(bad))])
        (fast,) = crops_at([path], draws)
        with monkeypatch.context() as patch:
            patch.setattr(crops, "simplejpeg", None)
            (slow,) = crops_at([path], draws)
        if isinstance(slow, ValueError):
            refused += 1
            assert str(fast) == str(slow) and str(path) in str(slow) and "\n" not in str(slow)
        else:
            assert torch.equal(fast, slow)
    assert 10 < refused < 80


def data_of(root: Path, cache: Path, store: str, num_workers: int = 0, **more: Any) -> ImageData:
    source = ImageFolder(str(root), 24, cache_dir=str(cache), store=store, **more)  # type: ignore[arg-type]
    augment = Augment(resized_crop=[0.2, 1.0], flip=0.5, erasing=0.3)
    fixed: dict[str, Any] = {"val_fraction": 0.1, "test_fraction": 0.1, "split_seed": 0, "seed": 4}
    data = ImageData(source, augment, 16, 3, 3, 5, num_workers, mean=[0.5] * 3, std=[0.2] * 3, **fixed)
    data.setup()
    return data


def test_workers_ranks_and_a_start_in_the_middle_of_an_epoch_change_no_crop(
    photo_folder, tmp_path: Path
) -> None:
    root = photo_folder(side=40)
    expected = list(data_of(root, tmp_path / "cache", "none").train_dataloader())
    assert expected[0].images.shape == (5, 3, 16, 16) and len(expected) > 3
    loader = data_of(root, tmp_path / "cache", "none", num_workers=2).train_dataloader()
    loader.sampler.start_at(0, 2)
    for batch, known in zip(loader, expected[2:], strict=True):
        assert batch.number == known.number
        assert torch.equal(batch.images, known.images) and torch.equal(batch.labels, known.labels)

    whole = data_of(root, tmp_path / "cache", "none")
    whole.batch_size = 10
    first = next(iter(whole.train_dataloader()))
    for rank in (0, 1):
        half = data_of(root, tmp_path / "cache", "none")
        half.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # all that a loader asks of it
        part = next(iter(half.train_dataloader()))
        assert torch.equal(part.images, first.images[5 * rank : 5 * rank + 5])


def test_a_damaged_picture_is_replaced_by_a_crop_of_another_the_same_one_whoever_decodes(
    photo_folder, tmp_path: Path
) -> None:
    root = photo_folder(side=40)
    for file in sorted(root.rglob("*.png"))[::5]:
        file.write_bytes(b"no picture")
    once, again = (
        list(data_of(root, tmp_path / "cache", "none", workers, on_bad_image="skip").train_dataloader())
        for workers in (0, 1)
    )
    for batch, same in zip(once, again, strict=True):
        assert torch.equal(batch.images, same.images) and torch.equal(batch.labels, same.labels)


def test_decoded_images_are_cut_and_flipped_once_and_stored_ones_later(photo_folder, tmp_path: Path) -> None:
    root = photo_folder(side=40)
    assert next(iter(data_of(root, tmp_path / "cache", "cache").train_dataloader())).images.shape[2] == 24
    data = data_of(root, tmp_path / "cache", "none")
    batch = next(iter(data.train_dataloader()))
    data.augment.flip = 0.0
    straight = next(iter(data.train_dataloader()))
    flip = Draws(4, batch.number, 5).uniform("crop", 5)[:, 4] < 0.5
    expected = torch.where(flip[:, None, None, None], straight.images.flip(3), straight.images)
    assert torch.equal(batch.images, expected) and 0 < int(flip.sum()) < 5
    place = {"seed": 4, "number": batch.number, "num_classes": 3, "image_size": (16, 16), "is_cropped": True}
    images, _ = Augment(resized_crop=[0.2, 1.0], flip=0.5)(
        batch.images, batch.labels, mean=[0.0] * 3, std=[1.0] * 3, **place
    )
    assert torch.equal((images * 255).round().byte(), batch.images)
