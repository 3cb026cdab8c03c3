"""The LightningModule: what it measures, and that ways of making the same step end in the same weights."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.precision import MixedPrecision

from vitlab import optim
from vitlab.callbacks.ema import EMA
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.digits import Digits
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.objectives.classification import Classification
from vitlab.training.module import TrainingModule


def make_data(batch_size=32):
    fixed = {"val_fraction": 0.1, "test_fraction": 0.2, "split_seed": 0, "mean": [0.3], "std": [0.38]}
    return ImageData(
        Digits(),
        Augment(),
        image_size=8,
        in_channels=1,
        num_classes=10,
        batch_size=batch_size,
        num_workers=0,
        seed=0,
        **fixed,
    )


def make_classifier(**options):
    torch.manual_seed(0)
    model = VisionTransformer(LinearPatchEmbed(4, 1, 16), 8, 10, 16, 1, 2, **options)
    return TrainingModule(
        model,
        Classification(10, 0.0, "val/accuracy", "max"),
        optimizer=partial(
            optim.sgd, lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=False, layer_decay=1.0, frozen=[]
        ),
        schedule=partial(
            optim.warmup_schedule,
            shape="constant",
            warmup_ratio=0.0,
            warmup_epochs=0.0,
            final_lr_ratio=1.0,
            frozen_epochs=0,
            unfrozen_lr_ratio=1.0,
        ),
        seed=0,
    )


def make_trainer(tmp_path, **options):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    fixed = {
        "accelerator": "cpu",
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "max_epochs": -1,
        "log_every_n_steps": 1,
    }
    return pl.Trainer(default_root_dir=tmp_path, **(quiet | fixed | options))


def fit(tmp_path, batch_size=32, callbacks=(), **options):
    classifier, data = make_classifier(), make_data(batch_size)
    trainer = make_trainer(tmp_path, callbacks=list(callbacks), **options)
    trainer.fit(classifier, datamodule=data)
    return classifier, trainer


def test_validation_metrics_are_those_of_the_whole_split_at_once(tmp_path):
    classifier, data = make_classifier(), make_data(batch_size=50)  # 143 images: the last batch is smaller
    (measured,) = make_trainer(tmp_path).validate(classifier, datamodule=data, verbose=False)
    split = data.splits["val"]
    images = (split.samples.images[split.indices].float() / 255.0 - 0.3) / 0.38
    with torch.no_grad():
        logits = classifier.eval()(images)
    ranks = (logits > logits.gather(1, split.labels[:, None])).sum(dim=1)
    assert abs(measured["val/loss"] - F.cross_entropy(logits, split.labels).item()) < 1e-5
    assert abs(measured["val/accuracy"] - (ranks == 0).float().mean().item()) < 1e-6
    assert abs(measured["val/accuracy_top5"] - (ranks < 5).float().mean().item()) < 1e-6


def test_two_accumulated_batches_make_the_step_of_one_twice_as_large(tmp_path):
    whole, _ = fit(tmp_path, batch_size=64, max_steps=10, gradient_clip_val=1.0)
    halves, trainer = fit(
        tmp_path, batch_size=32, max_steps=10, gradient_clip_val=1.0, accumulate_grad_batches=2
    )
    assert trainer.global_step == 10
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("asked", "batches"), [(2, 1), (3, 2), (5, 7)])
def test_the_last_incomplete_group_of_accumulated_batches_steps_by_the_mean_over_what_was_summed(
    tmp_path, asked, batches
):
    seen, gradients, weights = [], [], []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx % asked == 0:
                seen.clear()
                weights[:] = [parameter.detach().clone() for parameter in pl_module.parameters()]
            seen.append(batch)

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            gradients[:] = [parameter.grad.clone() for parameter in pl_module.parameters()]

    classifier, _ = fit(
        tmp_path,
        callbacks=[Watch()],
        max_epochs=1,
        limit_train_batches=batches,
        accumulate_grad_batches=asked,
    )
    with torch.no_grad():
        for parameter, value in zip(classifier.parameters(), weights, strict=True):
            parameter.copy_(value)
    classifier.zero_grad()
    images, labels = (torch.cat([getattr(batch, name) for batch in seen]) for name in ("images", "labels"))
    assert len(images) == 32 * (batches % asked)
    F.cross_entropy(classifier(images), labels).backward()
    for parameter, gradient in zip(classifier.parameters(), gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-6)


def test_a_run_has_exactly_its_epochs_steps_and_says_so_to_lightning(tmp_path):
    _, trainer = fit(
        tmp_path, batch_size=100, max_epochs=2, accumulate_grad_batches=5
    )  # 12 batches: 3 steps an epoch, the last of 2
    assert trainer.global_step == trainer.max_steps == 6


def test_a_run_of_two_processes_does_not_go_on_with_one(tmp_path):
    classifier, _ = fit(tmp_path, max_steps=1)
    with pytest.raises(ValueError, match="is of a run on 2 device"):
        classifier.on_load_checkpoint({"tallies": [classifier.tally.state()] * 2})


def test_clipping_bounds_the_norm_that_is_logged_before_it_is_clipped(tmp_path):
    norms = []

    class Watch(pl.Callback):
        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            gradients = [
                parameter.grad for parameter in pl_module.model.parameters() if parameter.grad is not None
            ]
            if gradients:
                norms.append(
                    (float(pl_module.gradient_norm), float(torch.nn.utils.get_total_norm(gradients)))
                )

    fit(tmp_path, callbacks=[Watch()], max_steps=5, gradient_clip_val=0.5)
    assert len(norms) >= 4
    for before, after in norms:
        assert abs(after - min(before, 0.5)) < 1e-4
    assert max(before for before, _ in norms) > 0.5


class Weights(pl.Callback):
    """Keeps the weights after every step, and those that validation sees."""

    def __init__(self):
        self.after_steps, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after_steps.append(pl_module.model.head.weight.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.validated.append(pl_module.model.head.weight.detach().clone())


def test_ema_is_the_average_by_its_formula_and_is_what_gets_validated(tmp_path):
    weights = Weights()
    fit(
        tmp_path,
        callbacks=[weights, EMA(decay=0.9)],
        max_steps=20,
        val_check_interval=20,
        limit_val_batches=1,
    )
    average = weights.after_steps[0].clone()
    for age, value in enumerate(weights.after_steps[1:], start=1):
        decay = min(0.9, (1 + age) / (10 + age))
        average = decay * average + (1 - decay) * value
    torch.testing.assert_close(weights.validated[-1], average, rtol=1e-4, atol=1e-6)
    assert not torch.equal(weights.validated[-1], weights.after_steps[-1])


def test_ema_that_has_not_begun_leaves_the_raw_weights_in_validation_and_checkpoint(tmp_path):
    weights = Weights()
    classifier, trainer = fit(
        tmp_path,
        callbacks=[weights, EMA(decay=0.9, start_step=100)],
        max_steps=10,
        val_check_interval=10,
        limit_val_batches=1,
    )
    assert torch.equal(weights.validated[-1], weights.after_steps[-1])
    trainer.save_checkpoint(tmp_path / "raw.ckpt")
    saved = torch.load(tmp_path / "raw.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(saved["model.head.weight"], weights.after_steps[-1])
    assert torch.equal(classifier.model.head.weight, weights.after_steps[-1])


class StopAfter(pl.Callback):
    """Asks for the end in the middle of an epoch, as Lightning's Timer does (trainer.max_time)."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop = trainer.global_step >= 13


ENDS = {
    "an epoch that is none of the validated ones": (
        {"max_epochs": 3, "check_val_every_n_epoch": 2},
        [10, 15],
    ),
    "every epoch": ({"max_epochs": 2}, [5, 10]),
    "inside the first epoch": ({"max_steps": 3, "check_val_every_n_epoch": 2}, [3]),
    "inside an epoch, beside validations inside it": (
        {"max_steps": 9, "val_check_interval": 2},
        [2, 4, 7, 9],
    ),
    "inside a group of batches": ({"max_steps": 4, "accumulate_grad_batches": 2}, [3, 4]),
    "when somebody asks for it": (
        {"max_epochs": 9, "check_val_every_n_epoch": 4, "callbacks": [StopAfter()]},
        [13],
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_weights_that_a_run_ends_with_are_validated_once_wherever_it_ends(tmp_path, end):
    options, expected = ENDS[end]
    validated = []

    class Note(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            validated.append(trainer.global_step)

    best = ModelCheckpoint(
        tmp_path, monitor="val/loss", save_top_k=-1, auto_insert_metric_name=False, filename="{step}"
    )
    callbacks = [Note(), best, *options.get("callbacks", [])]
    settings = {"limit_train_batches": 5, "enable_checkpointing": True} | options | {"callbacks": callbacks}
    fit(tmp_path, **settings)
    assert validated == expected
    measured = sorted(int(path.stem) for path in tmp_path.glob("*.ckpt"))
    assert measured[-1:] == expected[-1:]  # so a best checkpoint is chosen among them


def test_bf16_training_follows_float32(tmp_path):
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        _, trainer = fit(tmp_path, max_epochs=3, precision=precision)
        losses[precision] = float(trainer.callback_metrics["val/loss"])
    assert losses["bf16-mixed"] < 2.2
    assert abs(losses["32-true"] - losses["bf16-mixed"]) < 0.1


class Norms(pl.Callback):
    """Keeps the norm of each step's gradients as the run logs it."""

    def __init__(self):
        self.seen = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self.seen.append(float(pl_module.gradient_norm))


def test_in_float16_the_scaled_gradients_of_a_fused_optimizer_are_clipped_at_their_true_norm(tmp_path):
    norms, ends = {}, {}
    for precision in ("float32", "float16"):
        half = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**12))
        watch = Norms()
        plugins = {"plugins": [half]} if precision == "float16" else {}
        classifier, _ = fit(tmp_path, callbacks=[watch], max_steps=8, gradient_clip_val=0.5, **plugins)
        norms[precision], ends[precision] = watch.seen, classifier.model.head.weight.detach()
    assert norms["float16"] == pytest.approx(norms["float32"], rel=0.02, nan_ok=True)
    moved = (ends["float32"] - make_classifier().model.head.weight).norm()
    assert (ends["float16"] - ends["float32"]).norm() < 0.02 * moved
