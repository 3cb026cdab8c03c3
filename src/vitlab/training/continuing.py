"""A new run that starts from another's last state: weights, the optimizer's memory, their average."""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from torch import nn

from vitlab.checkpoint.reading import load_model_weights, read_checkpoint
from vitlab.config.continuing import KEY
from vitlab.data.copies import describe_seen
from vitlab.data.image_data import ImageData
from vitlab.data.known_split import known_split
from vitlab.files.atomic import replaced, writing
from vitlab.runs.load import check_classes
from vitlab.runs.record import moved
from vitlab.runs.status import read_record, status_of
from vitlab.runs.surroundings import differences
from vitlab.training.checkpoints import newest_checkpoint

log = logging.getLogger(__name__)

KEPT = "parent.ckpt"
"""A run's own copy of the state that it started from: it can be resumed and reproduced without the other."""

LAYOUT = ("_target_", "layer_decay", "frozen")
"""What decides which parameter has which place in an optimizer's state."""


class Parent(NamedTuple):
    """The run that another one starts from, with its last checkpoint."""

    folder: Path
    path: Path
    checkpoint: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        return self.checkpoint["card"].config

    def facts(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what a record keeps of its parent: folder, step, and each setting that has changed."""
        theirs = moved(self.config, str(self.config.get("run_dir")), str(config["run_dir"]))
        # a datamodule repeats what other nodes say
        own, theirs = (
            {key: value for key, value in each.items() if key not in (KEY, "datamodule", "resume")}
            for each in (config, theirs)
        )
        changes = differences(theirs, own)
        return {"folder": str(self.folder), "step": self.checkpoint["resume"]["step"], "changes": changes}


def parent_in(folder: Path) -> Parent:
    """Returns the run in a folder as one to start from. Raises ValueError where there is none that ended."""
    if status_of(folder) == "running":
        raise ValueError(f"{KEY}={folder} is still running; wait for its end")
    newest = newest_checkpoint(folder / "checkpoints")
    if newest is None:
        raise ValueError(f"{KEY}={folder} has no checkpoint yet; resume={folder} could bring it to one")
    return Parent(folder, *newest)


def parent_kept_in(folder: Path, record: Mapping[str, Any]) -> Parent | None:
    """Returns what the run in a folder started from, by its own copy; None where it started from nothing.
    Raises ValueError where the copy is gone or damaged."""
    told = record.get("parent")
    if told is None:
        return None
    path = folder / "checkpoints" / KEPT
    if not path.is_file():
        raise ValueError(f"{path} is gone, from which the run started; a copy of it would work")
    return Parent(Path(told["folder"]), path, read_checkpoint(path))


def keep(parent: Parent, folder: Path) -> None:
    """Keeps the parent's checkpoint in a run's own folder: by a hard link, or else a copy."""
    copy = folder / "checkpoints" / KEPT
    if copy == parent.path:
        return
    with writing(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.unlink(missing_ok=True)
        try:
            os.link(parent.path, copy)
        except OSError:
            with replaced(copy) as part:
                shutil.copyfile(parent.path, part)


def _memory(saved: Any, own: Any) -> Any:
    """Returns an optimizer's state with another's memory. Raises ValueError for other parameters."""
    if "param_groups" not in own:
        return {name: _memory(saved[name], part) for name, part in own.items()}
    sizes = [[len(group["params"]) for group in each["param_groups"]] for each in (saved, own)]
    if sizes[0] != sizes[1]:
        raise ValueError("it has other groups of parameters")
    return {"state": saved["state"], "param_groups": own["param_groups"]}


class FromParent(pl.Callback):
    """Gives the optimizer and the average the state of the parent run, before the first step."""

    def __init__(self, parent: Parent, config: Mapping[str, Any]):
        self.folder, self.checkpoint = parent.folder, parent.checkpoint
        nodes = [each["optimizer"] for each in (parent.config, config)]
        self.layouts = [{key: node.get(key) for key in LAYOUT} for node in nodes]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take_up_optimizer(trainer)
        self._take_up_average(trainer, pl_module)
        self.checkpoint.clear()  # a run need not hold it twice

    def _take_up_optimizer(self, trainer: pl.Trainer) -> None:
        optimizer, saved = trainer.optimizers[0], self.checkpoint["optimizer_states"][0]
        try:
            if self.layouts[0] != self.layouts[1]:
                raise ValueError(" and ".join(differences(self.layouts[0], self.layouts[1], "optimizer")))
            optimizer.load_state_dict(_memory(saved, optimizer.state_dict()))
        except (ValueError, LookupError, TypeError) as error:
            log.warning("the optimizer starts without the memory of the one in %s: %s", self.folder, error)

    def _take_up_average(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if "averaging_state" not in self.checkpoint:
            return
        takers = [each for each in getattr(trainer, "callbacks", []) if hasattr(each, "take_up")]
        for each in takers:
            each.take_up(trainer, pl_module, self.checkpoint)
        if not takers:
            log.warning("the average of the weights in %s is left behind: no callbacks.ema", self.folder)


def refuse_other_classes(parent: Parent, data: ImageData) -> None:
    """Raises ValueError where the data's classes are not those of the parent's model."""
    try:
        check_classes(data, parent.checkpoint["card"])
    except ValueError as error:
        raise ValueError(f"{KEY}={parent.folder}: {error}") from None


def tell(parent: Parent, facts: Mapping[str, Any], data: ImageData) -> None:
    """Says from where the run starts, in what it differs, and whether it has the parent's images."""
    changes = "; ".join(facts["changes"]) or "no changes"
    log.info("from %s, step %d; %s", parent.folder, facts["step"], changes)
    refuse_other_classes(parent, data)  # before now they may not have been here
    known = (read_record(parent.folder) or {}).get("data")
    if known not in (None, data.facts()):
        what = "it may have trained on what is tested here"
        log.warning("the images or their split are not those of %s: %s", parent.folder, what)
    trained_on = known_split(parent.checkpoint["card"].data).files.get("train")
    if trained_on is not None:
        for line in describe_seen(data.splits, trained_on):
            log.warning("%s=%s: %s", KEY, parent.folder, line)


def start_from_parent(parent: Parent, model: nn.Module) -> None:
    """Loads the parent's last weights, no average. Raises ValueError where they are of another model."""
    weights = parent.checkpoint.get("current_model_state", parent.checkpoint["state_dict"])
    theirs = {name: list(value.shape) for name, value in weights.items() if name.startswith("model.")}
    own = {f"model.{name}": list(value.shape) for name, value in model.state_dict().items()}
    for name in {**own, **theirs}:
        if own.get(name) != theirs.get(name):
            before, now = (each.get(name, "absent") for each in (theirs, own))
            raise ValueError(
                f"{KEY}={parent.folder}: its model is another one: {name.removeprefix('model.')} is {before}"
                f" there and {now} here; model.weights={parent.folder} would load what fits"
            )
    load_model_weights(model, {"state_dict": weights}, parent.path)
