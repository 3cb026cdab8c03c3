"""`vitlab train model.weights=...` from end to end: the config follows the weights, and a checkpoint needs
them no more."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import resnet18

from vitlab.config.check import check_config
from vitlab.config.compose import compose_config
from vitlab.config.fill import fill_in

FAST = [
    "hardware=cpu",
    "trainer.max_epochs=1",
    "schedule.warmup_epochs=0",
    "data.batch_size=8",
    "augment=none",
    "callbacks=[default]",
    "callbacks.evaluation=null",
]
STILL = "optimizer.lr=1e-30"  # the weights stay what they were


def train(vitlab, folder, *arguments):
    """Returns the best checkpoint of a run, and what the run said."""
    ended = vitlab("train", *FAST, *arguments, f"hydra.run.dir={folder}")
    assert ended.status == 0, ended.err
    return torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True), ended.out


def trained_tensors(checkpoint):
    return {
        name.removeprefix("model."): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("model.")
    }


@pytest.fixture
def described_file(pretrained_file, tmp_path):
    """A folder with the small ViT and timm's description of it."""
    folder = tmp_path / "described"
    folder.mkdir()
    shutil.copy(pretrained_file, folder / "model.safetensors")
    facts = {
        "input_size": [3, 32, 32],
        "crop_pct": 0.8,
        "interpolation": "bilinear",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    }
    (folder / "config.json").write_text(
        json.dumps({"architecture": "vit", "model_args": {"num_heads": 1}, "pretrained_cfg": facts})
    )
    return folder


def test_a_run_starts_from_the_weights_and_its_checkpoint_needs_them_no_more(
    vitlab, described_file, photo_folder, tmp_path
):
    source = [
        "model=pretrained",
        f"model.weights=timm:{described_file}",
        "data=folder",
        f"data.root={photo_folder()}",
    ]
    checkpoint, said = train(vitlab, tmp_path / "run", *source, STILL)
    theirs, ours = load_file(described_file / "model.safetensors"), trained_tensors(checkpoint)
    for name, value in theirs.items():
        if not name.startswith("head."):
            torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-20, msg=name)
    assert ours["head.weight"].shape == (3, 64)
    assert said.count("replaced    2  10 classes in the file, 3 here: head") == 1
    assert checkpoint["vitlab"]["preprocessing"] == {
        "stored_size": [40, 40],
        "image_size": [32, 32],
        "in_channels": 3,
        "interpolation": "bilinear",
        "fit": "crop",
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    }

    shutil.rmtree(described_file)
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    predicted = vitlab(
        "predict",
        f"checkpoint={best}",
        f"images={tmp_path}/photos/ash",
        f"hydra.run.dir={tmp_path}/predicted",
        "device=cpu",
    )
    assert predicted.status == 0, predicted.err
    with (tmp_path / "predicted" / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12
    tested = vitlab("test", f"checkpoint={best}", "hardware=cpu", f"hydra.run.dir={tmp_path}/tested")
    assert tested.status == 0, tested.err


def test_a_vitlab_checkpoint_of_any_architecture_goes_on_in_another_data_set(vitlab, photo_folder, tmp_path):
    shape = [
        "model.embed_dim=16",
        "model.depth=1",
        "model.num_heads=2",
        "model.pos_embed=sincos_2d",
        "model.init_values=0.1",
        "ffn=dwconv",
    ]
    fewer = [f"trainer.limit_{part}_batches=3" for part in ("train", "val", "test")]
    first, _ = train(vitlab, tmp_path / "first", "patch_embed=conv_stem", *shape, *fewer)
    source = f"model.weights={tmp_path}/first/checkpoints/best.ckpt"
    second, _ = train(
        vitlab,
        tmp_path / "second",
        "model=pretrained",
        source,
        "data=folder",
        f"data.root={photo_folder()}",
        STILL,
    )
    before, after = trained_tensors(first), trained_tensors(second)
    assert second["vitlab"]["config"]["patch_embed"]["_target_"].endswith("ConvStem")
    assert second["vitlab"]["preprocessing"]["mean"] == [0.3053] * 3  # the digits', for each colour
    different = {name for name, value in before.items() if not torch.equal(after[name], value)} - {
        "head.weight",
        "head.bias",
    }
    statistics = {name for name in before if "running" in name or "tracked" in name}
    assert different <= {"patch_embed.stem.0.weight"} | statistics
    grey = before["patch_embed.stem.0.weight"]
    torch.testing.assert_close(after["patch_embed.stem.0.weight"].sum(dim=1, keepdim=True), grey)


def test_a_resnet_from_torchvision_fills_the_hybrids_trunk(vitlab, photo_folder, tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    options = [
        "patch_embed=resnet_stage",
        "patch_embed.stem=imagenet",
        "patch_embed.norm=batch",
        "patch_size=8",
        "data.image_size=32",
    ]
    source = [
        f"model.weights=torchvision:{tmp_path}/resnet18.pth",
        "data=folder",
        f"data.root={photo_folder()}",
    ]
    checkpoint, said = train(
        vitlab,
        tmp_path / "run",
        "model=vit_micro",
        *options,
        *source,
        STILL,
        "data.mean=null",
        "data.std=null",
    )
    network = torch.load(tmp_path / "resnet18.pth", weights_only=True)
    assert torch.equal(
        trained_tensors(checkpoint)["patch_embed.trunk.layer2.1.bn2.running_var"],
        network["layer2.1.bn2.running_var"],
    )
    assert checkpoint["vitlab"]["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert "not in a ResNet" in said


def filled(*overrides):
    config = compose_config("train", ["run_dir=.", *overrides])
    fill_in(config)
    return check_config(
        config, compose_config("train", [override for override in overrides if "." not in override])
    )


def test_the_configs_own_values_win_over_the_weights(described_file, photo_folder):
    source = [f"model.weights=timm:{described_file}", "data=folder", f"data.root={photo_folder()}"]
    shape = ["model=vit", "model.embed_dim=64", "model.depth=2", "model.num_heads=1", "patch_size=8"]
    own = filled(
        *shape, *source, "data.image_size=64", "data.mean=[0.5,0.5,0.5]", "data.interpolation=bicubic"
    )
    data = own["data"]
    assert (data["image_size"], data["stored_size"], data["mean"], data["interpolation"]) == (
        64,
        64,
        [0.5] * 3,
        "bicubic",
    )
    assert data["std"] == [0.4, 0.5, 0.6]  # null in conf/data/folder.yaml
    assert filled(*shape, *source, "data.image_size=64", "data.stored_size=null")["data"]["stored_size"] == 80
    assert filled(*shape, *source, "data.image_size=null")["data"]["stored_size"] == 40
    grey = filled("model=pretrained", *source, "data.in_channels=1")["data"]
    assert grey["mean"] == [pytest.approx(0.2)]


NOT_TOLD = (
    "does not tell how its images were prepared; here: data.image_size=32 data.stored_size=32"
    " data.interpolation=bicubic data.fit=crop"
)


def test_what_weights_do_not_tell_is_not_said_to_be_theirs(pretrained_file, photo_folder, caplog):
    caplog.set_level("INFO")
    data = filled(
        "model=pretrained",
        f"model.weights=timm:{pretrained_file}",
        "data=folder",
        f"data.root={photo_folder()}",
    )["data"]
    assert (data["image_size"], data["stored_size"], data["interpolation"]) == (32, 32, "bicubic")
    (theirs,) = (line for line in caplog.messages if line.startswith("as in"))
    assert "data.image_size=32" in theirs and "interpolation" not in theirs and "stored_size" not in theirs
    (warning,) = (
        record.getMessage()
        for record in caplog.records
        if record.levelname == "WARNING" and "images" in record.getMessage()
    )
    assert f"{NOT_TOLD} data.mean=measured data.std=measured" in warning


def test_each_difference_in_how_images_are_prepared_is_told(described_file, photo_folder, caplog):
    caplog.set_level("INFO")
    source, here = f"model.weights=timm:{described_file}", ["data=folder", f"data.root={photo_folder()}"]

    def said(*overrides):
        caplog.clear()
        filled("model=pretrained", source, *overrides)
        return [line for line in caplog.messages if "the weights" in line]

    assert said(*here) == []
    assert said(*here, "data.image_size=64", "data.interpolation=bicubic") == [
        "data.image_size=64 is the config's; the weights had 32, which data.image_size=null would take",
        (
            "data.interpolation=bicubic is the config's; the weights had bilinear, which"
            " data.interpolation=null would take"
        ),
        "data.stored_size=64 is the config's; the weights had 80, which data.stored_size=null would take",
    ]
    assert said("data=cifar10") == [
        "this data set has no data.interpolation; the weights had bilinear",
        "this data set has no data.stored_size; the weights had 40",
    ]
    config = described_file / "config.json"
    config.write_text(config.read_text().replace('"crop_pct": 0.8', '"crop_mode": "squash", "crop_pct": 1.0'))
    assert said(*here) == []
    assert filled("model=pretrained", source, *here)["data"]["fit"] == "squash"
    assert said(*here, "data.fit=pad") == [
        "data.fit=pad is the config's; the weights had squash, which data.fit=null would take"
    ]


def test_a_strangers_checkpoint_cannot_name_what_a_config_builds(vitlab, tmp_path):
    shape = [
        "model.embed_dim=16",
        "model.depth=1",
        "model.num_heads=2",
        "trainer.limit_train_batches=1",
        "trainer.limit_test_batches=1",
    ]
    checkpoint, _ = train(vitlab, tmp_path / "run", *shape)
    evil = {
        "_target_": "pathlib.Path.touch",
        "self": {"_target_": "pathlib.Path", "_args_": [str(tmp_path / "executed")]},
        "patch_size": 2,
    }
    checkpoint["vitlab"]["config"]["model"]["patch_embed"] = evil
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    ended = vitlab("train", "model=pretrained", f"model.weights={tmp_path}/evil.ckpt")
    assert ended.status == 2 and "pathlib.Path.touch is not allowed" in ended.err
    checkpoint["vitlab"]["config"]["model"] = "anything"
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    ended = vitlab("train", "model=pretrained", f"model.weights={tmp_path}/evil.ckpt")
    assert ended.status == 2 and "its config.model is not what `vitlab train` writes" in ended.err
    assert not (tmp_path / "executed").exists()


def test_without_weights_null_keeps_its_meaning(photo_folder):
    data = filled("data=folder", f"data.root={photo_folder()}")["data"]
    assert data["mean"] is None and data["interpolation"] == "bicubic" and data["stored_size"] == 128


REFUSED = {
    "no weights for model=pretrained": (
        ["model=pretrained"],
        "model=pretrained takes its architecture from weights; give some: model.weights=...",
    ),
    "a list": (
        ["model=pretrained", "model.weights=[a]"],
        "model.weights=['a'] is of the wrong kind; a word or null would work",
    ),
    "a number": (["model.weights=3"], "model.weights=3 is of the wrong kind; a word or null would work"),
    "no such file": (["model.weights=nowhere.ckpt"], "model.weights=nowhere.ckpt is no file"),
    "another architecture": (
        ["model=vit_tiny", "data.in_channels=1", "model.weights=timm:{file}"],
        "model.embed_dim=64",
    ),
    "a typo": (["model.weigths=timm:{file}"], "model.weigths"),
}


@pytest.mark.parametrize(("arguments", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_weights_that_cannot_be_used_are_refused_before_a_run_begins(
    vitlab, pretrained_file, arguments, says
):
    ended = vitlab("train", *(argument.format(file=pretrained_file) for argument in arguments))
    assert ended.status == 2
    (line,) = ended.err.strip().splitlines()
    assert says in line
    assert not list(Path().rglob("run.json"))
