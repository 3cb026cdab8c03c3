"""An exponential moving average of the weights: validated, tested and saved in place of the raw ones."""

from typing import Any

from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA(WeightAveraging):
    """Averages the weights after every optimizer step from `start_step` on; `decay` is the share of the old
    average, above 0 and below 1.

    The average starts as a copy of the weights at the first update. Before that the raw weights are validated
    and saved: Lightning's own class would validate the untrained copy it made at the start.
    """

    def __init__(self, decay: float, start_step: int = 0):
        if not 0.0 < decay < 1.0:
            raise ValueError(f"callbacks.ema.decay={decay} must be above 0 and below 1; 0.999 is usual")
        if start_step < 0:
            raise ValueError(f"callbacks.ema.start_step={start_step} must be 0 or more")
        super().__init__(multi_avg_fn=self._average)
        self.decay = decay
        self.start_step = start_step
        self.step = start_step
        self.has_averaged = False
        self.age_before = 0  # updates of the average that another run began

    def take_up(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Goes on with the average in another run's checkpoint, whatever `start_step` is."""
        own = {"current_model_state": pl_module.state_dict()}
        super().on_load_checkpoint(trainer, pl_module, checkpoint | own)
        self.age_before = int(checkpoint["averaging_state"]["n_averaged"])
        self.has_averaged = True

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | ({"age_before": self.age_before} if self.age_before else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.age_before = state_dict.get("age_before", 0)

    def _average(self, averages: Any, weights: Any, num_averaged: Any) -> None:
        # a young average would hold on to its untrained start: let it follow faster at first, as TensorFlow's
        # does
        age = self.age_before + self.step if self.age_before else self.step - self.start_step
        get_ema_multi_avg_fn(min(self.decay, (1 + age) / (10 + age)))(averages, weights, num_averaged)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is None or (step_idx < self.start_step and not self.age_before):
            return False
        self.step, self.has_averaged = step_idx, True
        return True

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if self.has_averaged:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self.has_averaged:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Leaves the raw weights to a checkpoint of the end."""

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if self.has_averaged:
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if self.has_averaged:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        # Lightning 2.6.6 would put the raw weights back into the model that is about to be tested
        if trainer.state.fn == TrainerFn.FITTING and "averaging_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
            self.has_averaged = True
