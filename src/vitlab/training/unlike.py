"""How well a model tells pictures of another kind from its test images: `vitlab test unlike=DIR`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitlab.data.files.find import find_images
from vitlab.data.files.store import cache_root
from vitlab.evaluation.answers import Answers
from vitlab.evaluation.unlike import (
    MOST_IMAGES,
    Neighbours,
    features_of_split,
    has_features,
    pooled,
    told_apart,
)
from vitlab.runs.load import data_of
from vitlab.runs.several import Loaded
from vitlab.training.judging import Told

log = logging.getLogger(__name__)


def pictures(folder: str, loaded: Loaded) -> list[Path]:
    """Returns the pictures of another kind, at most `MOST_IMAGES` evenly spaced ones. Raises ValueError where
    there are none, or no score would mean anything."""
    if loaded.is_averaged:
        raise ValueError(
            f"unlike={folder} judges one model on images as they are; one checkpoint without tta would work"
        )
    if not has_features(loaded.model) and loaded.objective.energy(torch.zeros(1, 1)) is None:
        raise ValueError(
            f"unlike={folder}: {type(loaded.objective).__name__} has no energy of its outputs, and a"
            f" {type(loaded.model).__name__} no pooled features; nothing tells other pictures apart"
        )
    files = find_images(Path(folder))
    every = -(-len(files) // MOST_IMAGES)
    return list(files[::every])


def _looked_at(told: Told, files: Sequence[Path], with_features: bool) -> tuple[Tensor, Tensor]:
    """Returns energies and features of picture files; those that cannot be read are named and left out."""
    device, facts = told.trainer.strategy.root_device, told.loaded.card.preprocessing
    model: Any = told.loaded.model.to(device).eval()
    energies, features = [torch.empty(0)], [torch.empty(0)]
    for start in range(0, len(files), 64):
        pixels = []
        for file in files[start : start + 64]:
            try:
                pixels.append(facts.read(file))
            except ValueError as error:
                log.warning("%s", error)
        if not pixels:
            continue
        images = facts.view(torch.stack(pixels).to(device))
        objective = told.loaded.objective
        of_batch = objective.energy(objective.outputs(model, images))
        energies.append(torch.zeros(len(images)) if of_batch is None else of_batch.cpu())
        if with_features:
            features.append(pooled(model, images))
    return torch.cat(energies), torch.cat(features[1:] or features)


@torch.inference_mode()
def tell(told: Told, answers: Answers, files: Sequence[Path], level: float) -> None:
    """Says with what AUROC energy and distance tell other pictures from the test images."""
    model, device = told.loaded.model, told.trainer.strategy.root_device
    near = has_features(model)
    energies, features = _looked_at(told, files, near)
    if not len(energies):
        raise ValueError("unlike: not one of these pictures can be read; another folder would work")
    scores, of_test = {}, told.loaded.objective.energy(answers.outputs)
    if of_test is None:
        log.info("unlike: %s has no energy of its outputs", type(told.loaded.objective).__name__)
    else:
        scores["energy"] = of_test, energies
    if near:
        data = data_of(told.loaded.card, "train", None) if "train" not in told.data.splits else told.data
        data.prepare_data()
        data.setup()
        root = cache_root(None)
        neighbours = Neighbours(features_of_split(model, data, "train", root, device))
        tested = features_of_split(model, told.data, "test", root, device)
        scores["distance"] = (neighbours.distance(tested), neighbours.distance(features))
    else:
        log.warning("unlike: a %s has no pooled features, so no distance", type(model).__name__)
    found: dict[str, Any] = {"pictures": len(energies), "test_images": len(answers.labels)}
    for name, (known, others) in scores.items():
        value, likely = told_apart(known, others, level, told.seed)
        found[name] = {"auroc": value, "interval": likely and likely._asdict()}
        bounds = f" ({level:.0%}: {likely.low:.4f} to {likely.high:.4f})" if likely else ""
        told_them = f"{len(others):,} other pictures from {len(known):,} test images"
        log.info("unlike: %s tells %s with AUROC %.4f%s", name, told_them, value, bounds)
    told.run.update(unlike=found)
