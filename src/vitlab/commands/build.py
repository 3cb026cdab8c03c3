"""From a checked config to objects."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from vitlab.checkpoint.reading import load_model_weights, read_checkpoint
from vitlab.commands.processes import rank_and_number
from vitlab.commands.sizes import check_model, check_numbers, described_by, is_ours, no_larger_than
from vitlab.commands.targets import FOREIGN, check_keys, find_targets, refuse_interpolations, resolve_target
from vitlab.data.image_data import ImageData
from vitlab.data.known_split import known_split
from vitlab.data.sources.layout import alike, class_name, listed
from vitlab.objectives.objective import Objective
from vitlab.randomness import derive_seed


def build(node: Mapping[str, Any], **arguments: Any) -> Any:
    """Builds what a node describes, after holding all its targets against the allow-list; lists and dicts arrive as such.

    `arguments` that no config can hold are added to the outermost call as they are: Hydra would look for targets in them too.
    """
    refuse_interpolations(node)
    for path, inner in find_targets(node):
        check_keys(inner, path or "config")
        resolve_target(inner["_target_"], path or "config")
    try:
        if not arguments:
            return instantiate(dict(node), _convert_="all")
        return instantiate(dict(node), _partial_=True, _convert_="all")(**arguments)
    except (InstantiationException, MisconfigurationException) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ValueError | MisconfigurationException):
            cause = cause.__cause__
        if isinstance(cause, MisconfigurationException):
            raise ValueError(f"{node['_target_'].rpartition('.')[2]}: {cause}") from None
        if cause is None and node["_target_"] in FOREIGN:
            cause = ValueError(f"{node['_target_'].rpartition('.')[2]}: {error.__cause__ or error}")
        raise (cause or error) from None
    except (TypeError, LookupError, AttributeError) as error:
        if node["_target_"] not in FOREIGN:
            raise
        raise ValueError(f"{node['_target_'].rpartition('.')[2]}: {error}") from error  # of values that only their library understands


def build_model(config: Mapping[str, Any]) -> nn.Module:
    """Builds the model with weights that depend on the seed alone; `model.weights` are loaded elsewhere."""
    torch.manual_seed(derive_seed(config["seed"], "initialisation"))
    return build({key: value for key, value in config["model"].items() if key != "weights"})


def load_model(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Returns a checkpoint's model, ready for evaluation on the CPU, and its card: the config, class names and preprocessing.

    Raises ValueError for a file that is not a whole checkpoint of vitlab's.
    """
    checkpoint = read_checkpoint(path)
    card = checkpoint["vitlab"]
    check_sizes(checkpoint, path)
    with described_by(path):
        model = build_model(card["config"]).eval()
    load_model_weights(model, checkpoint, path)
    return model, card


def objective_of(card: Mapping[str, Any], path: str | Path) -> Objective:
    """Returns the objective of a checkpoint's config."""
    with described_by(path):
        return build(card["config"]["objective"])


def check_sizes(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Raises ValueError where a checkpoint's config describes a larger model, or other data, than its tensors and class names are of."""
    card, weights = checkpoint["vitlab"], checkpoint["state_dict"]
    with described_by(path):
        if strange := next((name for name, value in weights.items() if not isinstance(value, torch.Tensor)), None):
            raise ValueError(f"{strange} is no tensor")
        config = card["config"]
        for key in ("model", "datamodule"):
            if is_ours(config.get(key)):
                check_numbers(config.get(key), f"config.{key}")
        if is_ours(config["model"]):
            with torch.device("meta"), no_larger_than(weights):
                model = build_model(config)
            check_model(model, card)


def check_classes(data: ImageData, card: Mapping[str, Any]) -> None:
    """Raises ValueError where the data's classes are not those that a checkpoint's model knows."""
    here, known = list(data.class_names), [class_name(name) for name in card["class_names"]]
    if here != known:
        twins = [" and ".join(map(repr, group)) for group in alike(dict.fromkeys([*here, *known]))]
        how = f" ({listed(twins)} differ in case, blanks or letter forms only)" if twins else ""
        raise ValueError(f"the data has the classes {listed(here)}; the model knows {listed(known)}{how}")


def data_of(
    card: Mapping[str, Any], split: str, root: str | None, batch_size: int | None = None, max_megapixels: int | None = None
) -> ImageData:
    """Returns a checkpoint's data to look at one split of: from the folder `root`, in batches of `batch_size`, where they are given.

    Images are prepared as in training; of data that has changed since then, `split` is what it was to the run. Raises ValueError where the
    data is missing, or is not what the model was trained on as far as that shows without reading an image.
    """
    node, facts = card["config"]["datamodule"], card["preprocessing"]
    source = node["source"] | {key: value for key, value in {"root": root, "max_megapixels": max_megapixels}.items() if value is not None}
    name = source["_target_"].rpartition(".")[2]
    if root is not None and "root" not in node["source"]:
        raise ValueError(f"data.root={root}: the data of this checkpoint, {name}, lies in no folder")
    if max_megapixels is not None and "on_bad_image" not in source:
        raise ValueError(f"data.max_megapixels={max_megapixels}: the data of this checkpoint, {name}, is no folder of pictures")
    given = {"source": source, "mean": facts["mean"], "std": facts["std"]} | ({} if batch_size is None else {"batch_size": batch_size})
    try:
        data: ImageData = build(node | given)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"the checkpoint's config.datamodule is not what `vitlab train` writes ({what})") from error
    data.source.white = facts.get("white")
    data.looked_at = split, known_split(card["data"])
    if data.source.is_here():
        check_classes(data, card)
    return data


def check_hardware(trainer: Mapping[str, Any]) -> None:
    """Raises ValueError where the config asks for devices that this machine lacks, or for others than processes were started for."""
    accelerator, devices, nodes = trainer["accelerator"], trainer["devices"], trainer.get("num_nodes", 1)
    there = {"gpu": torch.cuda.is_available(), "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    names = {"gpu": "CUDA GPU", "cuda": "CUDA GPU", "mps": "Apple GPU"}
    if not there.get(accelerator, True):
        raise ValueError(
            f"trainer.accelerator={accelerator}: this machine has no {names[accelerator]}; hardware=cpu or hardware=auto would work"
        )
    if devices == 0:
        raise ValueError("trainer.devices=0: a whole number from 1 up would work")
    if accelerator in ("gpu", "cuda") and isinstance(devices, int) and devices > torch.cuda.device_count():
        raise ValueError(f"trainer.devices={devices}: this machine has {torch.cuda.device_count()} GPU(s); trainer.devices=-1 takes all")
    number = rank_and_number()[1]
    here = len(devices) if isinstance(devices, list) else torch.cuda.device_count() if devices == -1 else devices
    if number > 1 and (not isinstance(here, int) or here * nodes != number):  # with one device each would train alone, in the same folder
        raise ValueError(
            f"trainer.devices={devices} x trainer.num_nodes={nodes} is not the {number} processes that were started; make them equal"
        )
    if nodes > 1 and number == 1 and "MASTER_ADDR" not in os.environ:
        raise ValueError(f"trainer.num_nodes={nodes}: nothing started processes on other machines; srun (hardware=slurm) or torchrun would")


def flatten(node: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Returns the leaves by dotted key; lists become text."""
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            leaves |= flatten(value, here)
        else:
            leaves[here] = value if isinstance(value, bool | int | float | str) else str(value)
    return leaves
