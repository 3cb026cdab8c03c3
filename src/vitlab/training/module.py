"""The LightningModule: seeding, stepping, clipping and logging, around any model and any objective."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitlab.checkpoint.card import Card
from vitlab.data.source import Batch
from vitlab.gathering import of_all_processes
from vitlab.objectives.objective import Objective
from vitlab.quirks import CURRENT_HOOK, steps_on_scaled_gradients
from vitlab.randomness import derive_seed, reseed
from vitlab.training.place import start_from_place, write_place

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class TrainingModule(pl.LightningModule):
    """Trains `model` for an objective. `optimizer` takes named parameters; `schedule` takes the optimizer,
    `total_steps` and `steps_per_epoch`. Randomness inside the model is reseeded at each step from `seed`. The
    attribute `card` is what every checkpoint says of itself."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., LRScheduler],
        seed: int,
    ):
        super().__init__()
        objective.join(model)
        self.model = model
        self.objective = objective
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.seed = seed
        self.card: Card | None = None
        self.val_metrics = objective.all_metrics("val/")
        self.test_metrics = objective.all_metrics("test/")
        self.tally = objective.tally()
        self.gradient_norm = torch.tensor(math.nan)
        self.noted: dict[str, float] = {}  # by callbacks, to be logged with the step's own numbers
        self.frozen_norms: Sequence[nn.Module] = []  # whose statistics stand still while their parameters do

    def __setattr__(self, name: str, value: Any) -> None:
        if name == CURRENT_HOOK:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Tensor:
        return self.objective.outputs(self.model, images)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.objective.set_mode(self.model)
        return self

    def on_train_start(self) -> None:
        start_from_place(self.trainer)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        reseed(self.device, derive_seed(self.seed, "step", batch.number, self.global_rank))
        if self.frozen_norms:
            groups = self.trainer.optimizers[0].param_groups
            is_training = any(group["lr"] for group in groups if group["frozen"])
            for norm in self.frozen_norms:
                norm.train(is_training)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, outputs = self.objective.loss(self.model, batch)
        self.tally.add(loss, outputs, batch.labels)
        asked, summed = self.trainer.accumulate_grad_batches, self.batches_in_step(batch_idx)
        return loss if summed == asked else loss * (asked / summed)  # Lightning divides by what was asked for

    def batches_in_step(self, batch_idx: int) -> int:
        """Returns how many batches are summed in the optimizer step that this one belongs to. These are
        `trainer.accumulate_grad_batches`, or fewer in an epoch's last step: of 10 batches at 4 a step, 2."""
        trainer = self.trainer
        first = batch_idx - batch_idx % trainer.accumulate_grad_batches
        return min(trainer.accumulate_grad_batches, int(trainer.num_training_batches) - first)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if self.is_logging_step():
            steps = {"train/lr": self.learning_rate, "train/gradient_norm": float(self.gradient_norm)}
            self.write_numbers({**self.tally.read(), **steps, **self.noted})
            self.noted = {}
        if self.trainer.global_step >= self.trainer.max_steps or self.trainer.should_stop:
            self._validate_after(batch_idx)

    def _validate_after(self, batch_idx: int) -> None:
        """Makes Lightning validate after this batch, the last of the run, wherever in an epoch it lies: it
        asks for the two after this hook, and a run that goes on within its last epoch would lack them."""
        self.trainer.check_val_every_n_epoch, self.trainer.val_check_batch = 1, batch_idx + 1

    def write_numbers(self, numbers: Mapping[str, float]) -> None:
        """Logs means over all processes at once; `self.log` takes a third of a millisecond a number."""
        trainer = self.trainer
        here = torch.tensor(list(numbers.values()), device=self.device)
        means = cast(Tensor, trainer.strategy.reduce(here)).cpu()
        trainer.callback_metrics.update(zip(numbers, means, strict=True))
        row = {"epoch": trainer.current_epoch, **dict(zip(numbers, means.tolist(), strict=True))}
        for logger in trainer.loggers:
            logger.log_metrics(row, trainer.global_step - 1)  # Lightning counts the steps of its logs from 0
            logger.save()

    @property
    def learning_rate(self) -> float:
        """The highest rate of all groups: the head's, under layer decay."""
        return max(group["lr"] for group in self.trainer.optimizers[0].param_groups)

    @property
    def log_every_n_steps(self) -> int:
        trainer: Any = self.trainer  # Lightning sets it in a connector, unseen by type checkers
        return trainer.log_every_n_steps

    def is_logging_step(self) -> bool:
        """Tells at the end of a batch whether Lightning is about to write this step's metrics."""
        trainer = self.trainer
        if trainer.global_step % self.log_every_n_steps:
            return False
        loop = trainer.fit_loop.epoch_loop
        ends_step = (loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0
        return ends_step or loop.batch_progress.is_last_batch

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        outputs = self.objective.judge(self.model, batch, self.val_metrics)
        if not self.trainer.sanity_checking:
            self.objective.see_validation(outputs, batch.labels)

    def on_validation_epoch_end(self) -> None:
        self.objective.end_validation()
        self.log_dict(self.val_metrics.compute(), prog_bar=True)
        self.val_metrics.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.objective.judge(self.model, batch, self.test_metrics)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.test_metrics.compute())
        self.test_metrics.reset()

    def configure_optimizers(self) -> dict[str, Any]:
        self.trainer.fit_loop.setup_data()  # the number of batches is known from here on
        total_steps = int(self.trainer.estimated_stepping_batches)
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        # without an explicit max_steps Lightning 2.6 miscounts after a resume from an epoch's last batch
        # (docs/decisions.md)
        self.trainer.fit_loop.epoch_loop.max_steps = total_steps
        optimizer = self.make_optimizer(self.model.named_parameters())
        frozen_groups = [group["params"] for group in optimizer.param_groups if group.get("frozen")]
        frozen = {parameter for group in frozen_groups for parameter in group}
        norms = [module for module in self.model.modules() if isinstance(module, BATCH_NORMS)]
        self.frozen_norms = [norm for norm in norms if frozen & set(norm.parameters())]
        schedule = self.make_schedule(optimizer, total_steps=total_steps, steps_per_epoch=steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        for group in optimizer.param_groups:
            if not group["lr"]:
                # frozen: its gradients shall neither be clipped nor fill the optimizer's memory
                for parameter in group["params"]:
                    parameter.grad = None
        # Lightning's own clipping refuses fused optimizers under mixed precision, because in float16 they
        # step on scaled gradients
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and steps_on_scaled_gradients(optimizer):
            scaler.unscale_(optimizer)
        if gradient_clip_val or (self.global_step + 1) % self.log_every_n_steps == 0:
            groups = [group["params"] for group in optimizer.param_groups if group["lr"]]
            moving = [parameter for group in groups for parameter in group]
            norm: Any = nn.utils.clip_grad_norm_(moving, gradient_clip_val or math.inf)
            # where each device has a part of each gradient, so it has of the norm
            self.gradient_norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.card is not None:  # a script's own trainer may have none
            checkpoint["vitlab"] = replace(self.card, learned=self.objective.learned()).as_plain()
        checkpoint["tallies"] = of_all_processes(self.tally.state())
        if self.trainer.train_dataloader is not None:  # none where nothing was trained
            write_place(self.trainer, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "vitlab" in checkpoint:  # not in those of a script's own trainer
            self.objective.take_up(checkpoint["vitlab"]["learned"])
        if "tallies" in checkpoint:
            number, now = len(checkpoint["tallies"]), self.trainer.world_size
            if number != now:
                raise ValueError(
                    f"the checkpoint is of a run on {number} device(s), and this machine gives it {now}; on"
                    f" {number} it could go on"
                )
            self.tally.load(checkpoint["tallies"][self.global_rank], self.device)
