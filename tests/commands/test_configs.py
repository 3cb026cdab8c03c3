"""Every option of every config group composes, checks and builds; what stands twice stands alike."""

import inspect
import io
import shutil
import tarfile
from copy import deepcopy
from zipfile import ZipFile

import pytest
import torch
from hatchling.builders.wheel import WheelBuilder
from omegaconf import OmegaConf

from vitlab.config.check import check_config
from vitlab.config.compose import compose_config, conf_dir
from vitlab.config.fill import fill_in
from vitlab.config.unused import leave_out_unused
from vitlab.construct import build, build_model
from vitlab.data.augment.policy import Augment
from vitlab.models.vit import VisionTransformer
from vitlab.training.trainer import build_trainer

GROUPS = (
    "model",
    "patch_embed",
    "ffn",
    "data",
    "augment",
    "optimizer",
    "schedule",
    "hardware",
    "callbacks",
    "logger",
)
GPU = {"gpu", "multi_gpu", "mps", "fsdp", "slurm"}

CHOICES = [(group, file.stem) for group in GROUPS for file in sorted((conf_dir() / group).glob("*.yaml"))]


def checked(overrides, tmp_path):
    groups = [override for override in overrides if "." not in override]
    reference = compose_config("train", groups)
    config = deepcopy(reference) if groups == overrides else compose_config("train", overrides)
    config.run_dir = str(tmp_path)
    leave_out_unused(config, reference, [], {})
    fill_in(config)
    return check_config(config, reference)


def tar_of(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


@pytest.mark.parametrize(("group", "option"), CHOICES, ids=[f"{group}={option}" for group, option in CHOICES])
def test_every_option_composes_and_builds(group, option, tmp_path, photo_folder, pretrained_file):
    overrides = [
        f"{group}=[default,{option}]" if group == "callbacks" and option != "default" else f"{group}={option}"
    ]
    if option == "vit":
        overrides += ["model.embed_dim=32", "model.depth=2", "model.num_heads=2"]
    if option == "fsdp":
        overrides += ["callbacks=[default]"]
    if option == "slurm":
        overrides += ["trainer.num_nodes=2"]
    if option in ("timm", "torchvision"):
        overrides += ["model.name=resnet18", "data=cifar10"]
    if option == "pretrained":
        overrides += [f"model.weights=timm:{pretrained_file}"]
    if option == "folder":
        overrides += [f"data.root={photo_folder()}"]
    if option == "table":
        (photo_folder() / "labels.csv").write_text("path,label\nash/0.png,a\nash/1.png,b\n")
        overrides += [f"data.root={tmp_path}/photos", "data.file=labels.csv"]
    if option == "shards":
        (tmp_path / "0.tar").write_bytes(
            tar_of({f"{name}.{end}": name.encode() for name in "ab" for end in ("png", "cls")})
        )
        overrides += [f"data.root={tmp_path}", f"data.cache_dir={tmp_path}/cache"]
    if option == "hf":
        overrides += [f"data.path={photo_folder()}", f"data.cache_dir={tmp_path}/cache"]
    if option == "imagenet":
        shutil.copytree(photo_folder() / "ash", tmp_path / "train" / "n01440764")
        shutil.copytree(tmp_path / "photos" / "birch", tmp_path / "train" / "n01443537")
        overrides += [f"data.root={tmp_path}", f"data.cache_dir={tmp_path}/cache"]
    config = checked(overrides, tmp_path)
    with torch.device("meta"):  # shapes without numbers
        model = build_model(config)
    build(config["schedule"])(
        build(config["optimizer"])(model.named_parameters()), total_steps=100, steps_per_epoch=10
    )
    data = build(config["datamodule"])
    assert data.num_classes == config["data"]["num_classes"]
    if option not in GPU:
        trainer = build_trainer(config)
        assert trainer.max_epochs == config["trainer"]["max_epochs"]


@pytest.mark.parametrize(
    ("file", "built"),
    [("model/vit.yaml", VisionTransformer), ("augment/none.yaml", Augment)],
    ids=["model=vit", "augment=none"],
)
def test_the_defaults_for_users_of_the_package_are_the_configs(file, built):
    node = OmegaConf.to_container(OmegaConf.load(conf_dir() / file), resolve=False)
    for name, parameter in inspect.signature(built).parameters.items():
        if parameter.default is not parameter.empty:
            assert node[name] == parameter.default, name
        assert name in node, name


def test_every_experiment_opens_with_its_command():
    for file in sorted((conf_dir() / "experiment").glob("*.yaml")):
        lines = file.read_text().splitlines()
        assert lines[0] == "# @package _global_"
        assert lines[1].startswith(f"# vitlab train experiment={file.stem}"), file
        assert f"name: {file.stem}" in lines, file


def test_a_users_config_dir_adds_options(vitlab, tmp_path):
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder / "vit_pico.yaml").write_text("defaults: [vit, _self_]\nembed_dim: 16\ndepth: 1\nnum_heads: 2\n")
    ended = vitlab("train", "--config-dir", str(tmp_path / "mine"), "model=vit_pico", "--cfg", "job")
    assert ended.status == 0
    assert "embed_dim: 16" in ended.out


def test_the_wheel_carries_every_config_and_every_part_of_a_page(tmp_path):
    (wheel,) = WheelBuilder(str(conf_dir().parent)).build(directory=str(tmp_path), versions=["standard"])
    packed = {name.removeprefix("vitlab/") for name in ZipFile(wheel).namelist()}
    assert {
        f"conf/{file.relative_to(conf_dir()).as_posix()}" for file in conf_dir().rglob("*.yaml")
    } <= packed
    source = conf_dir().parent / "src" / "vitlab"
    parts = {
        file.relative_to(source).as_posix()
        for file in source.rglob("*")
        if file.suffix in (".html", ".css", ".js")
    }
    assert {"pictures/page.css", "gallery/inspection.css"} <= parts <= packed
