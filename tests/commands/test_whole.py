"""`vitlab test data.split=all`: any labelled folder, table or shard is tested whole, its classes matched by
name."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

SHORT = ["hardware=cpu", "data=folder", "data.image_size=24", "data.batch_size=6", "patch_size=8"]
SHORT += ["model.depth=1", "model.embed_dim=16", "model.num_heads=2", "callbacks=[default]"]
SHORT += ["trainer.max_epochs=3", "optimizer.lr=3e-3", "callbacks.evaluation=null", "data.test_fraction=0.25"]


@pytest.fixture(scope="module")
def trained(trained_in, tmp_path_factory, write_photos):
    folder = tmp_path_factory.mktemp("trained")
    root = write_photos(folder / "photos")
    return trained_in(folder, *SHORT, f"data.root={root}", f"data.cache_dir={folder}/cache"), root


@pytest.fixture
def tested(vitlab, trained, tmp_path):
    """Runs the command; returns what it said, and the record."""

    def run(root, *given):
        out = tmp_path / "tested"
        shutil.rmtree(out, ignore_errors=True)
        checkpoint = f"checkpoint={trained[0]}/checkpoints/best.ckpt"
        ended = vitlab(
            "test",
            checkpoint,
            f"data.root={root}",
            "hardware=cpu",
            "data.split=all",
            *given,
            f"hydra.run.dir={out}",
        )
        record = json.loads((out / "run.json").read_text()) if ended.status == 0 else None
        return ended.out + ended.err, record

    return run


@pytest.fixture
def other(tmp_path):
    """A lone test/ folder with two of the three classes, of other photographs."""
    generator = np.random.default_rng(1)
    for label, name in enumerate(("ash", "birch")):
        (tmp_path / "other" / "test" / name).mkdir(parents=True)
        for index in range(5):
            pixels = generator.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[..., label] += 100
            Image.fromarray(pixels).save(tmp_path / "other" / "test" / name / f"{index}.png")
    return tmp_path / "other"


def as_tar(root):
    """Packs class folders as samples into a tar of a folder of its own."""
    folder = root.parent / "as tar"
    folder.mkdir()
    with tarfile.open(folder / "val-0.tar", "w") as tar:
        for file in sorted(root.rglob("*.png")):
            name = file.relative_to(root)
            for end, content in ((".png", file.read_bytes()), (".cls", file.parent.name.encode())):
                info = tarfile.TarInfo(str(name.with_suffix(end)))
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return folder


def test_a_folder_a_table_and_a_tar_of_the_same_pictures_score_the_same_and_absent_classes_are_named(
    tested, other
):
    said, record = tested(other)
    assert "no image of cedar; not tested" in said and record["data"]["splits"]["test"]["images"] == 10
    table = other / "labels.csv"
    rows = [f"{file.relative_to(other)},{file.parent.name}\n" for file in other.rglob("*.png")]
    table.write_text("file,kind\n" + "".join(rows))
    given = [f"data.file={table}", "data.path_column=file", "data.label_column=kind"]
    for root, more in ((other, given), (as_tar(other / "test"), [])):
        assert tested(root, *more)[1]["metrics"] == record["metrics"]


def test_images_of_unknown_classes_are_refused_or_left_out_aloud(tested, other):
    shutil.copytree(other / "test" / "ash", other / "test" / "zebra")
    said, record = tested(other)
    assert record is None and "5 image(s) of zebra, which the model does not know" in said
    assert "data.unknown_classes=skip would leave them out" in said
    said, record = tested(other, "data.unknown_classes=skip")
    assert "5 image(s) of zebra, which the model does not know: left out" in said
    assert record["data"]["splits"]["test"]["images"] == 10
    for name in ("ash", "birch"):
        shutil.rmtree(other / "test" / name)
    assert "it knows ash, birch, cedar" in tested(other, "data.unknown_classes=skip")[0]


def test_images_that_the_run_trained_on_are_counted(tested, trained):
    said, record = tested(trained[1])
    assert record["data"]["splits"]["test"]["images"] == 36
    number = json.loads((trained[0] / "run.json").read_text())["data"]["splits"]["train"]["images"]
    assert f"the run trained on {number} of these 36 images: the numbers will be too good" in said
