"""One label an image, each class learned as a yes or no of its own."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from vitlab.objectives.classification import Classification
from vitlab.objectives.losses import ClassWeights, binary_cross_entropy


class BinaryCrossEntropy(Classification):
    """Classification by the sum of binary cross-entropies, as DeiT III trains (Touvron et al. 2022,
    arXiv:2204.07118).

    A class whose share of a mixed label lies above `target_threshold` counts as wholly right (DeiT III: 0.0);
    null leaves the shares. All else, answers and metrics too, is as in `Classification`.
    """

    def __init__(
        self,
        num_outputs: int,
        label_smoothing: float,
        monitor: str,
        mode: Literal["min", "max"],
        metrics: Sequence[str] = ("accuracy", "accuracy_top5"),
        class_weights: ClassWeights = None,
        target_threshold: float | None = None,
    ):
        super().__init__(num_outputs, label_smoothing, monitor, mode, None, metrics, class_weights)
        if target_threshold is not None and not 0.0 <= target_threshold < 1.0:
            raise ValueError(
                f"objective.target_threshold={target_threshold} must lie from 0 to below 1, or be null"
            )
        self.target_threshold = target_threshold

    def _own_loss(self, logits: Tensor, labels: Tensor, samples: Tensor | None = None) -> Tensor:
        weight = self.weight if isinstance(self.weight, Tensor) else None
        return binary_cross_entropy(
            logits, labels, self.label_smoothing, self.target_threshold, weight, samples
        )
