"""A user's own place of pixels, from a package outside this repository: one Python file and one YAML."""

from vitlab.runs.record import load_record

PACKAGE = '''
"""Stripes, drawn when they are asked for: upright ones and lying ones."""

import torch

from vitlab.data.samples import Samples
from vitlab.data.source import Source


class Drawn(Samples):
    def fetch(self, indices):
        place = torch.arange(self.size[1])
        stripes = (place[None] + indices[:, None]) // 2 % 2 * 255
        pictures = stripes[:, None, None, :].expand(-1, *self.size)
        lying = self.labels[indices].bool()[:, None, None, None]
        return torch.where(lying, pictures.mT, pictures).to(torch.uint8)


class Stripes(Source):
    def __init__(self, count: int):
        self.count = count

    @property
    def class_names(self):
        return ("upright", "lying")

    def prepare(self):
        pass

    def load(self):
        return {"all": Drawn(torch.arange(self.count) // 4 % 2, (1, 8, 8))}
'''

CONF = """
# @package _global_
patch_size: 4
data:
  source:
    _target_: tenant_samples.Stripes
    count: ${data.count}
  count: 160
  image_size: 8
  in_channels: 1
  num_classes: 2
  mean: null
  std: null
  crop_padding: 0
  flip: 0.0
  batch_size: 32
  num_workers: 0
  val_fraction: 0.2
  test_fraction: 0.2
  split_seed: 0
"""


def test_samples_of_ones_own_train_and_are_tested_again_from_the_checkpoint_with_workers(
    vitlab, tmp_path, own_package
):
    given = (
        *own_package("tenant_samples", PACKAGE, "data/stripes", CONF),
        "data=stripes",
        "augment=none",
        "hardware=cpu",
        "callbacks=[default]",
        "optimizer.lr=5e-3",
    )
    trained = vitlab(
        "train", *given, "trainer.max_epochs=12", "data.num_workers=1", f"hydra.run.dir={tmp_path}/run"
    )
    assert trained.status == 0, trained.err
    metrics = load_record(tmp_path / "run")["metrics"]
    assert metrics["test/accuracy"] == 1.0
    tested = vitlab(
        "test", f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", f"hydra.run.dir={tmp_path}/tested"
    )
    assert tested.status == 0, tested.err
    assert load_record(tmp_path / "tested")["metrics"]["test/loss"] == metrics["test/loss"]
