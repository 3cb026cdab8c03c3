"""One label an image, learned by cross-entropy."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from vitlab.data.source import Batch
from vitlab.objectives.calibration import Calibration
from vitlab.objectives.chosen_metrics import ChosenMetrics
from vitlab.objectives.energies import energy
from vitlab.objectives.examiner import Exam, Examiner
from vitlab.objectives.losses import ClassWeights, as_weights, focal_loss, weights_of_classes
from vitlab.objectives.metrics import OF_CLASSES
from vitlab.objectives.objective import Outcome
from vitlab.objectives.per_class import of_each_class
from vitlab.objectives.reliability import told_of_quality
from vitlab.objectives.seen import Seen
from vitlab.objectives.tally import Count
from vitlab.objectives.weighted import Weighted, of_classes
from vitlab.objectives.wording import Answer, most_probable
from vitlab.shapes import Labels, Logits, SoftLabels


def is_correct(logits: Logits, labels: Labels | SoftLabels) -> Bool[Tensor, " batch"]:
    """Tells for each sample whether the highest score is that of its label, or of the heaviest part of a
    mixed one."""
    truth = labels if labels.ndim == 1 else labels.argmax(dim=1)
    return logits.argmax(dim=1) == truth


class Classification(ChosenMetrics):
    """One of `num_outputs` classes an image, by cross-entropy with `label_smoothing`, or by a `criterion`
    (logits, labels) -> loss.

    `class_weights` weigh the classes in training: a number for each, `auto` (in inverse proportion to its
    training images) or `effective`, see `weights_of_classes`. With `focal_gamma` above 0 what the model is
    already sure of counts less. `metrics` are names of `OF_CLASSES`. Validation and test measure plain
    cross-entropy, whatever is trained by.
    """

    pictures = ("mistakes", "confusion", "per_class", "reliability")
    names_classes = takes_mixed_labels = True
    rights: ClassVar[Mapping[str, Count]] = {"accuracy": is_correct}
    catalogue = OF_CLASSES

    def __init__(
        self,
        num_outputs: int,
        label_smoothing: float,
        monitor: str,
        mode: Literal["min", "max"],
        criterion: nn.Module | None = None,
        metrics: Sequence[str] = ("accuracy", "accuracy_top5"),
        class_weights: ClassWeights = None,
        focal_gamma: float = 0.0,
    ):
        super().__init__(num_outputs, monitor, mode, metrics)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"objective.label_smoothing={label_smoothing} must lie from 0 to below 1")
        if not 0.0 <= focal_gamma < math.inf:
            raise ValueError(f"objective.focal_gamma={focal_gamma} must be 0 or more")
        own = {
            "label_smoothing": label_smoothing,
            "class_weights": class_weights,
            "focal_gamma": focal_gamma,
        }
        for key, value in own.items():
            if criterion is not None and value:
                raise ValueError(
                    f"objective.{key}={value} has no effect beside objective.criterion, which has its own;"
                    f" objective.{key}={'null' if key == 'class_weights' else 0} would work"
                )
        self.label_smoothing = label_smoothing
        self.criterion = criterion
        self.takes_weights = criterion is None
        self.focal_gamma = focal_gamma
        self.class_weights = class_weights
        self.calibration: Calibration | None = None
        self._validated = Seen()
        given = None if isinstance(class_weights, str) else class_weights
        weight = as_weights("class_weights", given, num_outputs, "classes", may_be_zero=True)
        self.register_buffer("weight", weight, persistent=False)

    def see_training_labels(self, labels: Labels) -> None:
        """Weighs the classes, where it is asked to, by their numbers of training images."""
        if isinstance(self.class_weights, str):
            counts = labels.long().bincount(minlength=self.num_outputs)
            self.weight = weights_of_classes(counts, self.class_weights)  # type: ignore[arg-type]

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits = self.outputs(model, batch.images)
        if self.criterion is not None:
            return Outcome(self._by_criterion(logits, batch.labels), logits)
        return Outcome(self._own_loss(logits, batch.labels, batch.weights), logits)

    def _own_loss(self, logits: Tensor, labels: Tensor, samples: Tensor | None = None) -> Tensor:
        weight: Any = self.weight
        if self.focal_gamma or samples is not None:
            return focal_loss(logits, labels, self.focal_gamma, weight, self.label_smoothing, samples)
        return F.cross_entropy(logits, labels, weight=weight, label_smoothing=self.label_smoothing)

    def _by_criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns another library's loss. Raises ValueError where it does not take labels of this kind, or
        gives no single number."""
        assert self.criterion is not None
        kind = "whole numbers" if labels.ndim == 1 else "shares of classes, as MixUp and CutMix make them"
        try:
            loss = self.criterion(logits, labels)
        except (RuntimeError, TypeError, IndexError, AssertionError) as error:
            what = " ".join(str(error).split())[:160]
            raise ValueError(
                f"objective.criterion: {type(self.criterion).__name__} does not take labels that are {kind}"
                f" ({what})"
            ) from error
        if loss.ndim:
            raise ValueError(
                f"objective.criterion: {type(self.criterion).__name__} gives {list(loss.shape)}; reduction:"
                " mean would work"
            )
        return loss

    def evaluate(self, model: nn.Module, batch: Batch) -> Outcome:
        """Evaluates by cross-entropy without label smoothing."""
        logits = self.outputs(model, batch.images)
        return Outcome(F.cross_entropy(logits, batch.labels), logits)

    def see_validation(self, outputs: Logits, labels: Labels) -> None:
        self._validated.add(outputs, labels)

    def end_validation(self) -> None:
        """Fits the calibration to the answers of the validation that ends, those of all processes."""
        if (validated := self._validated.emptied()) is not None:
            self.calibration = Calibration.fitted(*validated)

    def learned(self) -> dict[str, Any]:
        """Returns the calibration."""
        return self.calibration.as_plain() if self.calibration else {}

    def take_up(self, learned: Any) -> None:
        """Takes up a calibration; later answers follow it."""
        self.calibration = Calibration.from_plain(learned) if learned else None
        if self.calibration is not None:
            self.usual_energies = self.calibration.energies

    def probabilities(self, outputs: Logits) -> SoftLabels:
        """Returns each class's probability, from 0 to 1, by softmax at the validation split's temperature."""
        temperature = self.calibration.temperature if self.calibration else 1.0
        return (outputs.float() / temperature).softmax(dim=1)

    def how_sure(self) -> str:
        if self.calibration is None:
            return "probabilities as the model gives them: the checkpoint had no validation to scale them by"
        return self.calibration.how_sure()

    def told_of_test(self, outputs: Logits, labels: Labels) -> list[str]:
        """Returns how far probabilities can be believed, before and after scaling."""
        logits = outputs.float()
        told = [told_of_quality("as the model says", logits, labels)]
        if self.calibration is not None and self.calibration.temperature != 1.0:
            temperature = self.calibration.temperature
            told.append(told_of_quality(f"at temperature {temperature:.3g}", logits / temperature, labels))
        return [f"calibration on {len(labels):,} images: {self.how_sure()}", *told]

    def set_threshold(self, coverage: float) -> float:
        if not 0.0 < coverage < 1.0:
            raise ValueError(f"coverage={coverage} must lie above 0 and below 1; 0.9 would work")
        if self.calibration is None:
            raise ValueError(
                f"coverage={coverage}: the checkpoint was never validated; nothing tells how large sets must"
                " be; null would work"
            )
        return self.calibration.threshold(coverage)

    def told_of_sets(self, coverage: float) -> str:
        return self.calibration.told_of_sets(coverage) if self.calibration else ""

    def weighted(self, outputs: Logits, labels: Labels) -> dict[str, Callable[[], Weighted]]:
        return of_classes(outputs, labels)

    def per_class(self, outputs: Logits, labels: Labels) -> dict[str, Tensor]:
        return of_each_class(outputs, labels)

    def averaged(self, outputs: Tensor) -> Tensor:
        """Returns scores whose softmax is the mean of the probabilities."""
        return outputs.float().log_softmax(dim=2).logsumexp(dim=0) - math.log(len(outputs))

    def energy(self, outputs: Tensor) -> Tensor:
        """Returns -log of the sum of the exponents of an image's scores: "Energy-based Out-of-distribution
        Detection" (Liu et al. 2020, arXiv:2010.03759)."""
        return energy(outputs)

    def take_up_together(self, learned: Sequence[Any]) -> str:
        self.take_up({})
        return "no temperature: each checkpoint's was fitted for that model alone, on images as they are"

    def examiner(self, exam: Exam) -> Examiner:
        """Returns what collects per-class accuracy, the confusion matrix and the most confident mistakes."""
        from vitlab.objectives.classification_examiner import ClassificationExaminer

        return ClassificationExaminer(exam, self.calibration)

    def answers(self, outputs: Logits, class_names: Sequence[str], top_k: int) -> list[Answer]:
        """Returns the most probable classes of each row with their probabilities."""
        return most_probable(self.probabilities(outputs), class_names, top_k)
