"""What a run is made of, built before it begins: constructors complain before data is read."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import nn

from vitlab.construct import build, build_model
from vitlab.data.image_data import ImageData
from vitlab.objectives.objective import Objective
from vitlab.runs.sizes import check_answers, is_ours
from vitlab.training.batch_norms import tell_of_batch_norms
from vitlab.training.hardware import check_hardware
from vitlab.training.held_back import refuse_watchers
from vitlab.training.learning import optimizer_and_schedule
from vitlab.training.module import TrainingModule
from vitlab.training.trainer import build_callbacks, build_trainer


class Assembled(NamedTuple):
    """All objects of a run, each of them built once. The trainer has the callbacks and the loggers."""

    module: TrainingModule
    data: ImageData
    trainer: pl.Trainer

    @property
    def model(self) -> nn.Module:
        return self.module.model

    @property
    def objective(self) -> Objective:
        return self.module.objective


def training_module(config: Mapping[str, Any], is_new: bool = False) -> TrainingModule:
    """Builds model, objective, optimizer and schedule from a checked config. With `is_new` a model by name
    gets the weights that its library has for it."""
    model = build_model(config, is_new)
    objective: Objective = build(config["objective"])
    objective.add_parts(model)
    check_answers(model, objective, config)
    parts = optimizer_and_schedule(config)
    module = TrainingModule(model, objective, **parts, seed=config["seed"])
    # Their complaints now. The run makes its own once it knows the number of steps, and, under FSDP, has cut
    # the parameters into shards.
    parts["schedule"](parts["optimizer"](model.named_parameters()), total_steps=1_000_000, steps_per_epoch=1)
    return module


def images(config: Mapping[str, Any]) -> ImageData:
    """Builds the data module, and checks of the data all that shows without reading an image. Raises
    ValueError where it is not what the config says."""
    data: ImageData = build(config["datamodule"])
    data.check()
    return data


def assemble(config: Mapping[str, Any], is_new: bool) -> Assembled:
    """Builds all that a checked config names, reading no image. Raises ValueError for what is refused."""
    check_hardware(config["trainer"])
    module = training_module(config, is_new)
    trainer = build_trainer(config)
    tell_of_batch_norms(trainer, module.model, bool(config["trainer"].get("sync_batchnorm")))
    return Assembled(module, images(config), trainer)


def _without_seeds(node: Any) -> Any:
    """Returns a node with every seed set to 0: whether something can be built does not depend on seeds."""
    if isinstance(node, dict):
        return {key: 0 if key == "seed" else _without_seeds(value) for key, value in node.items()}
    return node


def _complaint(build: Callable[[], Any]) -> Exception | None:
    try:
        build()
    except (ValueError, OSError) as error:
        return error
    return None


class StartCheck:
    """Raises ValueError for a checked config whose run would not begin, or would lack the metric that a sweep
    has `sought`. What several configs have in common is built once.

    Our own models are built without memory for their weights. Where the run is not to begin `here`, its
    devices are not checked: the other machine may have others.
    """

    def __init__(self) -> None:
        self.of_module, self.of_data = cache(self._of_module), cache(self._of_data)

    def _of_module(self, parts: str) -> Exception | None:
        config = json.loads(parts)
        with torch.device("meta" if is_ours(config["model"]) else "cpu"):
            return _complaint(lambda: (training_module(config | {"seed": 0}), build_callbacks(config)))

    def _of_data(self, node: str) -> tuple[Exception | None, bool]:
        """Returns a complaint or None, and whether nothing will be validated, as far as that is known."""
        built: list[ImageData] = []
        complaint = _complaint(lambda: built.append(images({"datamodule": json.loads(node)})))
        return complaint, complaint is None and built[0].holds_back("val") is False

    def __call__(self, config: Mapping[str, Any], sought: str | None = None, here: bool = True) -> None:
        if here:
            check_hardware(config["trainer"])
        parts = {key: config[key] for key in ("model", "objective", "optimizer", "schedule", "callbacks")}
        of_data, validates_nothing = self.of_data(json.dumps(_without_seeds(config["datamodule"])))
        for complaint in (self.of_module(json.dumps(_without_seeds(parts))), of_data):
            if complaint is not None:
                raise complaint.with_traceback(None)
        if validates_nothing:
            refuse_watchers(config["callbacks"], sought)
