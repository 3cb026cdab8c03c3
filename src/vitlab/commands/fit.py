"""The body of `vitlab train`: from a checked config to a finished run folder."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from vitlab.checkpoint import FORMAT
from vitlab.classifier import ImageClassifier
from vitlab.commands.build import build, build_model, check_hardware
from vitlab.commands.lightning import build_trainer, end_loggers, log_config, quiet_lightning
from vitlab.data.image_data import ImageData
from vitlab.runs import Run, recorded
from vitlab.weights.facts import Pretrained
from vitlab.weights.loading import load_pretrained

log = logging.getLogger(__name__)


def start_from(weights: Pretrained, model: nn.Module, data: ImageData) -> None:
    """Loads pretrained weights and logs what became of each tensor."""
    log.info("%s", load_pretrained(model, weights, data.class_names))
    weights.state.clear()  # a run need not hold them twice


def fit_and_test(config: dict[str, Any], folder: Path, weights: Pretrained | None = None) -> None:
    """Trains and tests what the config describes, from `weights` if there are some; the folder tells how it ended."""
    quiet_lightning()
    check_hardware(config["trainer"])
    model = build_model(config)
    parts = {key: build(config[key]) for key in ("optimizer", "schedule")}
    classifier: ImageClassifier = build(config["classifier"], model=model, **parts)
    # their complaints now, not once the data is loaded and the number of steps is known
    parts["schedule"](parts["optimizer"](model.named_parameters()), total_steps=1_000_000, steps_per_epoch=1)
    data: ImageData = build(config["datamodule"])
    data.check()
    is_here = data.source.is_here()
    if weights is not None and is_here:
        start_from(weights, model, data)
    with recorded(Run.start(folder, config)) as run:
        if rank_zero_only.rank == 0:
            (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        data.prepare_data()
        data.setup()
        if weights is not None and not is_here:  # only now are the classes known
            start_from(weights, model, data)
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        run.update(data=data.facts(), parameters=num_parameters)
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
        log.info("%s with %s parameters; images: %s", type(model).__name__, f"{num_parameters:,}", sizes)
        facts = {"class_names": list(data.class_names), "preprocessing": data.preprocessing()}
        classifier.card = {"format": FORMAT, "config": config} | facts
        if config["compile"]:
            model.compile()
        served = build(config["features"], data=data, model=model) if config["features"] else data
        trainer = build_trainer(config)
        log_config(trainer, config)
        completed = False
        try:
            trainer.fit(classifier, datamodule=served)
            run.update(steps=trainer.global_step, metrics=test_best(trainer, classifier, served))
            completed = True
        finally:
            end_loggers(trainer, completed)
    metrics = run.record["metrics"]
    log.info("test accuracy %.2f %%, loss %.4f", 100 * metrics["test/accuracy"], metrics["test/loss"])
    log.info("run folder: %s", folder)
    log.info("to look at it: vitlab dashboard %s", folder.parent)


def test_best(trainer: pl.Trainer, classifier: ImageClassifier, data: pl.LightningDataModule) -> dict[str, float]:
    """Tests the best checkpoint (without one, the last weights) and returns validation and test metrics."""
    fitted = {name: float(value) for name, value in trainer.callback_metrics.items()}
    best = trainer.checkpoint_callback
    if isinstance(best, ModelCheckpoint) and best.best_model_score is not None:
        fitted[f"best/{best.monitor}"] = float(best.best_model_score)
        trainer.test(classifier, datamodule=data, ckpt_path=best.best_model_path, weights_only=True, verbose=False)
    else:
        trainer.test(classifier, datamodule=data, verbose=False)
    return fitted | {name: float(value) for name, value in trainer.callback_metrics.items()}
