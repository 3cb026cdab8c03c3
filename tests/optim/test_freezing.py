"""Freezing as a schedule: nothing moves until its epoch, and a run resumed at any step is the uninterrupted
one, bit for bit."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from vitlab import optim
from vitlab.data.source import Batch
from vitlab.data.sources.digits import Digits
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.objectives.classification import Classification
from vitlab.training.module import TrainingModule

FROZEN = ["patch_embed", "blocks.0"]
STEPS = 20
OPTIMIZERS = {
    "adamw": partial(optim.adamw, betas=(0.9, 0.99)),
    "sgd": partial(optim.sgd, momentum=0.9, nesterov=False),
    "muon": partial(optim.muon, momentum=0.9, adamw_lr=0.01, betas=(0.9, 0.99)),
}
CONSTANT = {"shape": "constant", "warmup_ratio": 0.0, "warmup_epochs": 0.0, "final_lr_ratio": 1.0}
COSINE = {"shape": "cosine", "warmup_ratio": 0.0, "warmup_epochs": 0.1, "final_lr_ratio": 0.01}


def is_frozen(name):
    return any(name.startswith(f"{prefix}.") for prefix in FROZEN)


class States(pl.Callback):
    """Keeps by the number of steps taken: the weights and statistics, whose gradients the optimizer
    remembers, and gradient norms."""

    def __init__(self, checkpoint, save_at):
        self.checkpoint, self.save_at = checkpoint, save_at
        self.after, self.norms, self.expected_norms, self.remembered = {}, {}, {}, {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        named = list(pl_module.model.named_parameters())
        norms = [
            torch.cat([p.grad.flatten() for n, p in named if every or not is_frozen(n)]).norm()
            for every in (False, True)
        ]
        self.expected_norms[trainer.global_step + 1] = [float(norm) for norm in norms]

    def on_train_end(self, trainer, pl_module):
        self.logged = {name: float(value) for name, value in trainer.callback_metrics.items()}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after[trainer.global_step] = {
            name: value.detach().clone() for name, value in pl_module.model.state_dict().items()
        }
        state, named = trainer.optimizers[0].state, pl_module.model.named_parameters()
        self.remembered[trainer.global_step] = {name for name, value in named if state.get(value)}
        self.norms[trainer.global_step] = float(pl_module.gradient_norm)
        if trainer.global_step == self.save_at:
            trainer.save_checkpoint(self.checkpoint)


class Steps:
    """One epoch of 20 batches of digits, of which it serves those from `start` on: what a resumable loader
    would do."""

    def __init__(self, start):
        self.start = start
        digits = Digits().load()["all"]
        self.images, self.labels = (digits.images.float() / 255.0 - 0.3) / 0.38, digits.labels

    def __len__(self):
        return STEPS

    def __iter__(self):
        for number in range(self.start, STEPS):
            rows = slice(32 * number, 32 * (number + 1))
            yield Batch(self.images[rows], self.labels[rows], number)

    def state_dict(self):
        return {"start": self.start}

    def load_state_dict(self, state_dict):
        pass

    @property
    def sampler(self):
        return self

    def start_at(self, epoch, batch):
        assert (epoch, batch) == (0, self.start)


def fit(folder, optimizer="adamw", schedule=COSINE, start=0, save_at=None, **freezing):
    """Trains a tiny ViT on digits, from saved.ckpt if it starts late; returns the states, and leaves
    saved.ckpt after `save_at` steps."""
    torch.manual_seed(0)
    model = VisionTransformer(ConvStem(4, 1, 16), 8, 10, 16, 2, 2, drop_path_rate=0.1)
    classifier = TrainingModule(
        model,
        Classification(10, 0.0, "val/accuracy", "max"),
        partial(OPTIMIZERS[optimizer], lr=0.01, weight_decay=0.1, layer_decay=0.8, frozen=FROZEN),
        partial(optim.warmup_schedule, **({"unfrozen_lr_ratio": 1.0} | schedule | freezing)),
        seed=0,
    )
    states = States(folder / "saved.ckpt", save_at)
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        callbacks=[states],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        max_epochs=1,
        gradient_clip_val=1.0,
        log_every_n_steps=1,
    )
    trainer.fit(
        classifier,
        Steps(start),
        Steps(start),
        ckpt_path=folder / "saved.ckpt" if start else None,
        weights_only=True,
    )
    return states


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_frozen_weights_are_the_same_bits_until_their_epoch_and_move_from_its_first_step(tmp_path, optimizer):
    after = fit(tmp_path, optimizer, frozen_epochs=0.5).after
    for name, first in after[1].items():
        still = [torch.equal(first, after[step][name]) for step in range(2, 21)]
        until = STEPS // 2 - 1 if is_frozen(name) else 0
        assert all(still[:until]), name
        assert not any(still[until:]), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_optimizer_remembers_nothing_from_the_frozen_time(tmp_path, optimizer):
    states = fit(tmp_path, optimizer, frozen_epochs=0.5)
    for step, names in states.remembered.items():
        assert any(is_frozen(name) for name in names) == (step > STEPS // 2), step


def test_frozen_for_ever_is_never_moved(tmp_path):
    after = fit(tmp_path, frozen_epochs=-1).after
    for name, first in after[1].items():
        assert torch.equal(first, after[20][name]) == is_frozen(name), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "save_at", [4, 10, 13], ids=["while frozen", "as it begins to move", "once it moves"]
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, optimizer, save_at):
    whole = fit(tmp_path, optimizer, frozen_epochs=0.5, unfrozen_lr_ratio=0.5, save_at=save_at)
    torch.load(tmp_path / "saved.ckpt", weights_only=True)
    resumed = fit(tmp_path, optimizer, frozen_epochs=0.5, unfrozen_lr_ratio=0.5, start=save_at)
    assert sorted(resumed.after) == list(range(save_at + 1, STEPS + 1))
    for step, weights in resumed.after.items():
        for name, value in weights.items():
            assert torch.equal(value, whole.after[step][name]), (step, name)


def test_clipping_and_the_logged_norm_count_what_moves_and_nothing_else(tmp_path):
    states = fit(tmp_path, frozen_epochs=0.5)
    for step, norm in states.norms.items():
        moving, everything = states.expected_norms[step]
        assert norm == pytest.approx(moving if step <= STEPS // 2 else everything, rel=1e-5), step
        assert everything > 1.005 * moving


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_logged_rate_is_the_heads(tmp_path, optimizer):
    assert fit(tmp_path, optimizer, schedule=CONSTANT, frozen_epochs=-1).logged["train/lr"] == pytest.approx(
        0.01
    )


def test_rates_are_a_function_of_the_step():
    model = VisionTransformer(LinearPatchEmbed(4, 1, 16), 8, 10, 16, 2, 2)
    optimizer = OPTIMIZERS["adamw"](
        model.named_parameters(), lr=1.0, weight_decay=0.1, layer_decay=0.5, frozen=["blocks.0"]
    )
    schedule = optim.warmup_schedule(optimizer, 20, 5, **COSINE, frozen_epochs=1.4, unfrozen_lr_ratio=0.1)
    plain = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = optim.warmup_schedule(plain, 20, 5, **COSINE, frozen_epochs=0, unfrozen_lr_ratio=1.0)
    for step in range(20):
        for group in optimizer.param_groups:
            factor = (0.1 if step >= 7 else 0.0) if group["frozen"] else 1.0
            assert group["lr"] == pytest.approx(plain.param_groups[0]["lr"] * group["lr_scale"] * factor), (
                step
            )
        for each in (optimizer, schedule, plain, reference):
            each.step()


def test_freezing_needs_both_the_names_and_the_epochs():
    model = VisionTransformer(LinearPatchEmbed(4, 1, 16), 8, 10, 16, 2, 2)
    for frozen, epochs, says in (
        (["blocks"], 0, r"optimizer.frozen has no effect with schedule.frozen_epochs=0"),
        ([], 3, r"frozen_epochs=3 .* need optimizer.frozen"),
        (["blocks"], -2, r"frozen_epochs=-2 must be 0 or more, or -1 for ever"),
        (["blocks"], 4, r"frozen_epochs=4 is no shorter than the run"),
    ):
        optimizer = OPTIMIZERS["adamw"](
            model.named_parameters(), lr=1.0, weight_decay=0.1, layer_decay=1.0, frozen=frozen
        )
        with pytest.raises(ValueError, match=says):
            optim.warmup_schedule(optimizer, 20, 5, **COSINE, frozen_epochs=epochs, unfrozen_lr_ratio=1.0)
