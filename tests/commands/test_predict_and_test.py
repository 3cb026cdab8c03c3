"""From a checkpoint alone: the same test result as the training run's, and classes for photographs of any
kind."""

import base64
import csv
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitlab.data.known_split import known_split
from vitlab.runs.load import data_of, load_model

FAST = [
    "trainer.max_epochs=8",
    "data.image_size=32",
    "patch_size=8",
    "data.batch_size=8",
    "model.depth=1",
    "schedule.warmup_epochs=0",
]
FAST += [
    "hardware=cpu",
    "data.test_fraction=0.25",
    "augment.crop_padding=2",
    "optimizer.lr=3e-3",
    "callbacks=[default,ema]",
]
FAST += ["trainer.precision=bf16-mixed", "data.eval_size=40"]


def predictions(folder):
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(trained_in, write_photos, tmp_path_factory):
    """Trains three colours of photographs; returns the checkpoint, the run's record and the photographs'
    folder."""
    folder = tmp_path_factory.mktemp("colours")
    run = trained_in(folder, "data=folder", f"data.root={write_photos(folder / 'photos')}", *FAST)
    return run / "checkpoints" / "best.ckpt", json.loads((run / "run.json").read_text()), folder / "photos"


def test_testing_a_checkpoint_gives_the_training_runs_result(vitlab, trained, tmp_path):
    checkpoint, record, root = trained
    ended = vitlab("test", f"checkpoint={checkpoint}", "hardware=cpu", f"hydra.run.dir={tmp_path}/tested")
    assert ended.status == 0, ended.err
    tested = json.loads((tmp_path / "tested" / "run.json").read_text())
    assert tested["status"] == "completed"
    for name in ("test/accuracy", "test/loss"):
        assert tested["metrics"][name] == record["metrics"][name]
    assert tested["data"] == record["data"]
    assert (tmp_path / "tested" / "figures" / "test_confusion.png").is_file()

    moved = root.rename(tmp_path / "elsewhere")
    try:
        lost = vitlab("test", f"checkpoint={checkpoint}", "hardware=cpu")
        found = vitlab("test", f"checkpoint={checkpoint}", "hardware=cpu", f"data.root={moved}")
    finally:
        moved.rename(root)
    assert lost.status == 2 and str(root) in lost.err
    assert found.status == 0, found.err


def test_predicting_writes_top_k_with_probabilities_for_any_photograph(vitlab, trained, tmp_path):
    checkpoint, _, _ = trained
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    for name, channel in (("red", 0), ("green", 1), ("blue", 2)):
        pixels = np.full((90, 160, 3), 60, dtype=np.uint8)  # another size and shape than the training saw
        pixels[..., channel] += 100
        Image.fromarray(pixels).save(holiday / f"{name}.jpg")
    ended = vitlab(
        "predict",
        f"checkpoint={checkpoint}",
        f"images={holiday}",
        "top_k=2",
        "coverage=0.5",
        f"hydra.run.dir={tmp_path}/predicted",
        "device=cpu",
    )
    assert ended.status == 0, ended.err
    assert "sets for 50% of cases: " in ended.out
    rows = {Path(row["file"]).stem: row for row in predictions(tmp_path / "predicted")}
    assert {name: row["class_1"] for name, row in rows.items()} == {
        "red": "ash",
        "green": "birch",
        "blue": "cedar",
    }
    for row in rows.values():
        assert 1.0 >= float(row["probability_1"]) >= float(row["probability_2"]) > 0.0
        assert row["class_1"] in row["set_0.5"].split("; ")
        assert row["file"].rpartition("/")[2] in ended.out


def test_a_file_that_is_no_image_is_named_and_the_others_are_classified(vitlab, trained, tmp_path):
    checkpoint, _, _ = trained
    folder = tmp_path / "mixed"
    folder.mkdir()
    Image.new("RGB", (40, 40), "red").save(folder / "good.png")
    (folder / "bad.png").write_bytes(b"<html>")
    ended = vitlab(
        "predict",
        f"checkpoint={checkpoint}",
        f"images={folder}",
        f"hydra.run.dir={tmp_path}/predicted",
        "device=cpu",
    )
    assert ended.status == 2
    assert "bad.png" in ended.err and len(ended.err.strip().splitlines()) == 1
    assert [Path(row["file"]).name for row in predictions(tmp_path / "predicted")] == ["good.png"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["predict", "top_k=abc"], "top_k=abc is of the wrong kind; a whole number would work"),
        (["predict", "images=null"], "images=null is of the wrong kind; a word would work"),
        (["predict", "images="], "images has no value; give one: images=..."),
        (["predict", "+topk=3"], "unknown key topk=3; did you mean top_k?"),
        (
            ["test", "data.batch_size=many"],
            "data.batch_size=many is of the wrong kind; a whole number or null would work",
        ),
        (["test", "trainer.limit_test_batches=abc"], "trainer.limit_test_batches=abc is of the wrong kind"),
        (["test", "+trainer.foo=0"], "unknown key trainer.foo=0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_value_is_refused_in_one_line(vitlab, trained, arguments, says):
    checkpoint, _, root = trained
    command, value = arguments
    more = [f"images={root}"] if command == "predict" and not value.startswith("images") else []
    ended = vitlab(command, f"checkpoint={checkpoint}", *more, value)
    assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended.err
    assert says in ended.err
    assert not list(Path().rglob("run.json")) and not list(Path().rglob("predictions.csv"))


@pytest.mark.parametrize("name", ["photo(1).png", "grün.png", "it's [b] & a, =.png"])
def test_photographs_are_found_by_whatever_name_they_have(vitlab, trained, tmp_path, name):
    checkpoint, _, _ = trained
    Image.new("RGB", (40, 40), "red").save(tmp_path / name)
    ended = vitlab(
        "predict",
        f"checkpoint={checkpoint}",
        f"images={tmp_path}/{name}",
        f"hydra.run.dir={tmp_path}/predicted",
        "device=cpu",
    )
    assert ended.status == 0, ended.err
    assert [Path(row["file"]).name for row in predictions(tmp_path / "predicted")] == [name]


def outcome(folder):
    record = json.loads((folder / "run.json").read_text())
    return record["metrics"], {name: split["images"] for name, split in record["data"]["splits"].items()}


def test_of_a_folder_that_has_grown_the_images_are_tested_that_the_run_held_back(
    vitlab, trained, write_photos, tmp_path
):
    checkpoint, record, root = trained
    grown, number = shutil.copytree(root, tmp_path / "grown"), record["data"]["splits"]["test"]["images"]
    for file in sorted(write_photos(tmp_path / "more", side=20).rglob("*.png")):
        file.rename(grown / file.parent.name / f"0{file.name}")
    ended = vitlab(
        "test",
        f"checkpoint={checkpoint}",
        "hardware=cpu",
        f"data.root={grown}",
        f"hydra.run.dir={tmp_path}/tested",
    )
    assert ended.status == 0, ended.err
    metrics, splits = outcome(tmp_path / "tested")
    assert splits == {"test": number}
    assert f"the {number} images that the run held back; new and left out: 36" in ended.out
    for name in ("test/accuracy", "test/loss"):  # the same images, normalised as they were
        assert metrics[name] == record["metrics"][name]
    quick = [
        "methods=rollout",
        "num_images=4",
        "num_shown=1",
        "num_mistakes=0",
        "num_mosaics=0",
        "device=cpu",
    ]
    ended = vitlab(
        "inspect",
        f"checkpoint={checkpoint}",
        f"data.root={grown}",
        *quick,
        f"hydra.run.dir={tmp_path}/inspected",
    )
    assert ended.status == 0 and outcome(tmp_path / "inspected")[1] == {"test": number}, ended.err


def test_another_folder_is_tested_whole_and_one_of_training_images_is_refused(
    vitlab, trained, write_photos, tmp_path
):
    checkpoint, record, root = trained
    other = write_photos(tmp_path / "other", count=1, side=20)
    ended = vitlab(
        "test",
        f"checkpoint={checkpoint}",
        "hardware=cpu",
        f"data.root={other}",
        f"hydra.run.dir={tmp_path}/tested",
    )
    assert ended.status == 0 and "all 3 images, none of them the run's" in ended.out, ended.err
    assert outcome(tmp_path / "tested")[1] == {"test": 3}

    held_back = {file.read_bytes() for file in root.rglob("*.png")}
    content = torch.load(checkpoint, weights_only=True)["vitlab"]["data"]["files"]
    test_ids = np.frombuffer(base64.b64decode(content["test"]), "<i8")
    seen = shutil.copytree(root, tmp_path / "seen")
    for file in seen.rglob("*.png"):
        if np.frombuffer(hashlib.blake2b(file.read_bytes()).digest()[:8], "<i8") in test_ids:
            held_back.discard(file.read_bytes())
            file.unlink()
    assert len(held_back) == 36 - record["data"]["splits"]["test"]["images"]
    ended = vitlab("test", f"checkpoint={checkpoint}", "hardware=cpu", f"data.root={seen}")
    assert (
        ended.status == 2
        and f"no image is left as test: here are only {len(held_back)} that the run had in train and val"
        in ended.err
    )


def test_weights_that_were_trained_on_what_is_now_held_back_are_named_with_counts(vitlab, trained, tmp_path):
    checkpoint, _, root = trained
    start = [
        "train",
        "model=pretrained",
        f"model.weights={checkpoint}",
        "data=folder",
        f"data.root={root}",
        "trainer.max_epochs=1",
    ]
    start += [
        "hardware=cpu",
        "callbacks=default",
        "data.batch_size=8",
        "data.image_size=32",
        "data.eval_size=40",
        "schedule.warmup_epochs=0",
    ]
    ended = vitlab(*start, "data.test_fraction=0.25", "data.split_seed=1", f"hydra.run.dir={tmp_path}/other")
    assert ended.status == 0 and re.search(
        r"its run trained on \d of 3 val images and \d of 9 test images", ended.out
    ), ended.out


def test_a_picture_above_the_limit_is_predicted_once_the_option_that_is_named_allows_it(
    vitlab, trained, tmp_path
):
    checkpoint, _, _ = trained
    Image.new("1", (1200, 1000)).save(tmp_path / "large.png")
    predict = ["predict", f"checkpoint={checkpoint}", f"images={tmp_path}/large.png", "device=cpu"]
    ended = vitlab(*predict, "data.max_megapixels=1", f"hydra.run.dir={tmp_path}/refused")
    assert ended.status == 2 and "data.max_megapixels=2 would read it" in ended.err
    ended = vitlab(*predict, "data.max_megapixels=2", f"hydra.run.dir={tmp_path}/read")
    assert ended.status == 0 and len(predictions(tmp_path / "read")) == 1, ended.err


def test_a_class_folder_that_is_no_utf_8_is_trained_tested_and_predicted_by_its_escaped_name(
    vitlab, trained_in, write_photos, tmp_path
):
    root = write_photos(tmp_path / "photos", classes=("caf\udce9", "b"))
    run = trained_in(tmp_path, "data=folder", f"data.root={root}", *FAST[1:], "trainer.max_epochs=1")
    assert json.loads((run / "run.json").read_text())["status"] == "completed"
    ended = vitlab(
        "predict",
        f"checkpoint={run}/checkpoints/best.ckpt",
        f"images={root}",
        "device=cpu",
        f"hydra.run.dir={tmp_path}/predicted",
    )
    assert ended.status == 0, ended.err
    rows = predictions(tmp_path / "predicted")
    assert {row["class_1"] for row in rows} <= {"caf\\xe9", "b"} and any(
        "caf\\" in row["file"] for row in rows
    )


def test_images_that_the_run_held_back_are_looked_at_also_where_they_would_be_cut_otherwise_today(trained):
    card = load_model(trained[0])[1]
    node = card.config["datamodule"] | {"split_seed": 5}  # stands for a vitlab that cuts otherwise
    for config in (card.config, card.config | {"datamodule": node}):
        data = data_of(replace(card, config=config), "test", None)
        data.setup()
        split = data.splits["test"]
        assert torch.equal(split.samples.files[split.indices], known_split(card.data).files["test"])


def test_a_checkpoint_knows_its_classes_by_name_whatever_their_order_is_today(trained):
    checkpoint, _, _ = trained
    card = load_model(checkpoint)[1]
    names = ["cedar", "ash", "birch"]  # as a vitlab that sorted otherwise would have numbered them
    data = data_of(replace(card, class_names=names), "test", None)
    data.setup()
    split = data.splits["test"]
    colours = split.samples.fetch(split.indices).float().mean(dim=(2, 3)).argmax(dim=1)
    assert [names[label] for label in split.labels] == [card.class_names[colour] for colour in colours]


def test_data_of_other_classes_is_no_test_of_this_model(vitlab, trained, write_photos, tmp_path):
    checkpoint, _, _ = trained
    others = write_photos(tmp_path / "others", classes=("oak", "pine", "yew"))
    ended = vitlab("test", f"checkpoint={checkpoint}", "hardware=cpu", f"data.root={others}")
    assert (
        ended.status == 2
        and "the data has the classes oak, pine, yew; the model knows ash, birch, cedar" in ended.err
    )
    (others / "oak").rename(others / "Ash")
    ended = vitlab("test", f"checkpoint={checkpoint}", "hardware=cpu", f"data.root={others}")
    assert ended.status == 2 and "('Ash' and 'ash' differ in case, blanks or letter forms only)" in ended.err
    assert not list(tmp_path.rglob("run.json"))  # nothing began


def test_a_checkpoint_finds_its_images_from_anywhere(vitlab, trained_in, write_photos, tmp_path, monkeypatch):
    write_photos(tmp_path / "photos")
    run = trained_in(
        tmp_path,
        "data=folder",
        "data.root=photos",
        *FAST[1:],
        "trainer.max_epochs=1",
        "callbacks.evaluation=null",
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ended = vitlab("test", f"checkpoint={run}/checkpoints/best.ckpt", "hardware=cpu")
    assert ended.status == 0, ended.err


def strange_models(marker, precious):
    """Models of checkpoints that would do something else when they are built, and what is said of them."""
    touch = {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(marker)]}}
    remove = {"_target_": "vitlab.data.files.store.read_store", "folder": str(precious)}
    unpack = {
        "_target_": "vitlab.files.download.fetch_archive",
        "url": f"file://{marker}",
        "folder": str(precious),
    }
    shape = {"patch_size": 4, "in_channels": 3, "embed_dim": 16}
    text = f"_target_: pathlib.Path.touch, self: {marker}"
    yield touch, "is not allowed"
    yield remove, "nothing that a config puts together"
    yield unpack, "is not allowed"
    yield (
        {"_target_": "vitlab.models.patch_embed.ConvStem", **shape, "_args_": [remove]},
        "._args_ is not allowed",
    )
    yield (
        {
            "_target_": "vitlab.models.patch_embed.ConvStem",
            **shape,
            "stem_width": "${oc.create:${oc.decode:'{" + text + "}'}}",
        },
        "not resolved",
    )


def test_a_checkpoint_from_a_stranger_executes_nothing(vitlab, trained, tmp_path):
    checkpoint, _, root = trained
    marker, precious = tmp_path / "executed", tmp_path / "precious"
    precious.mkdir()

    class Evil:
        def __reduce__(self):
            return (Path.touch, (marker,))

    pickled = tmp_path / "pickled.ckpt"
    torch.save({"state_dict": {}, "vitlab": Evil()}, pickled)
    strangers = [(pickled, "cannot be read")]
    for number, (model, says) in enumerate(strange_models(marker, precious)):
        content = torch.load(checkpoint, weights_only=True)
        content["vitlab"]["config"]["model"] = model
        strangers.append((tmp_path / f"strange_{number}.ckpt", says))
        torch.save(content, strangers[-1][0])
    for file, says in strangers:
        for command in ("test", "predict", "export"):
            more = {"test": [], "predict": [f"images={root}"], "export": ["format=timm"]}[command]
            ended = vitlab(command, f"checkpoint={file}", *more)
            assert ended.status == 2 and says in ended.err, ended
            assert len(ended.err.strip().splitlines()) == 1
        ended = vitlab(
            "train", "model=pretrained", f"model.weights={file}", "data=folder", f"data.root={root}"
        )
        assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended
    assert not marker.exists() and precious.is_dir()
