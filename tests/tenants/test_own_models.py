"""A user's own CNN, from a package outside this repository, and models of timm and torchvision by their
names, in the same loop."""

import json

import pytest

from vitlab.config.from_record import config_from_record
from vitlab.runs.record import load_record

PACKAGE = """
import os

from pytorch_lightning import Callback
from torch import nn


class SmallCNN(nn.Module):
    def __init__(self, in_channels: int, num_classes: int, width: int = 32):
        super().__init__()
        convolution = nn.Conv2d(in_channels, width, 3, padding=1)
        self.features = nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.head(self.features(images).mean(dim=(2, 3)))


class PowerCut(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == int(os.environ.get("TENANT_STOP", -1)):
            raise OSError("no power")
"""

CONF = """
_target_: tenant_cnn.SmallCNN
in_channels: ${data.in_channels}
num_classes: ${objective.num_outputs}
width: 16
"""

SHORT = (
    "hardware=cpu",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=3",
    "trainer.limit_val_batches=1",
    "logger=csv",
)


@pytest.fixture
def cnn(own_package):
    """Returns the options that find the package and choose its model."""
    return *own_package("tenant_cnn", PACKAGE, "model/cnn", CONF), "model=cnn", *SHORT


def test_a_cnn_of_ones_own_is_trained_tested_asked_and_exported_and_what_it_lacks_is_said(
    vitlab, cnn, tmp_path, photo_folder
):
    run = tmp_path / "run"
    trained = vitlab(
        "train", *cnn, "callbacks=[default,attention,ema]", "callbacks.ema.decay=0.5", f"hydra.run.dir={run}"
    )
    assert trained.status == 0, trained.err
    assert "no attention pictures: a SmallCNN cannot be looked into" in trained.out + trained.err
    record = load_record(run)
    assert record["config"]["patch_embed"] is None
    best = run / "checkpoints" / "best.ckpt"
    tested = vitlab("test", f"checkpoint={best}", "hydra.run.dir=tested")
    assert tested.status == 0, tested.err
    assert load_record(tmp_path / "tested")["metrics"]["test/loss"] == record["metrics"]["test/loss"]
    photos = photo_folder("photos", count=1, side=8)
    assert vitlab("predict", f"checkpoint={best}", f"images={photos}").status == 0
    for refused in (
        ("predict", f"images={photos}", "explain=rollout"),
        ("inspect",),
    ):
        ended = vitlab(*refused, f"checkpoint={best}")
        assert ended.status == 2 and ended.err.startswith("vitlab: a SmallCNN cannot be looked into"), (
            ended.err
        )
        assert len(ended.err.splitlines()) == 1
    sender = "pytorch_lightning.loggers.WandbLogger"
    record["config"]["logger"]["there"] = {"_target_": sender, "project": "a stranger's"}
    with pytest.raises(
        ValueError, match=r"logger\.there\._target_=.*WandbLogger would send what the run logs to a server"
    ):
        config_from_record(record, run / "run.json", tmp_path / "new")
    assert (
        config_from_record(record, run / "run.json", tmp_path / "new", allowed={sender})["patch_embed"]
        is None
    )
    exported = vitlab("export", "format=torch_export", f"checkpoint={best}", "hydra.run.dir=exported")
    assert exported.status == 0, exported.err
    assert "vision-transformer" not in (tmp_path / "exported" / "torch_export" / "README.md").read_text()


RMSPROP = """
_target_: torch.optim.RMSprop
_partial_: true
lr: 1.0e-3
momentum: 0.9
"""

ONE_CYCLE = """
_target_: torch.optim.lr_scheduler.OneCycleLR
_partial_: true
max_lr: 2.0e-3
"""


@pytest.mark.parametrize("theirs", [False, True], ids=["our optimizer", "torch's optimizer and schedule"])
def test_a_cnn_with_batch_norm_goes_on_to_the_same_bits(vitlab, cnn, tmp_path, monkeypatch, theirs):
    for group, content in (("optimizer", RMSPROP), ("schedule", ONE_CYCLE)):
        folder = tmp_path / "package" / "conf" / group
        folder.mkdir()
        (folder / "theirs.yaml").write_text(content)
    chosen = ("optimizer=theirs", "schedule=theirs") if theirs else ()
    cut = "+callbacks.cut._target_=tenant_cnn.PowerCut"
    arguments = (
        *cnn,
        *chosen,
        "callbacks=[default]",
        "callbacks.evaluation=null",
        cut,
        "checkpoint_every_steps=1",
        "trainer.log_every_n_steps=1",
    )
    assert vitlab("train", *arguments, f"hydra.run.dir={tmp_path}/whole").status == 0
    monkeypatch.setenv("TENANT_STOP", "4")
    assert vitlab("train", *arguments, f"hydra.run.dir={tmp_path}/cut").status == 1
    monkeypatch.delenv("TENANT_STOP")
    went_on = vitlab("train", f"resume={tmp_path}/cut")
    assert went_on.status == 0 and "from step 3" in went_on.out, went_on
    whole, resumed = (load_record(tmp_path / name) for name in ("whole", "cut"))
    assert whole["steps"] == resumed["steps"] == 6
    assert whole["hashes"]["final"] == resumed["hashes"]["final"]
    assert whole["metrics"]["test/loss"] == resumed["metrics"]["test/loss"]


@pytest.mark.parametrize(
    ("model", "is_looked_into"),
    [
        (("model=timm", "model.name=test_resnet"), False),
        (("model=timm", "model.name=test_vit"), True),
        (("model=torchvision", "model.name=shufflenet_v2_x0_5"), False),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_model_by_its_name_is_trained_and_tested(vitlab, tmp_path, photo_folder, model, is_looked_into):
    photos = photo_folder("photos", count=10)
    data = ("data=folder", f"data.root={photos}", "data.image_size=32", "data.batch_size=8")
    trained = vitlab(
        "train",
        *SHORT,
        *data,
        *model,
        "callbacks.attention.num_shown=1",
        "callbacks.attention.num_scored=4",
        f"hydra.run.dir={tmp_path}/run",
    )
    assert trained.status == 0, trained.err
    assert (tmp_path / "run" / "figures" / "evolution").is_dir() is is_looked_into
    tested = vitlab("test", f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", "hydra.run.dir=tested")
    assert tested.status == 0, tested.err
    before, now = (load_record(tmp_path / name)["metrics"]["test/loss"] for name in ("run", "tested"))
    assert json.dumps(before) == json.dumps(now)
