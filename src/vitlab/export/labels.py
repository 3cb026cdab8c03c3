"""What an exported model's outputs mean: scores of one class among all, scores of several labels, each by
itself with a threshold of its own, or numbers in the units of the data."""

from typing import Any

from vitlab.checkpoint.card import Card

USUAL = 0.5
"""The threshold of each label where no validation fitted one."""


def are_numbers(card: Card) -> bool:
    """Tells whether the outputs are the numbers themselves, as of `objective=regression`."""
    return card.config.get("datamodule", {}).get("targets") == "numbers"


def thresholds_of(card: Card) -> list[float] | None:
    """Returns for each label the probability that an image has it from; None where there are none."""
    if card.config.get("datamodule", {}).get("targets") != "labels":
        return None
    fitted = card.learned.get("thresholds")
    return [USUAL] * len(card.class_names) if fitted is None else [round(each, 6) for each in fitted.tolist()]


def meaning(card: Card) -> dict[str, Any]:
    """Returns what makes probabilities of scores, and for labels their thresholds, as plain data."""
    if are_numbers(card):
        return {"activation": "identity"}
    thresholds = thresholds_of(card)
    return (
        {"activation": "softmax"}
        if thresholds is None
        else {"activation": "sigmoid", "thresholds": thresholds}
    )


def said_in_code(card: Card, names: str) -> str:
    """Returns Python lines that print what the model says: the class, all labels at their thresholds, or all
    numbers. `names` is an expression, such as "class_names"; `logits` [1, classes] is a NumPy array there."""
    if are_numbers(card):
        return f"""\
for name, number in zip({names}, logits[0], strict=True):
    print(name, number)"""
    if thresholds_of(card) is None:
        return f"print({names}[logits[0].argmax()])"
    return f"""\
probabilities = 1 / (1 + np.exp(-logits[0]))
thresholds = json.loads(Path("preprocessing.json").read_text())["thresholds"]
for name, probability, threshold in zip({names}, probabilities, thresholds, strict=True):
    print(f"{{name}} {{probability:.3f}}", "yes" if probability >= threshold else "no")"""


def task_of(card: Card) -> str:
    """Says what the model does: "images into 5 classes"."""
    count = len(card.class_names)
    if are_numbers(card):
        return f"{count} number{'s' * (count > 1)} of an image"
    return f"images into {count} classes" if thresholds_of(card) is None else f"{count} labels of an image"
