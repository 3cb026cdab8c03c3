"""What an objective says of itself in words that never change: the rest of the house asks these and knows no
objective by name."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from vitlab.data.targets import TargetKind
from vitlab.objectives.direction import mode_of
from vitlab.objectives.tally import Count

LOSS = "loss"
"""The metric that every objective has."""


class Traits:
    """Names of metrics and pictures, and what an objective can do. Each has a default that suits a loss
    alone; a class sets those that differ."""

    monitor: str
    """The metric that chooses the best checkpoint, such as `val/accuracy`."""

    mode: Literal["min", "max"]
    """Whether more of `monitor` is better."""

    headline: Sequence[str] = ()
    """Metrics that a line about the run says beside the loss, the most telling first: `("accuracy",)`."""

    choices: Sequence[str] = ()
    """Metrics that `metrics=[...]` may name."""

    shares: Sequence[str] = ()
    """Metrics that are a share of the images, from 0 to 1: they are said in percent and with their 95 %
    interval."""

    rights: ClassVar[Mapping[str, Count]] = {}
    """Metrics that are the share of the images of which something is true, by what tells that: `{"accuracy":
    is_correct}`. A training interval counts them, and two models are held against each other image by
    image."""

    pictures: ClassVar[Sequence[str]] = ()
    """Pictures that the examiner draws, in the order to look at them: `("mistakes", "confusion")`."""

    targets: ClassVar[TargetKind] = "class"
    """What it needs of the data: one class, several labels, or numbers an image; its YAML says so to the data
    by `data.targets`."""

    activation: ClassVar[Literal["softmax", "sigmoid"]] = "softmax"
    """What makes probabilities of the scores of classes: of one among them, or of each by itself."""

    names_classes: ClassVar[bool] = False
    """Whether outputs are scores of classes, so that a class has a probability and a picture can show what
    speaks for it."""

    takes_mixed_labels: ClassVar[bool] = False
    """Whether `loss` takes the labels of MixUp and CutMix: [batch, classes], each row a share of every
    class."""

    takes_weights: bool = False
    """Whether `loss` weighs the samples by `batch.weights`, where these are not None."""

    takes_features: ClassVar[bool] = False
    """Whether batches may hold kept features [batch, features] in the place of images."""

    loss_from_outputs: ClassVar[bool] = True
    """Whether `evaluate` needs no more of model and images than the model's outputs. False where it looks at
    the pixels too: kept outputs then tell no loss, and a test says no interval of it unless `weighted` has
    it."""

    @property
    def score(self) -> str:
        """The metric by which changed images are judged, and checkpoints are compared first."""
        return self.headline[0] if self.headline else LOSS

    @property
    def score_mode(self) -> Literal["min", "max"]:
        """Whether more of the score is better."""
        return self.mode if self.monitor == f"val/{self.score}" else mode_of(self.score)

    def error_of(self, score: float) -> float:
        """Returns how far a score is from a perfect one: 1 - the score, or where less is better the score."""
        return score if self.score_mode == "min" else 1 - score

    def require_classes(self, what: str) -> None:
        """Raises ValueError where outputs are no scores of classes, and `what` needs these."""
        if not self.names_classes:
            raise ValueError(
                f"{what} needs probabilities of classes, and the objective {type(self).__name__} gives none"
            )

    def require_weights(self, what: str) -> None:
        """Raises ValueError where the loss does not weigh samples, and `what` asks for it."""
        if not self.takes_weights:
            raise ValueError(
                f"{what}: the loss of {type(self).__name__} weighs no samples; objective=classification or"
                " bce would work, without a criterion of another library"
            )

    def require_mixing(self, what: str) -> None:
        """Raises ValueError where the loss does not take labels of mixed images, and `what` mixes them."""
        if not self.takes_mixed_labels:
            raise ValueError(
                f"{what} mixes labels with the images, and the loss of {type(self).__name__} does not take"
                " shares of labels; 0 would work, as in augment=light"
            )

    def facts(self) -> dict[str, Any]:
        """Returns what a run's record must know, so that lists and reports read it without building
        anything."""
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "headline": list(self.headline),
            "shares": list(self.shares),
            "pictures": list(self.pictures),
        }
