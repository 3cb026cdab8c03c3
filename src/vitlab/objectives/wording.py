"""How outputs become words: in the terminal, in predictions.csv, and on the pages of explanations."""

from collections.abc import Sequence

from vitlab.objectives.traits import Traits
from vitlab.shapes import Logits, Outputs, SoftLabels, Targets

Answer = list[tuple[str, float]]
"""What a model says of one picture: names with values, the most important first, such as `[("rose", 0.93),
("tulip", 0.05)]`."""


def most_probable(probabilities: SoftLabels, class_names: Sequence[str], top_k: int) -> list[Answer]:
    """Returns the `top_k` most probable classes of each row with their probabilities, from 0 to 1."""
    best = probabilities.topk(top_k, dim=1)
    answers: list[Answer] = []
    for values, classes in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        answers.append(
            [(class_names[int(label)], value) for label, value in zip(classes, values, strict=True)]
        )
    return answers


def most_probable_by_softmax(outputs: Logits, class_names: Sequence[str], top_k: int) -> list[Answer]:
    """Returns the most probable classes of each row of scores, as the model gives them."""
    return most_probable(outputs.float().softmax(dim=1), class_names, top_k)


class Wording(Traits):
    """Says the bare outputs as `output_0`, `output_1`, ...; an objective whose outputs mean something else
    writes anew what differs. `class_names` are the data's, in the order of the outputs."""

    def answers(self, outputs: Outputs, class_names: Sequence[str], top_k: int) -> list[Answer]:
        """Returns for each row of outputs what `vitlab predict` says of it, at most
        `top_k` of its names."""
        names = [f"output_{index}" for index in range(outputs.shape[1])][:top_k]
        return [list(zip(names, row, strict=False)) for row in outputs.float().tolist()]

    def columns(self, class_names: Sequence[str], top_k: int) -> list[str]:
        """Returns the names of the columns that predictions.csv has beside the file's."""
        kinds = ("class", "probability") if self.names_classes else ("output", "value")
        return [f"{kind}_{rank}" for rank in range(1, top_k + 1) for kind in kinds]

    def cells(self, answer: Answer, class_names: Sequence[str], top_k: int) -> list[str]:
        """Returns what these columns hold of an answer; names are as they are, not yet made harmless."""
        return [text for name, value in answer[:top_k] for text in (name, f"{value:.6f}")]

    def told(self, answer: Answer, class_names: Sequence[str], top_k: int) -> list[tuple[str, str]]:
        """Returns what the terminal says of an answer: names with values."""
        style = "6.1%" if self.names_classes else ".6g"
        return [(name, f"{value:{style}}") for name, value in answer[:top_k]]

    def explained(self, answer: Answer, class_names: Sequence[str]) -> list[str | None]:
        """Returns the classes that a picture's pages explain, one each; None: what the model says."""
        return [None]

    def how_sure(self) -> str:
        """Says in a line how probabilities were made what they are; empty where there is nothing to say."""
        return ""

    def told_of_test(self, outputs: Outputs, labels: Targets) -> list[str]:
        """Returns lines on how far answers to test images can be believed, beside their metrics."""
        return []

    def set_threshold(self, coverage: float) -> float:
        """Returns how improbable a class may be, 1 - its probability, to belong to a set that holds the right
        one in a share `coverage` (above 0, below 1) of cases. Raises ValueError where nothing tells that."""
        raise ValueError(
            f"coverage={coverage}: the objective {type(self).__name__} has no sets; null would work"
        )

    def told_of_sets(self, coverage: float) -> str:
        """Says how near to `coverage` sets of classes come; empty where there are none."""
        return ""
