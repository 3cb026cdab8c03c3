"""Loads from a checkpoint alone: its model, its objective, and the data that it was trained on."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitlab.checkpoint.card import Card
from vitlab.checkpoint.reading import load_model_weights, read_checkpoint
from vitlab.construct import build, build_model, resolve_target
from vitlab.data.image_data import ImageData
from vitlab.data.known_split import known_split
from vitlab.data.sources.layout import alike, class_name, listed
from vitlab.data.sources.picture_files import PictureFiles
from vitlab.data.sources.shards import has_shards
from vitlab.data.targets import IN_WORDS
from vitlab.data.whole import Whole
from vitlab.objectives.objective import Objective
from vitlab.runs.sizes import check_model, check_numbers, described_by, is_ours, no_larger_than


def check_sizes(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Raises ValueError where a card's config describes a larger model or other data than its tensors."""
    card, weights = checkpoint["card"], checkpoint["state_dict"]
    with described_by(path):
        if strange := next(
            (name for name, value in weights.items() if not isinstance(value, torch.Tensor)), None
        ):
            raise ValueError(f"{strange} is no tensor")
        config = card.config
        for key in ("model", "datamodule"):
            if is_ours(config.get(key)):
                check_numbers(config.get(key), f"config.{key}")
        if is_ours(config["model"]):
            with torch.device("meta"), no_larger_than(weights):
                model = build_model(config)
            check_model(model, card)


def load_model(path: str | Path) -> tuple[nn.Module, Card]:
    """Returns a checkpoint's model on the CPU, ready for evaluation, and its card, or raises ValueError."""
    checkpoint = read_checkpoint(path)
    card: Card = checkpoint["card"]
    check_sizes(checkpoint, path)
    with described_by(path):
        model = build_model(card.config).eval()
        build(card.config["objective"]).add_parts(model)
    load_model_weights(model, checkpoint, path)
    return model, card


def _with_metrics(node: Mapping[str, Any], more: Sequence[str]) -> dict[str, Any]:
    """Returns an objective's config with further metrics. Raises ValueError where it does not measure one."""
    target = node["_target_"]
    choice = inspect.signature(resolve_target(target, "objective")).parameters.get("metrics")
    if choice is None:
        raise ValueError(
            f"metrics={list(more)}: the objective {target.rpartition('.')[2]} has no choice of them"
        )
    chosen = [*node.get("metrics", choice.default), *more]
    changed = {**node, "metrics": list(dict.fromkeys(chosen))}
    measured = build(changed).metrics()
    if missing := [name for name in more if name not in measured]:
        raise ValueError(f"metrics: {', '.join(missing)} is not measured of {node['num_outputs']} classes")
    return changed


def objective_of(card: Card, path: str | Path, metrics: Sequence[str] = ()) -> Objective:
    """Returns the objective of a checkpoint's config, with what it has learned beside the weights, and with
    `metrics` beside those of the run."""
    node = card.config["objective"]
    if metrics:
        node = _with_metrics(node, metrics)
    with described_by(path):
        objective: Objective = build(node)
        objective.take_up(card.learned)
    return objective


def check_classes(data: ImageData, card: Card) -> None:
    """Raises ValueError where the data's classes differ from those of the checkpoint's model."""
    here, known = list(data.class_names), [class_name(name) for name in card.class_names]
    if here != known:
        twins = [" and ".join(map(repr, group)) for group in alike(dict.fromkeys([*here, *known]))]
        how = f" ({listed(twins)} differ in case, blanks or letter forms only)" if twins else ""
        raise ValueError(f"the data has the classes {listed(here)}; the model knows {listed(known)}{how}")


def _keep_order(data: ImageData, card: Card) -> None:
    """Numbers the classes of a folder as the checkpoint's model does, where both have the same names: they
    once were sorted otherwise, 10 before 2."""
    known = [class_name(name) for name in card.class_names]
    if isinstance(data.source, PictureFiles) and set(data.source.class_names) == set(known):
        data.source.number_as(known)


def data_of(
    card: Card,
    split: str,
    root: str | None,
    batch_size: int | None = None,
    max_megapixels: int | None = None,
) -> ImageData:
    """Returns a checkpoint's data to look at one split of it; from the folder `root`, in batches of
    `batch_size`, where these are given.

    Images are prepared as in training. Where the data has changed since then, `split` holds the images that
    the run had in it. Raises ValueError where the data is missing, or differs from the run's as far as that
    shows without reading an image.
    """
    node, facts = card.config["datamodule"], card.preprocessing
    source = node["source"] | {
        key: value
        for key, value in {"root": root, "max_megapixels": max_megapixels}.items()
        if value is not None
    }
    name = source["_target_"].rpartition(".")[2]
    if root is not None and "root" not in node["source"]:
        raise ValueError(f"data.root={root}: the data of this checkpoint, {name}, lies in no folder")
    if max_megapixels is not None and "on_bad_image" not in source:
        raise ValueError(
            f"data.max_megapixels={max_megapixels}: the data of this checkpoint, {name}, is no folder of"
            " pictures"
        )
    given = {"source": source, "mean": list(facts.mean), "std": list(facts.std)} | (
        {} if batch_size is None else {"batch_size": batch_size}
    )
    try:
        data: ImageData = build(node | given)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"the checkpoint's config.datamodule is not what `vitlab train` writes ({what})"
        ) from error
    data.source.white = facts.white
    data.looked_at = split, known_split(card.data)
    if data.source.is_here():
        _keep_order(data, card)
        check_classes(data, card)
    return data


def _label_columns(card: Card, column: str | list[str] | None, separator: str | None) -> dict[str, Any]:
    """Returns where another table has what the model says; without `column` where the run's own has it.
    Raises ValueError for columns among which one of the model's is missing."""
    node = card.config["datamodule"]
    own, kind = node["source"], node.get("targets", "class")
    if column is None:
        usual: Any = "label" if kind == "class" else list(card.class_names)
        column = usual if (given := own.get("label_column")) is None else given
        separator = separator or own.get("label_separator")
    is_one = isinstance(column, str)
    if is_one and (kind == "numbers" or (kind == "labels" and not separator and column in card.class_names)):
        column = [column]
    columns: list[str] = [] if isinstance(column, str) else list(column or [])
    in_columns = kind != "class" and separator is None and columns
    if in_columns and (missing := [name for name in card.class_names if name not in columns]):
        raise ValueError(
            f"data.label_column=[{','.join(columns)}] lacks {listed(missing)}, which the model tells; a"
            f" {'a number' if kind == 'numbers' else 'whether it is there'}; a column for each would work"
        )
    return {"label_column": column, "label_separator": separator}


def whole_data_of(
    card: Card,
    root: str | None,
    batch_size: int | None = None,
    max_megapixels: int | None = None,
    skip_unknown: bool = False,
    file: str | None = None,
    path_column: str = "path",
    label_column: str | list[str] | None = None,
    label_separator: str | None = None,
) -> ImageData:
    """Returns all images of the folder `root` to test a checkpoint's model on: class folders, in parts or
    not, tar shards, or what the table `file` names.

    Classes, labels and numbers are matched by name; without `label_column` they stand where the run's own
    table has them. Raises ValueError where there are none, or what cannot be read.
    """
    node, facts = card.config["datamodule"], card.preprocessing
    own = node["source"]
    root = root or own.get("root")
    if root is None:
        raise ValueError(
            "data.split=all: the data of this checkpoint lies in no folder; give one: data.root=DIR"
        )
    taken = set(inspect.signature(PictureFiles.__init__).parameters) - {"root", "class_names"}
    source = {
        "image_size": card.config["data"]["eval_size"],
        "in_channels": node["in_channels"],
        **{key: value for key, value in own.items() if key in taken},
        "root": root,
    }
    if max_megapixels is not None:
        source["max_megapixels"] = max_megapixels
    if file is not None:
        source |= {"file": file, "path_column": path_column}
        source |= _label_columns(card, label_column, label_separator)
    kind = (
        "table.Table" if file is not None else "shards.Shards" if has_shards(root) else "folder.ImageFolder"
    )
    source["_target_"] = f"vitlab.data.sources.{kind}"
    said, kinds = node.get("targets", "class"), resolve_target(source["_target_"], "data").kinds
    if said not in kinds:
        raise ValueError(
            f"data.split=all: data.root={root} as {kind.rpartition('.')[2]} has {IN_WORDS[kinds[0]]}, and the"
            f" model says {IN_WORDS[said]}; a table of them, data.file=T.csv, would work"
        )
    names = [class_name(name) for name in card.class_names]
    whole = {"_target_": "vitlab.data.whole.Whole", "source": source, "class_names": names}
    given = {
        "source": whole | {"skip_unknown": skip_unknown},
        "mean": list(facts.mean),
        "std": list(facts.std),
    }
    with described_by("the checkpoint"):
        data: ImageData = build(node | given | ({} if batch_size is None else {"batch_size": batch_size}))
    assert isinstance(data.source, Whole)
    data.source.white = facts.white
    data.source.trained_on = known_split(card.data).files.get("train")
    data.source.is_here()
    return data
