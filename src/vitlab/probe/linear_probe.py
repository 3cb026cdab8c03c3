"""The LightningModule of a linear probe: the head learns, the rest of the model stays as it is."""

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitlab.classifier import ImageClassifier
from vitlab.probe.features import HEAD


class LinearProbe(ImageClassifier):
    """Trains the `head` of `model` on features [N, features], or on images; a checkpoint holds the whole model, as of any classifier."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., LRScheduler],
        num_classes: int,
        label_smoothing: float,
        seed: int,
    ):
        if not isinstance(getattr(model, HEAD, None), nn.Linear):
            raise ValueError(f"classifier: a probe trains a linear `{HEAD}`, and a {type(model).__name__} has none")
        super().__init__(model, optimizer, schedule, num_classes, label_smoothing, seed)
        model.requires_grad_(False)
        cast(nn.Linear, model.head).requires_grad_(True)

    def train(self, mode: bool = True) -> Any:
        """Leaves dropout and batch statistics of the frozen part as evaluation has them."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        return cast(nn.Linear, self.model.head)(images) if images.ndim == 2 else self.model(images)
