"""A linear probe: the head learns to classify, the rest of the model stays as it is."""

from typing import cast

from torch import Tensor, nn

from vitlab.data.features import HEAD
from vitlab.objectives.classification import Classification


class LinearProbe(Classification):
    """Classification that trains the `head` of a model alone, on kept features [batch, features] or on
    images.

    A checkpoint holds the whole model, as of any run.
    """

    takes_features = True

    def prepare(self, model: nn.Module) -> None:
        """Freezes all but the head. Raises ValueError for a model without a linear one."""
        if not isinstance(getattr(model, HEAD, None), nn.Linear):
            raise ValueError(
                f"objective: a probe trains a linear `{HEAD}`, and a {type(model).__name__} has none"
            )
        model.requires_grad_(False)
        cast(nn.Linear, model.head).requires_grad_(True)

    def set_mode(self, model: nn.Module) -> None:
        """Leaves dropout and batch statistics of the frozen part as evaluation has them."""
        model.eval()

    def outputs(self, model: nn.Module, images: Tensor) -> Tensor:
        return cast(nn.Linear, model.head)(images) if images.ndim == 2 else model(images)
