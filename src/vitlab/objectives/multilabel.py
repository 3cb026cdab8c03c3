"""Several labels an image, each a yes or no of its own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from vitlab.data.source import Batch
from vitlab.objectives.chosen_metrics import ChosenMetrics
from vitlab.objectives.energies import as_energies, thinned
from vitlab.objectives.examiner import Exam, Examiner
from vitlab.objectives.label_losses import PositiveWeights, asymmetric_loss, labels_loss, positive_weights
from vitlab.objectives.label_metrics import OF_LABELS
from vitlab.objectives.losses import as_weights
from vitlab.objectives.objective import Outcome
from vitlab.objectives.seen import Seen
from vitlab.objectives.tally import Count
from vitlab.objectives.thresholds import USUAL, as_thresholds, fit_thresholds
from vitlab.objectives.wording import Answer
from vitlab.shapes import Logits, ManyLabels, OfEachImage, SoftLabels

SEPARATOR = ";"
"""Between the labels of one image in a table: what `data.label_separator=";"` reads."""


def all_right(logits: Logits, labels: ManyLabels | SoftLabels) -> Bool[Tensor, " batch"]:
    """Tells for each sample whether every label is right at a probability of 0.5; of mixed labels those that
    weigh at least half count."""
    return ((logits > 0) == (labels >= 0.5)).all(dim=1)


class MultiLabel(ChosenMetrics):
    """Any of `num_outputs` labels an image, by binary cross-entropy or `loss="asymmetric"` (Ridnik et al.
    2021, with its `gamma_negative`, `gamma_positive` and `clip`), and `label_smoothing`.

    `positive_weights` multiply what each yes costs in training: a number a label, or `auto`, how many images
    lack the label for one that has it. `metrics` are names of `OF_LABELS`. Validation and test measure plain
    binary cross-entropy. The probability from which on an image has a label is fitted on the validation
    split, for each label by itself, where it gives the highest F1.
    """

    pictures = ("mistakes", "per_label")
    targets = "labels"
    activation = "sigmoid"
    names_classes = takes_mixed_labels = True
    rights: ClassVar[Mapping[str, Count]] = {"exact_match": all_right}
    catalogue = OF_LABELS

    def __init__(
        self,
        num_outputs: int,
        label_smoothing: float,
        monitor: str,
        mode: Literal["min", "max"],
        metrics: Sequence[str] = ("average_precision", "f1_macro", "exact_match"),
        positive_weights: PositiveWeights = None,
        loss: Literal["bce", "asymmetric"] = "bce",
        gamma_negative: float = 4.0,
        gamma_positive: float = 1.0,
        clip: float = 0.05,
    ):
        super().__init__(num_outputs, monitor, mode, metrics)
        if num_outputs < 2:
            raise ValueError(
                "objective=multilabel takes two labels or more, and the data has one;"
                " objective=classification takes its column as two classes, such as 0 and 1"
            )
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"objective.label_smoothing={label_smoothing} must lie from 0 to below 1")
        for key, value in {"gamma_negative": gamma_negative, "gamma_positive": gamma_positive}.items():
            if not 0.0 <= value < math.inf:
                raise ValueError(f"objective.{key}={value} must be 0 or more")
        if not 0.0 <= clip < 1.0:
            raise ValueError(f"objective.clip={clip} must lie from 0 to below 1")
        self.label_smoothing = label_smoothing
        self.asymmetric = (
            {"gamma_negative": gamma_negative, "gamma_positive": gamma_positive, "clip": clip}
            if loss == "asymmetric"
            else None
        )
        self.positive_weights = positive_weights
        self.thresholds: Tensor | None = None
        self._validated = Seen()
        given = None if isinstance(positive_weights, str) else positive_weights
        weight = as_weights("positive_weights", given, num_outputs, "labels")
        self.register_buffer("weight", weight, persistent=False)

    def see_training_labels(self, labels: ManyLabels) -> None:
        """Weighs each label's yes, where it is asked to, by its numbers of training images."""
        if self.positive_weights == "auto":
            self.weight = positive_weights(labels)

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits = self.outputs(model, batch.images)
        weight: Any = self.weight
        if self.asymmetric is None:
            loss = labels_loss(logits, batch.labels, self.label_smoothing, weight)
        else:
            loss = asymmetric_loss(
                logits,
                batch.labels,
                **self.asymmetric,
                smoothing=self.label_smoothing,
                positive_weight=weight,
            )
        return Outcome(loss, logits)

    def evaluate(self, model: nn.Module, batch: Batch) -> Outcome:
        """Evaluates by binary cross-entropy without weights or label smoothing."""
        logits = self.outputs(model, batch.images)
        return Outcome(labels_loss(logits, batch.labels), logits)

    def see_validation(self, outputs: Logits, labels: ManyLabels) -> None:
        self._validated.add(outputs, labels)

    def end_validation(self) -> None:
        """Fits the thresholds to the answers of the validation that ends, those of all processes."""
        if (validated := self._validated.emptied()) is not None:
            logits, labels = validated
            self.thresholds = fit_thresholds(self.probabilities(logits), labels)
            self.usual_energies = thinned(self.energy(logits))

    def learned(self) -> dict[str, Any]:
        """Returns the thresholds, and the energies of the validation images."""
        if self.thresholds is None:
            return {}
        return {"thresholds": self.thresholds, "energies": self.usual_energies}

    def take_up(self, learned: Any) -> None:
        """Takes up thresholds; later answers follow them."""
        self.thresholds = as_thresholds(learned, self.num_outputs) if learned else None
        self.usual_energies = as_energies(learned or {})

    @property
    def cuts(self) -> Tensor:
        """The probability of each label from which on an image has it."""
        return torch.full((self.num_outputs,), USUAL) if self.thresholds is None else self.thresholds

    def probabilities(self, outputs: Logits) -> SoftLabels:
        """Returns each label's probability, from 0 to 1."""
        return outputs.float().sigmoid()

    def how_sure(self) -> str:
        if self.thresholds is None:
            return f"labels from a probability of {USUAL} on: there was no validation to fit thresholds to"
        low, high = float(self.thresholds.min()), float(self.thresholds.max())
        return f"labels from a probability of {low:.2f} to {high:.2f} on, fitted on the validation split"

    def energy(self, outputs: Logits) -> OfEachImage:
        """Returns minus the sum of the labels' energies, log(1 + exp(score)): "Can multi-label classification
        networks know what they don't know?" (Wang et al. 2021, arXiv:2109.14162)."""
        return -F.softplus(outputs.float()).sum(dim=1)

    def take_up_together(self, learned: Sequence[Any]) -> str:
        self.take_up({})
        return (
            f"labels from a probability of {USUAL} on: each checkpoint's thresholds were fitted for it alone"
        )

    def told_of_test(self, outputs: Logits, labels: ManyLabels) -> list[str]:
        """Returns how good the labels are that `vitlab predict` says."""
        said, true = self.probabilities(outputs) >= self.cuts, labels == 1
        f1 = 2 * int((said & true).sum()) / max(int(said.sum() + true.sum()), 1)
        right = float((said == true).all(dim=1).double().mean())
        return [f"{self.how_sure()}: F1 {f1:.4f} over all labels, {right:.2%} of the images wholly right"]

    def averaged(self, outputs: Tensor) -> Tensor:
        """Returns scores whose sigmoid is the mean of the probabilities."""
        return outputs.double().sigmoid().mean(dim=0).logit(eps=1e-12).float()

    def per_class(self, outputs: Logits, labels: ManyLabels) -> dict[str, Tensor]:
        """Returns each label's numbers at its threshold."""
        from vitlab.objectives.label_examiner import of_each_label

        return of_each_label(outputs, labels, self.cuts)

    def examiner(self, exam: Exam) -> Examiner:
        """Returns what collects each label's numbers and the most confident mistakes."""
        from vitlab.objectives.label_examiner import LabelExaminer

        return LabelExaminer(exam, self.thresholds)

    def answers(self, outputs: Logits, class_names: Sequence[str], top_k: int) -> list[Answer]:
        """Returns all labels of each row with their probabilities, the most probable first: which of them
        are said depends on thresholds, and not on `top_k`."""
        ordered = self.probabilities(outputs).sort(dim=1, descending=True)
        return [
            [(class_names[int(label)], value) for label, value in zip(labels, values, strict=True)]
            for labels, values in zip(ordered.indices.tolist(), ordered.values.tolist(), strict=True)
        ]

    def found(self, answer: Answer, class_names: Sequence[str]) -> list[str]:
        """Returns the labels that an answer says the image has."""
        needed = dict(zip(class_names, self.cuts.tolist(), strict=True))
        return [name for name, probability in answer if probability >= needed[name]]

    def columns(self, class_names: Sequence[str], top_k: int) -> list[str]:
        """Returns `labels`, which joins those that were found by ";", and a probability for each label."""
        return ["labels", *class_names]

    def cells(self, answer: Answer, class_names: Sequence[str], top_k: int) -> list[str]:
        told, found = dict(answer), self.found(answer, class_names)
        joined = SEPARATOR.join(name for name in class_names if name in found)
        return [joined, *(f"{told[name]:.6f}" for name in class_names)]

    def told(self, answer: Answer, class_names: Sequence[str], top_k: int) -> list[tuple[str, str]]:
        found = self.found(answer, class_names)
        shown = [(name, f"{value:6.1%}") for name, value in answer if name in found]
        return shown or [(f"none; the most probable is {answer[0][0]}", f"{answer[0][1]:.1%}")]

    def explained(self, answer: Answer, class_names: Sequence[str]) -> list[str | None]:
        """Returns each label that was found, or else the most probable one."""
        return list(self.found(answer, class_names)) or [answer[0][0]]
