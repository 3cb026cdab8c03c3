"""An objective that looks at no label and adds a decoder to the model, from a package outside this
repository."""

import csv

import pytest

import vitlab as lab
from vitlab.runs.record import load_record

PACKAGE = '''
import os

from pytorch_lightning import Callback
from torch import nn
from vitlab import Objective
from vitlab.objectives.objective import Outcome


class Watched:
    """Tells how large the decoder's weights are, which only the tested model knows."""

    def __init__(self, exam):
        self.exam = exam

    def add(self, outputs, batch):
        pass

    def finish(self):
        return {"decoder_norm": float(self.exam.model.of_objective["decoder"].weight.norm())}, {}


class Autoencoder(Objective):
    """How far the pixels that one linear layer makes of an image's features are from its own."""

    takes_mixed_labels = True
    loss_from_outputs = False

    def parts(self, model):
        return {"decoder": nn.Linear(model.embed_dim, 64)}

    def prepare(self, model):
        model.head.requires_grad_(False)

    def outputs(self, model, images):
        features = model.forward_head(model.forward_features(images), pre_logits=True)
        return (model.of_objective["decoder"](features) - images.flatten(1)).square().mean(1, keepdim=True)

    def loss(self, model, batch):
        errors = self.outputs(model, batch.images)
        return Outcome((errors * batch.images.std(dim=(1, 2, 3))[:, None]).mean(), errors)

    def examiner(self, exam):
        return Watched(exam)


class PowerCut(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == int(os.environ.get("TENANT_STOP", -1)):
            raise OSError("no power")
'''

CONF = """
_target_: tenant_parts.Autoencoder
num_outputs: 1
monitor: val/loss
mode: min
"""

SHORT = (
    "hardware=cpu",
    "callbacks=[default]",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=3",
    "trainer.limit_test_batches=2",
    "augment.mixup=0.2",
)


@pytest.fixture
def given(own_package):
    options = own_package("tenant_parts", PACKAGE, "objective/autoencoder", CONF)
    return *options, "objective=autoencoder", *SHORT


def test_parts_of_ones_own_learn_are_kept_asked_and_left_out_of_what_starts_from_them(
    vitlab, given, tmp_path, photo_folder
):
    run = tmp_path / "run"
    trained = vitlab("train", *given, f"hydra.run.dir={run}")
    assert trained.status == 0, trained.err
    assert "vitlab test checkpoint=" in trained.out and "vitlab inspect" not in trained.out
    metrics = load_record(run)["metrics"]
    untrained = lab.load(run).untrained().of_objective["decoder"].weight.detach().norm()
    assert metrics["test/decoder_norm"] != pytest.approx(float(untrained), rel=1e-4)

    tested = vitlab("test", f"checkpoint={run}", "trainer.limit_test_batches=2", "hydra.run.dir=tested")
    assert tested.status == 0, tested.err
    again = load_record(tmp_path / "tested")
    assert again["metrics"]["test/loss"] == metrics["test/loss"]
    assert again["metrics"]["test/decoder_norm"] == metrics["test/decoder_norm"]
    assert again["intervals"]["of"]["test/loss"] is None

    photos = photo_folder("photos", count=1, side=8)
    assert vitlab("predict", f"checkpoint={run}", f"images={photos}", "hydra.run.dir=said").status == 0
    rows = list(csv.DictReader((tmp_path / "said" / "predictions.csv").read_text().splitlines()))
    model = lab.load(run)
    errors = model.objective.outputs(model.model, model.images([row["file"] for row in rows]))
    assert [float(row["value_1"]) for row in rows] == pytest.approx(
        errors.detach().flatten().tolist(), abs=1e-5
    )

    probe = ("objective=linear_probe", "augment=none", f"model.weights={run}/checkpoints/best.ckpt")
    probed = vitlab("train", "hardware=cpu", *probe, "trainer.fast_dev_run=true", "hydra.run.dir=probe")
    assert probed.status == 0, probed.err
    begun = lab.load(tmp_path / "probe").model.state_dict()
    assert not [name for name in begun if name.startswith("of_objective")]
    assert (begun["blocks.0.attn.qkv.weight"] == model.model.state_dict()["blocks.0.attn.qkv.weight"]).all()


def test_a_run_with_parts_of_ones_own_that_was_killed_goes_on_to_the_same_bits(
    vitlab, given, tmp_path, monkeypatch
):
    cut = ("+callbacks.cut._target_=tenant_parts.PowerCut", "checkpoint_every_steps=1")
    given = (*given, *cut, "callbacks.evaluation=null")
    assert vitlab("train", *given, f"hydra.run.dir={tmp_path}/whole").status == 0
    monkeypatch.setenv("TENANT_STOP", "4")
    assert vitlab("train", *given, f"hydra.run.dir={tmp_path}/cut").status == 1
    monkeypatch.delenv("TENANT_STOP")
    assert vitlab("train", f"resume={tmp_path}/cut").status == 0
    whole, resumed = (load_record(tmp_path / name) for name in ("whole", "cut"))
    assert whole["hashes"]["final"] == resumed["hashes"]["final"]
    assert whole["metrics"]["test/loss"] == resumed["metrics"]["test/loss"]
