"""One model of a checkpoint, or of several: an ensemble of probabilities, or a mean of weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vitlab.checkpoint.card import Card
from vitlab.data.known_split import known_split
from vitlab.data.sources.layout import listed
from vitlab.models.averaged import VIEWS, Averaged
from vitlab.objectives.objective import Objective
from vitlab.runs.load import load_model, objective_of


@dataclass(frozen=True)
class Loaded:
    """What `load_several` made: a model with the first one's card and objective, and lines on it."""

    model: nn.Module
    card: Card
    objective: Objective
    paths: list[str]
    cards: list[Card]
    tta: str | None
    weights_average: bool
    said: list[str]

    @property
    def path(self) -> str:
        return self.paths[0]

    @property
    def is_averaged(self) -> bool:
        return bool(self.said)

    def facts(self) -> dict[str, Any]:
        """Returns what a record must say of the model; nothing of a plain one."""
        if not self.is_averaged:
            return {}
        how = "weights" if self.weights_average else "probabilities" if len(self.paths) > 1 else None
        return {"averaged": {"checkpoints": self.paths, "of": how, "tta": self.tta}}

    def check_unseen(self, data: Any) -> None:
        """Raises ValueError where a further model was trained on images that the first one held back."""
        split = data.splits["test"]
        for path, card in zip(self.paths[1:], self.cards[1:], strict=True):
            trained = known_split(card.data).files.get("train")
            if trained is not None and split.samples.files is not None:
                seen = int(torch.isin(split.samples.files[split.indices], trained).sum())
                if seen:
                    raise ValueError(
                        f"checkpoint: {path} was trained on {seen:,} of these {len(split):,} test images;"
                        " models of one split (data.split_seed, data.fold) would work"
                    )
            elif (mine := _cut(card)) != (first := _cut(self.card)):
                raise ValueError(
                    f"checkpoint: {path} was trained on another split ({mine}) than {self.path} ({first}), so"
                    " it may have seen the test images; models of one split would work"
                )


def _cut(card: Card) -> str:
    node = card.config["datamodule"]
    keys = ("split_seed", "val_fraction", "test_fraction", "num_folds", "fold")
    return ", ".join(f"{key}={node.get(key)}" for key in keys)


def _check_alike(paths: Sequence[str], cards: Sequence[Card]) -> None:
    first = cards[0]
    for path, card in zip(paths[1:], cards[1:], strict=True):
        if card.class_names != first.class_names:
            raise ValueError(
                f"checkpoint: {path} knows the classes {listed(card.class_names)}, and {paths[0]}"
                f" {listed(first.class_names)}; models of the same classes would work"
            )
        if card.preprocessing != first.preprocessing:
            mine, other = card.preprocessing.as_plain(), first.preprocessing.as_plain()
            key = next(key for key in {**mine, **other} if mine.get(key) != other.get(key))
            raise ValueError(
                f"checkpoint: {path} prepares images by {key}={mine.get(key)}, and {paths[0]} by"
                f" {other.get(key)}; models that see the same would work"
            )


def _mean_of_weights(paths: Sequence[str], models: Sequence[nn.Module]) -> nn.Module:
    """Returns the first model with the mean of all weights ("Model soups", Wortsman et al. 2022)."""
    states = [model.state_dict() for model in models]
    mean: dict[str, Tensor] = {}
    for path, state in zip(paths[1:], states[1:], strict=True):
        strange = set(state) ^ set(states[0]) or {
            name for name in state if state[name].shape != states[0][name].shape
        }
        if strange:
            raise ValueError(
                f"weights_average=true: {path} is another network than {paths[0]} ({sorted(strange)[0]});"
                " weights_average=false would average their probabilities"
            )
    for name, value in states[0].items():
        if value.is_floating_point():
            mean[name] = torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        else:
            mean[name] = value
    models[0].load_state_dict(mean)
    return models[0]


def _described(count: int, tta: str | None, weights_average: bool) -> list[str]:
    said = []
    if weights_average:
        said.append(
            f"one model of the mean of {count} checkpoints' weights (of runs from one start, it works)"
        )
    elif count > 1:
        said.append(f"the mean of what {count} checkpoints say")
    if tta:
        said.append(f"tta={tta}: the mean over {len(VIEWS[tta])} views of each image")
    return said


def load_several(
    checkpoint: str | list[str], tta: str | None, weights_average: bool, metrics: Sequence[str] = ()
) -> Loaded:
    """Loads one checkpoint, or a model of several, with further `metrics`. Raises ValueError for misfits."""
    paths = [checkpoint] if isinstance(checkpoint, str) else [str(path) for path in checkpoint]
    if not paths or len(set(paths)) < len(paths):
        raise ValueError(
            f"checkpoint={listed(paths) if paths else '[]'}: give one, or several different ones"
        )
    if weights_average and len(paths) < 2:
        raise ValueError("weights_average=true needs several: checkpoint=[A,B] would work")
    if tta is not None and tta not in VIEWS:
        raise ValueError(f"tta={tta} is no set of views; known: {', '.join(VIEWS)}")
    loaded = [load_model(path) for path in paths]
    models, cards = [model for model, _ in loaded], [card for _, card in loaded]
    _check_alike(paths, cards)
    card, objective = cards[0], objective_of(cards[0], paths[0], metrics)
    height, width = card.preprocessing.image_size
    if tta == "turns" and height != width:
        raise ValueError(f"tta=turns needs square images, and these are {height} x {width}; flips would work")
    said = _described(len(paths), tta, weights_average)
    model = _mean_of_weights(paths, models) if weights_average else models[0]
    if said:
        said.append(objective.take_up_together([each.learned for each in cards]))
        card = replace(card, learned={})
        members = [model] if weights_average else models
        if len(members) > 1 or tta:
            views = VIEWS[tta] if tta else VIEWS["flip"][:1]
            model = Averaged(members, views, objective.averaged).eval()
    return Loaded(model, card, objective, paths, cards, tta, weights_average, [line for line in said if line])
