"""What a checkpoint says of itself: all that other commands need to know of a trained model."""

from dataclasses import dataclass, field
from typing import Any

from vitlab.data.preprocessing import Preprocessing

FORMAT = 3
"""Raised when the layout under the key "vitlab" changes."""


def _is_datamodule(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("source"), dict)
        and isinstance(node["source"].get("_target_"), str)
    )


def _wrong_key(plain: dict[str, Any]) -> str | None:
    """Returns the first key whose value `Card.as_plain` cannot have written; preprocessing checks its own."""
    config, names = plain.get("config"), plain.get("class_names")
    config = config if isinstance(config, dict) else {}
    is_sound = {
        "config.model": isinstance(config.get("model"), dict),
        "config.datamodule": _is_datamodule(config.get("datamodule", {"source": {"_target_": ""}})),
        "config.objective": isinstance(config.get("objective"), dict),
        "data": isinstance(plain.get("data"), dict),
        "learned": isinstance(plain.get("learned"), dict),
        "class_names": isinstance(names, list) and all(isinstance(name, str) for name in names),
    }
    return next((key for key, sound in is_sound.items() if not sound), None)


@dataclass(frozen=True)
class Card:
    """The resolved config, the class names, how pictures become inputs, the split of the data (see
    `data.known_split`), and what the objective has learned beside the weights."""

    config: dict[str, Any]
    class_names: list[str]
    preprocessing: Preprocessing
    data: dict[str, Any]
    learned: dict[str, Any] = field(default_factory=dict)

    def as_plain(self) -> dict[str, Any]:
        """Returns plain data, which every checkpoint carries under "vitlab"."""
        return {
            "format": FORMAT,
            "config": self.config,
            "class_names": self.class_names,
            "preprocessing": self.preprocessing.as_plain(),
            "data": self.data,
            "learned": self.learned,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Card":
        """Reads what `as_plain` returned. Raises ValueError with the name of a key whose value is wrong."""
        if (key := _wrong_key(plain)) is not None:
            raise ValueError(key)
        preprocessing = Preprocessing.from_plain(plain.get("preprocessing"))
        return cls(plain["config"], plain["class_names"], preprocessing, plain["data"], plain["learned"])
