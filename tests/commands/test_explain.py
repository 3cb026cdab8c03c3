"""From a checkpoint alone: where in a stranger's photograph the reasons lie, and a report on the whole
model."""

import csv
import json
import os
import re
import sys
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from vitlab.commands.inspect import mosaics_of
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.digits import Digits
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.predictor import Predictor

SPLIT = {
    "val_fraction": 0.1,
    "test_fraction": 0.2,
    "split_seed": 0,
    "mean": [0.3],
    "std": [0.38],
    "batch_size": 64,
}
FAST = [
    "trainer.max_epochs=1",
    "data.image_size=32",
    "patch_size=8",
    "data.batch_size=8",
    "model.depth=2",
    "schedule.warmup_epochs=0",
]
FAST += [
    "hardware=cpu",
    "data.test_fraction=0.25",
    "augment=none",
    "optimizer.lr=3e-3",
    "callbacks=[default]",
    "callbacks.evaluation=null",
]
HOSTILE = "<script>alert(1)"


def trained(vitlab, root, folder, *options):
    ended = vitlab("train", "data=folder", f"data.root={root}", *FAST, *options, f"hydra.run.dir={folder}")
    assert ended.status == 0, ended.err
    return folder / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize(
    "pooling",
    [["model.global_pool=avg"], ["model.class_token=true", "model.global_pool=token"]],
    ids=["avg", "token"],
)
def test_explaining_photographs_of_any_make_leaves_a_picture_numbers_and_a_page_for_each(
    vitlab, photo_folder, tmp_path, pooling
):
    checkpoint = trained(vitlab, photo_folder(classes=("ash", HOSTILE, "cedar")), tmp_path / "run", *pooling)
    holiday = tmp_path / "holiday"
    (holiday / "below").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 100, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(holiday / "clear.png")
    Image.fromarray(pixels[..., 0]).save(holiday / "below" / "grey.jpg", exif=exif)
    Image.fromarray(pixels[..., :3]).save(holiday / f"{HOSTILE}.png")
    pictures = ["clear.png", "below/grey.jpg", f"{HOSTILE}.png"]
    if sys.platform == "linux":  # where a name is any bytes
        pictures.append(os.fsdecode(b"r\xe9d.png"))
        Image.fromarray(pixels[..., :3]).save(holiday / pictures[-1])
    (holiday / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing more")
    ended = vitlab(
        "predict",
        f"checkpoint={checkpoint}",
        f"images={holiday}",
        "explain=rollout,relevance",
        "device=cpu",
        f"hydra.run.dir={tmp_path}/said",
    )
    assert ended.status == 2 and "damaged.jpg" in ended.err and len(ended.err.strip().splitlines()) == 1

    explained = tmp_path / "said" / "explained"
    names = {path.relative_to(explained).as_posix() for path in explained.rglob("*") if path.is_file()}
    written = {
        name: name.encode(errors="backslashreplace").decode() for name in pictures
    }  # TensorBoard reads these names too
    assert names == {f"{name}{suffix}" for name in written.values() for suffix in (".png", ".json", ".html")}
    with (tmp_path / "said" / "predictions.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    for name in pictures:
        numbers = json.loads((explained / f"{written[name]}.json").read_text())
        assert numbers["predictions"][0]["class"] == rows[str(holiday / written[name])]["class_1"]
        assert list(numbers["methods"]) == ["rollout", "relevance"]
        for method in numbers["methods"].values():
            assert np.shape(method["heatmap"]) == (4, 4) and np.sum(method["heatmap"]) == pytest.approx(
                1, abs=1e-6
            )
        with Image.open(explained / f"{written[name]}.png") as picture:
            assert np.asarray(picture).std() > 20
        page = (explained / f"{written[name]}.html").read_text(encoding="utf-8")
        assert HOSTILE not in page and "&lt;script&gt;alert(1)" in page
    index = (tmp_path / "said" / "index.html").read_text(encoding="utf-8")
    assert HOSTILE not in index and index.count("<img") == len(pictures) and "damaged.jpg" in index
    links = [unquote(link) for link in re.findall(r'<a href="([^"]+)"', index)]
    assert set(links) == {f"explained/{name}.html" for name in written.values()}
    assert 'href="../../index.html"' in (explained / "below/grey.jpg.html").read_text(encoding="utf-8")
    clear, grey = (json.loads((explained / f"{written[name]}.json").read_text()) for name in pictures[:2])
    assert clear["seen"] == {"left": 20, "top": 0, "right": 80, "bottom": 60}
    assert (grey["height"], grey["width"]) == (100, 60) and grey["seen"] == {
        "left": 0,
        "top": 20,
        "right": 60,
        "bottom": 80,
    }


def test_a_method_that_does_not_exist_is_refused_with_the_ones_that_do_before_anything_is_read(vitlab):
    for command, key, more in (("predict", "explain", ["images=nowhere"]), ("inspect", "methods", [])):
        for value in ("rolout", "relevance,rolout", "[relevance,rolout]"):
            ended = vitlab(command, "checkpoint=nowhere.ckpt", *more, f"{key}={value}")
            assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1
            assert f"{key}=rolout" in ended.err and "rollout, rollout_max" in ended.err
        for value in ("rollout,", ",rollout", "rollout,,relevance"):
            ended = vitlab(command, "checkpoint=nowhere.ckpt", *more, f"{key}={value}")
            assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1
            assert f"{key}={value} names no method on one side of a comma; known: attention" in ended.err
        ended = vitlab(command, "checkpoint=nowhere.ckpt", *more, f"{key}=true")
        assert ended.status == 2 and f"{key}=True" in ended.err and len(ended.err.strip().splitlines()) == 1


def test_mosaics_are_of_images_that_the_model_recognises_and_one_class_of_them_is_too_few():
    data = ImageData(
        Digits(), Augment(), image_size=8, in_channels=1, num_classes=10, num_workers=0, seed=0, **SPLIT
    )
    data.setup()
    split = data.splits["test"]
    model = VisionTransformer(LinearPatchEmbed(2, 1, 8), 8, 10, embed_dim=8, depth=1, num_heads=1)
    predictor = Predictor(model, data.class_names, data.preprocessing(), "cpu")
    known = (split.labels < 2).nonzero().flatten()
    made = mosaics_of(predictor, split, known, 20, seed=0)
    assert not isinstance(made, str) and len(made.mosaics.targets) == 20
    assert made.mosaics.targets.unique().tolist() == [0, 1]
    of_one = mosaics_of(predictor, split, known[split.labels[known] == 1], 20, seed=0)
    assert of_one == "the model recognises images of 1 class(es) of this split, and a mosaic needs two"


def test_inspecting_a_checkpoint_reports_the_training_runs_accuracy_and_holds_every_method_to_account(
    vitlab, photo_folder, tmp_path
):
    root = photo_folder(classes=("ash", HOSTILE, "cedar"))
    checkpoint = trained(vitlab, root, tmp_path / "run")
    moved = root.rename(tmp_path / "elsewhere")
    inspect = [
        "inspect",
        f"checkpoint={checkpoint}",
        "methods=rollout,relevance",
        "device=cpu",
        "num_images=6",
        "num_shown=3",
    ]
    lost = vitlab(*inspect)
    assert lost.status == 2 and str(root) in lost.err and len(lost.err.strip().splitlines()) == 1
    assert vitlab(*inspect, "split=tset").status == 2
    ended = vitlab(*inspect, f"data.root={moved}", f"hydra.run.dir={tmp_path}/inspected")
    assert ended.status == 0, ended.err

    run, record = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("run", "inspected"))
    assert record["status"] == "completed" and record["data"] == run["data"]
    numbers = json.loads((tmp_path / "inspected" / "inspection.json").read_text())
    assert numbers["accuracy"] == pytest.approx(run["metrics"]["test/accuracy"], abs=1e-6)
    assert numbers["num_images"] == 9 and numbers["num_scored"] == 6
    steps = [line.partition(" of 6: ")[2] for line in ended.out.splitlines() if " of 6: " in line]
    assert len(steps) == 6 and steps[2].startswith("rollout") and steps[3].startswith("relevance")
    assert (
        numbers["conclusion"]["sentence"].startswith("Believe ")
        and numbers["conclusion"]["sentence"] in ended.out
    )
    for method, trust in numbers["methods"].items():
        assert method in ("rollout", "relevance")
        assert list(trust["cascade"]) == ["head", "blocks.1", "blocks.0", "embedding"]
    assert numbers["methods"]["rollout"]["cascade"]["head"] == pytest.approx(1)  # rollout knows no head
    assert np.shape(numbers["layers_x_heads"]["entropy"]) == np.shape(numbers["layers_x_heads"]["max_logit"])
    page = (tmp_path / "inspected" / "inspection.html").read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert page.index(numbers["conclusion"]["sentence"]) < page.index("<h2>Facts</h2>")
    for section in (
        "Where it looks",
        "All layers and heads",
        "Patch filters",
        "Position similarity",
        "Features",
        "Length of the tokens",
    ):
        assert f"<h2>{section}</h2>" in page
