"""Checks that a checkpoint's config describes its tensors' model, before one is made."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from vitlab.checkpoint.card import Card
from vitlab.construct import build, find_targets, resolve_target
from vitlab.models.vit import VisionTransformer
from vitlab.objectives.objective import Objective

MOST = 10_000_000
"""No whole number of a model or of its data is larger, but for seeds."""

MOST_WORKERS = 512

MOST_ENLARGED = 4
"""Times the side of training's images, at most, that a model is shown: attention grows by the square."""


@contextmanager
def described_by(path: str | Path) -> Iterator[None]:
    """Turns any error over a config, maybe a stranger's, into a ValueError that names the checkpoint."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        text = text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
        raise ValueError(f"checkpoint={path}: its config does not describe what it holds: {text}") from error


def check_numbers(node: Any, key: str) -> None:
    """Raises ValueError for a whole number, at any depth, that is too large for any model or data set."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if not str(name).endswith("seed"):
                check_numbers(value, f"{key}.{name}")
    elif isinstance(node, list):
        for value in node:
            check_numbers(value, key)
    elif isinstance(node, int) and abs(node) > (MOST_WORKERS if key.endswith(".num_workers") else MOST):
        raise ValueError(f"{key}={str(node)[:40]} is no size of a model or of data")


@contextmanager
def no_larger_than(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Raises ValueError in the block at the first parameter of a module beyond what the weights fill."""
    count, numbers = len(weights), sum(value.numel() for value in weights.values())

    def note(module: nn.Module, name: str, parameter: Any) -> None:
        nonlocal count, numbers
        if isinstance(parameter, Tensor):
            count, numbers = count - 1, numbers - parameter.numel()
            if min(count, numbers) < 0:
                shape = list(parameter.shape)
                raise ValueError(
                    f"a larger model than the one of its weights (they have no place for a {name} of shape"
                    f" {shape})"
                )

    handle = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def answers_of(model: nn.Module, objective: Objective, images: Tensor) -> Tensor:
    """Returns what an objective has a model say of images. Raises ValueError where that is no tensor, or the
    model refuses the images."""
    shape, name = list(images.shape), type(model).__name__
    try:
        answered = objective.outputs(model, images)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        more = "HYDRA_FULL_ERROR=1 shows where"
        raise ValueError(
            f"model: a {name} does not take images of shape {shape} ({type(error).__name__}: {text}); {more}"
        ) from error
    if not isinstance(answered, Tensor):
        raise ValueError(
            f"model: a {name} gives a {type(answered).__name__}; a tensor of logits [images, classes] would"
            " work"
        )
    return answered


def check_answers(model: nn.Module, objective: Objective, config: Mapping[str, Any]) -> None:
    """Raises ValueError where a model says more or fewer numbers of images of the run's sizes than the
    objective has."""
    if isinstance(model, VisionTransformer):  # whose constructor knows
        return
    data, num_outputs = config["datamodule"], objective.num_outputs
    model.eval()
    for key in ("image_size", "eval_size"):
        side = data.get(key) or data["image_size"]
        answered = answers_of(
            model,
            objective,
            torch.zeros(2, data["in_channels"], *([side, side] if isinstance(side, int) else side)),
        )
        if tuple(answered.shape) != (2, num_outputs):
            raise ValueError(
                f"model: a {type(model).__name__} gives {list(answered.shape)} for 2 images; [2,"
                f" {num_outputs}] would work, as objective.num_outputs says"
            )
    model.train()


def check_model(model: nn.Module, card: Card) -> None:
    """Raises ValueError where a model on the device meta refuses the card's images or classes."""
    facts, count = card.preprocessing, len(card.class_names)
    objective = card.config["objective"]
    if not isinstance(model, VisionTransformer):
        if not is_ours(objective):
            return
        answered = answers_of(
            model.eval(),
            build(objective),
            torch.empty(1, facts.in_channels, *facts.image_size, device="meta"),
        )
        if tuple(answered.shape) != (1, objective.get("num_outputs")):
            raise ValueError(
                f"a {type(model).__name__} gives {list(answered.shape)}, and"
                f" objective.num_outputs={objective.get('num_outputs')}"
            )
        return
    if any(
        shown > MOST_ENLARGED * side for shown, side in zip(facts.image_size, model.image_size, strict=True)
    ):
        raise ValueError(
            f"preprocessing.image_size={list(facts.image_size)} is far from"
            f" model.image_size={list(model.image_size)}"
        )
    with torch.inference_mode():
        model.embed(torch.empty(1, facts.in_channels, *facts.image_size, device="meta"))
    if objective.get("num_outputs") != model.num_classes:
        raise ValueError(
            f"the model says {model.num_classes} numbers of an image, and"
            f" objective.num_outputs={objective.get('num_outputs')}"
        )
    if model.num_classes != count and resolve_target(objective["_target_"], "objective").names_classes:
        raise ValueError(
            f"the model tells {model.num_classes} classes apart, and there are {count} class names"
        )


def is_ours(node: Any) -> bool:
    """Tells whether all parts of a node are vitlab's own; a user's need numbers to be built."""
    return all(str(inner["_target_"]).startswith("vitlab.") for _, inner in find_targets(node))


def trained_config(card: Card, path: str | Path) -> dict[str, Any]:
    """Returns the config of a checkpoint's model. Raises ValueError where it is not vitlab's."""
    config: dict[str, Any] = card.config
    kinds = {
        "trainer": dict,
        "optimizer": dict,
        "schedule": dict,
        "objective": dict,
        "datamodule": dict,
        "seed": int,
        "name": str,
    }
    for key, kind in kinds.items():
        if type(config.get(key)) is not kind or (kind is dict and "_target_" not in config[key]):
            raise ValueError(
                f"checkpoint={path}: its config.{key} is not what `vitlab train` writes; another copy would"
                " work"
            )
    return config
