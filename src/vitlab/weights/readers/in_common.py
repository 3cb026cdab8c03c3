"""What the readers of all libraries share: shapes of tensors, and names of classes."""

from collections.abc import Mapping
from typing import Any

from vitlab.weights.facts import Pretrained, architecture_of
from vitlab.weights.names import State

NORM_EPS = 1e-6
"""Of timm's, torchvision's and Google's ViTs."""


def pretrained_of(source: str, state: State, known: Mapping[str, Any], **more: Any) -> Pretrained:
    """Joins what shapes tell with what else is known, which wins."""
    facts = architecture_of(state, known.get("image_size"))
    known = {key: value for key, value in known.items() if value is not None}
    guessed = frozenset() if "num_heads" in known or facts["qk_norm"] else frozenset({"num_heads"})
    return Pretrained(source, state, facts | known, guessed, **more)


def label_names(labels: Any) -> tuple[str, ...] | None:
    """Returns class names from a list or a mapping; None where they are placeholders."""
    if isinstance(labels, dict):
        try:
            labels = [labels[key] for key in sorted(labels, key=int)]
        except ValueError:
            return None
    if not labels or all(str(label).startswith("LABEL_") for label in labels):
        return None
    return tuple(str(label) for label in labels)
