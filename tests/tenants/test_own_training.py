"""A user's own optimizer, schedule, augmentation and callback, from a package outside this repository."""

import pytest

from vitlab.runs.record import load_record

PACKAGE = '''
import os

import pytorch_lightning as pl
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from vitlab import Augment


class SignSGD(SGD):
    """Steps by the gradients' signs."""

    def step(self, closure=None):
        loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.sign_()
        super().step()
        return loss


class SawTooth(LRScheduler):
    """Falls and starts anew each `period` steps, and at the run's end is at its lowest."""

    def __init__(self, optimizer, total_steps: int, period: int):
        self.total_steps, self.period = total_steps, period
        super().__init__(optimizer)

    def get_lr(self):
        is_over = self.last_epoch >= self.total_steps
        share = 0.1 if is_over else 1 - self.last_epoch % self.period / self.period
        return [rate * share for rate in self.base_lrs]


class Fade(Augment):
    def __init__(self, fade: float, **ours):
        super().__init__(**ours)
        self.fade = fade

    def change(self, images, draws):
        return images * (1 - self.fade * draws.uniform("fade", 1).to(images.device)[:, :, None, None])


class Cut(Augment):
    def change(self, images, draws):
        return images[:, :, 1:]


class Stop(pl.Callback):
    def on_train_batch_end(self, trainer, *_):
        if str(trainer.global_step) == os.environ.get("TENANT_STOP"):
            raise OSError("the power went")


class Nothing:
    pass
'''

QUICK = ("hardware=cpu", "trainer.limit_val_batches=1", "callbacks.evaluation=null")
QUICK += ("trainer.max_epochs=1", "trainer.limit_train_batches=6", "trainer.limit_test_batches=1")

SIGN = """
_target_: tenant_parts.SignSGD
lr: 1.0e-3
weight_decay: 0.1
layer_decay: 0.5
"""

OPTIONS = {
    "schedule/saw": "_target_: tenant_parts.SawTooth\nperiod: 3\n",
    "augment/fade": "defaults: [light, _self_]\n_target_: tenant_parts.Fade\nfade: 0.5\n",
    "callbacks/stop": "stop:\n  _target_: tenant_parts.Stop\n",
    "augment/cut": "defaults: [light, _self_]\n_target_: tenant_parts.Cut\n",
}


@pytest.fixture
def options(own_package, tmp_path):
    found = own_package("tenant_parts", PACKAGE, "optimizer/sign", SIGN)
    for name, content in OPTIONS.items():
        file = tmp_path / "package" / "conf" / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    return found


def test_own_optimizer_schedule_and_augmentation_go_on_to_the_same_bits(
    vitlab, options, tmp_path, monkeypatch
):
    chosen = ("optimizer=sign", "schedule=saw", "callbacks=[default,stop]", "checkpoint_every_steps=1")
    given = (*QUICK, *chosen, "augment=fade")
    # options may also stand between values, and behind them
    whole = vitlab("train", given[0], *options, *given[1:], f"hydra.run.dir={tmp_path}/whole")
    assert whole.status == 0, whole.err
    monkeypatch.setenv("TENANT_STOP", "4")
    assert vitlab("train", *options, *given, f"hydra.run.dir={tmp_path}/cut").status == 1
    monkeypatch.delenv("TENANT_STOP")
    went_on = vitlab("train", f"resume={tmp_path}/cut", *options)
    assert went_on.status == 0 and "from step 3" in went_on.out, went_on
    finals = [load_record(tmp_path / name)["hashes"]["final"] for name in ("whole", "cut")]
    assert finals[0] == finals[1]
    report = vitlab("report", f"{tmp_path}/whole")
    assert f"vitlab train --config-dir {options[1]} " in report.out  # its command works as it stands


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("optimizer._target_", "is no torch.optim.Optimizer"),
        ("schedule._target_", "is no torch.optim.lr_scheduler.LRScheduler"),
        ("augment._target_", "is no vitlab.Augment"),
        ("objective._target_", "is no vitlab.Objective"),
        ("model._target_", "is no torch.nn.Module"),
        ("data.source._target_", "is no vitlab.Source"),
        ("+callbacks.it._target_", "is no pytorch_lightning.Callback"),
        ("+logger.it._target_", "is no pytorch_lightning.loggers.Logger"),
    ],
)
def test_a_class_of_the_wrong_kind_is_a_line(vitlab, options, given, said):
    ended = vitlab("train", *options, *QUICK, f"{given}=tenant_parts.Nothing")
    key = given.removeprefix("+")
    assert ended.status == 2 and ended.err.startswith(f"vitlab: {key}=tenant_parts.Nothing {said}"), ended
    assert len(ended.err.splitlines()) == 1


def test_an_augmentation_that_changes_the_images_shape_is_a_line(vitlab, options):
    ended = vitlab("train", *options, *QUICK, "callbacks=[default]", "augment=cut")
    assert ended.status == 2 and "Cut.change made images [64, 1, 8, 8] into [64, 1, 7, 8]" in ended.err, ended
