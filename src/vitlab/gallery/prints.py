"""The photographs on a sheet, and what a model said of each."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from vitlab.data.targets import named
from vitlab.gallery.look import Look, activation_of, one_true
from vitlab.insight.honesty.faithfulness import probabilities_of
from vitlab.pictures.drawing import Picture, fit
from vitlab.pictures.sheets import Text
from vitlab.shapes import Labels, Targets

SIDE = 128
"""About the longer side of a photograph on a sheet, in pixels, reached by whole factors."""


class Prints(NamedTuple):
    """Photographs for a sheet, all of one size, with their true classes or labels."""

    pictures: Sequence[Picture]
    labels: Targets
    class_names: Sequence[str]

    @property
    def true(self) -> list[str]:
        """What each photograph is, in words."""
        return [named(label, self.class_names) for label in self.labels]

    def are_right(self, classes: Labels) -> Tensor:
        """Tells for each photograph whether a class is its own, or one of its labels."""
        if self.labels.ndim == 1:
            return classes == self.labels
        return self.labels.gather(1, classes[:, None].to(self.labels.device))[:, 0] == 1

    @classmethod
    def of(cls, photographs: Sequence[Picture], labels: Targets, class_names: Sequence[str]) -> "Prints":
        """Returns them at the size that sheets have them in."""
        return cls([fit(photograph, SIDE) for photograph in photographs], labels, class_names)

    @property
    def size(self) -> tuple[int, int]:
        return self.pictures[0].shape[0], self.pictures[0].shape[1]


class Predictions(NamedTuple):
    """What a model said: the most probable class of each image, its probability, the true class's (of several
    labels the one that is looked at), and whether it was right."""

    classes: Labels
    probabilities: Float[Tensor, " batch"]
    of_true: Float[Tensor, " batch"]
    right: Bool[Tensor, " batch"]

    @classmethod
    def of(cls, look: Look, prints: Prints) -> "Predictions":
        probabilities = probabilities_of(look.logits, activation_of(prints.labels))
        best = probabilities.max(dim=1)
        true = one_true(prints.labels)
        of_true = probabilities.gather(1, true[:, None])[:, 0]
        return cls(best.indices, best.values, of_true, prints.are_right(best.indices.cpu()))

    def in_words(self, prints: Prints, index: int) -> list[Text]:
        """Returns the lines beside one photograph; a wrong answer is said in the colour of a warning."""
        right, true = bool(self.right[index]), int(one_true(prints.labels)[index])
        lines = [
            Text(f"true: {prints.true[index]}"),
            Text(f"said: {prints.class_names[int(self.classes[index])]}", warns=not right),
            Text(f"with {self.probabilities[index]:.0%}"),
        ]
        which = "true" if prints.labels.ndim == 1 else prints.class_names[true]
        return lines if right else [*lines, Text(f"{which} has {self.of_true[index]:.0%}")]
