"""`vitlab predict`: a table of the most probable classes for a photograph or a folder of them, and predictions.csv."""

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vitlab.commands.compose import run_with_hydra

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    run_with_hydra(predict, "predict", arguments)


def predict(config: DictConfig) -> None:
    """Classifies `images` inside Hydra's run folder. Raises ValueError at the end where a file was no image."""
    from vitlab.commands.check import resolve
    from vitlab.runs import discard_unstarted

    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        classify_files(resolve(config), folder)
    finally:
        discard_unstarted(folder)


def classify_files(config: dict[str, Any], folder: Path) -> None:
    """Writes a line a picture to the terminal, and all of them to predictions.csv."""
    from vitlab.checkpoint import load_model_weights, read_checkpoint
    from vitlab.commands.build import build_model
    from vitlab.data.files.decode import find_images
    from vitlab.predictor import Predictor

    checkpoint = read_checkpoint(config["checkpoint"])
    card = checkpoint["vitlab"]
    files = find_images(Path(config["images"]))
    model = build_model(card["config"])
    load_model_weights(model, checkpoint, config["checkpoint"])
    predictor = Predictor(model, card["class_names"], card["preprocessing"], config["device"])
    top_k = min(config["top_k"], len(card["class_names"]))
    if top_k < 1 or config["batch_size"] < 1:
        raise ValueError(f"top_k={config['top_k']} and batch_size={config['batch_size']} must each be at least 1")

    unreadable: list[str] = []
    width = min(max(len(file.name) for file in files), 40)
    table = folder / "predictions.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *(f"{column}_{rank}" for rank in range(1, top_k + 1) for column in ("class", "probability"))])
        for path, answer in _answers(predictor, files, config["batch_size"], top_k):
            if isinstance(answer, str):
                unreadable.append(answer)
                continue
            log.info("%-*s  %s", width, path.name[:width], "  ".join(f"{name} {probability:6.1%}" for name, probability in answer))
            writer.writerow([path, *(value for name, probability in answer for value in (name, f"{probability:.6f}"))])
    log.info("%d of %d pictures: %s", len(files) - len(unreadable), len(files), table)
    for line in unreadable[:-1]:
        log.error("vitlab: %s", line)
    if unreadable:
        raise ValueError(unreadable[-1])


def _answers(predictor: Any, files: list[Path], batch_size: int, top_k: int) -> Iterator[tuple[Path, Any]]:
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        yield from zip(batch, predictor.classify(batch, top_k), strict=True)
