"""What a run is made of, built before it begins, so that every complaint of a constructor comes before any data is read."""

from collections.abc import Mapping
from typing import Any

import torch

from vitlab.commands.build import build, build_model
from vitlab.commands.sizes import is_ours
from vitlab.data.image_data import ImageData
from vitlab.objectives.objective import Objective
from vitlab.training.module import TrainingModule


def training_module(config: Mapping[str, Any]) -> TrainingModule:
    """Builds model, objective, optimizer, schedule and callbacks from a checked config; the callbacks are to be built anew for a run."""
    model = build_model(config)
    parts = {key: build(config[key]) for key in ("optimizer", "schedule")}
    objective: Objective = build(config["objective"])
    module = TrainingModule(model, objective, **parts, seed=config["seed"])
    # their complaints now, not once the data is loaded and the number of steps is known
    parts["schedule"](parts["optimizer"](model.named_parameters()), total_steps=1_000_000, steps_per_epoch=1)
    for node in config["callbacks"].values():
        if node:
            build(node)
    return module


def check_training_module(config: Mapping[str, Any]) -> None:
    """Raises ValueError as `training_module` does, in no memory for the numbers of a model of ours."""
    with torch.device("meta" if is_ours(config["model"]) else "cpu"):
        training_module(config)


def images(config: Mapping[str, Any]) -> ImageData:
    """Builds the data, and looks at what it needs no image for. Raises ValueError where it is not what the config says."""
    data: ImageData = build(config["datamodule"])
    data.check()
    return data
