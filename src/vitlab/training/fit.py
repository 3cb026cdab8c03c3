"""The body of `vitlab train`: from a checked config to a finished run folder."""

import logging
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from vitlab.checkpoint.card import Card
from vitlab.checkpoint.fingerprint import fingerprint
from vitlab.checkpoint.reading import load_model_weights, read_checkpoint
from vitlab.config.combinations import never_validates
from vitlab.config.from_record import config_from_record
from vitlab.construct import build
from vitlab.data.copies import describe_seen
from vitlab.data.image_data import ImageData
from vitlab.files.sealed import writing
from vitlab.runs.agreement import check_config, lost_logs
from vitlab.runs.history import history_hash, read_history
from vitlab.runs.load import check_sizes
from vitlab.runs.log_files import cut_logs
from vitlab.runs.record import Run, recorded
from vitlab.runs.surroundings import numerics
from vitlab.training.assemble import images, training_module
from vitlab.training.checkpoints import newest_checkpoint
from vitlab.training.complaints import check_limits, complaints_in_a_line, told_of
from vitlab.training.fsdp import whole_weights
from vitlab.training.hardware import check_hardware
from vitlab.training.last_words import told_how_to_go_on, what_next
from vitlab.training.module import TrainingModule
from vitlab.training.stop_signals import requeued
from vitlab.training.tell_loggers import end_loggers, log_config, log_result, open_dashboard
from vitlab.training.trainer import at_full_speed, build_trainer, num_seen, quiet_lightning, test_result
from vitlab.weights.facts import Pretrained
from vitlab.weights.loading import load_pretrained
from vitlab.weights.sources import read_weights

log = logging.getLogger(__name__)


def start_from(weights: Pretrained, model: nn.Module, data: ImageData) -> dict[str, str]:
    """Loads pretrained weights, logs what became of each tensor, and returns their hash for the record."""
    log.info("%s", load_pretrained(model, weights, data.class_names))
    content = fingerprint(weights.state)
    weights.state.clear()  # a run need not hold them twice
    return {"pretrained": content}


def take_up(
    run: Run,
    config: dict[str, Any],
    checkpoint: tuple[Path, dict[str, Any]] | None,
    model: nn.Module,
    lost: Sequence[str],
) -> None:
    """Takes record, log files and model back to a checkpoint, or to the start; `lost` says what is missing in
    the log files."""
    path, content = checkpoint or (None, {"resume": {"step": 0, "logs": {}}})
    state = content["resume"]
    for line in lost:
        log.warning("%s: %s; what it told of the run is lost", run.folder, line)
    run.resume(state["step"], config, lost)
    if rank_zero_only.rank == 0:
        cut_logs(run.folder, state["logs"])
    if path:
        load_model_weights(model, content, path)  # a probe's features are those of these weights
    log.info(
        "going on with %s from step %d (%s)",
        run.folder,
        state["step"],
        path.name if path else "no checkpoint yet",
    )


def check_data(run: Run, facts: dict[str, Any]) -> None:
    """Raises ValueError where a run would go on with other images or labels."""
    if run.record.get("data", facts) != facts:
        raise ValueError(
            f"{run.folder}: images, labels or split are not those that the run began with; with those it"
            " could go on"
        )


def sound(best: Path, config: Mapping[str, Any]) -> Path | None:
    """Returns the checkpoint; None, and says so, where it cannot be read or is another run's: what is trained
    shall not fail by that."""
    try:
        check_config(best, read_checkpoint(best)["card"].config, config)
    except ValueError as error:
        log.warning("%s; the last weights are tested instead", error)
        return None
    return best


def test_best(trainer: pl.Trainer, module: TrainingModule, data: pl.LightningDataModule) -> dict[str, float]:
    """Tests the best checkpoint (without a sound one, the last weights) and returns validation and test
    metrics."""
    fitted = {name: float(value) for name, value in trainer.callback_metrics.items()}
    best, path = trainer.checkpoint_callback, None
    if isinstance(best, ModelCheckpoint) and best.best_model_score is not None:
        fitted[f"best/{best.monitor}"] = float(best.best_model_score)
        for logger in trainer.loggers:  # HParams shows a metric's last value
            logger.log_metrics({f"best/{best.monitor}": fitted[f"best/{best.monitor}"]}, trainer.global_step)
        assert module.card is not None
        path = sound(Path(best.best_model_path), module.card.config)
    elif not any(name.startswith("val/") for name in fitted):
        log.warning(
            "nothing was validated in this run: there is no best checkpoint, and the last weights are tested"
        )
    trainer.test(module, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
    return fitted | {name: float(value) for name, value in trainer.callback_metrics.items()}


def fit_and_test(
    config: dict[str, Any],
    folder: Path,
    weights: Pretrained | None = None,
    asked: Mapping[str, Any] | None = None,
    run: Run | None = None,
    checkpoint: tuple[Path, dict[str, Any]] | None = None,
    before_training: Callable[[Run], None] | None = None,
    lost: Sequence[str] = (),
) -> None:
    """Trains and tests what the config describes, from `weights` if there are some; the folder tells how it
    ended.

    With a `run` it goes on with that one, from the `checkpoint` if it had come to one; `lost` is what
    `lost_logs` found. `asked` are facts for a new record; `before_training` is called with the run once its
    record knows data and machine.
    """
    quiet_lightning(config["trainer"])
    check_hardware(config["trainer"])
    if why := never_validates(config["trainer"]):
        log.warning("%s: there will be no best checkpoint, and the last weights are tested", why)
    module = training_module(config, is_new=checkpoint is None)
    model, objective = module.model, module.objective
    data = images(config)
    is_here = data.source.is_here()
    pretrained: dict[str, str] = {}
    if weights is not None and is_here:
        pretrained = start_from(weights, model, data)
    is_new = run is None
    log.info("run folder: %s", folder)
    with (
        told_how_to_go_on(folder),
        requeued(),
        recorded(run or Run.start(folder, config, **(asked or {}))) as run,
    ):
        if not is_new:
            take_up(run, config, checkpoint, model, lost)
        if rank_zero_only.rank == 0:
            with writing(folder / "config.yaml"):
                (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        data.prepare_data()
        data.setup()
        if weights is not None and not is_here:  # only now are the classes known
            pretrained = start_from(weights, model, data)
        if weights is not None and weights.trained_on is not None:
            for line in describe_seen(data.splits, weights.trained_on):
                log.warning("model.weights=%s: %s", weights.source, line)
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        check_data(run, data.facts())
        run.update(
            data=data.facts(),
            data_hashed=data.source.hashed,
            parameters=num_parameters,
            objective=objective.facts(),
            **pretrained,
        )
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
        log.info("%s with %s parameters; images: %s", type(model).__name__, f"{num_parameters:,}", sizes)
        module.card = Card(config, list(data.class_names), data.preprocessing(), data.kept_split())
        if config["compile"]:
            model.compile()
        served = build(config["features"], data=data, model=model) if config["features"] else data
        trainer = build_trainer(config)
        check_limits(trainer, data)
        with at_full_speed(trainer, model), complaints_in_a_line(config):
            run.update(numerics=numerics())  # as the trainer and the kernels have set them
            if before_training:
                before_training(run)
            if checkpoint is None:
                log_config(trainer, run)
                open_dashboard(trainer, run, model, data.class_names)
            run.took("setup")
            completed = False
            try:
                with told_of(checkpoint, trainer):
                    trainer.fit(
                        module, datamodule=served, ckpt_path=checkpoint and checkpoint[0], weights_only=True
                    )
                hashes = {"final": fingerprint(whole_weights(trainer, model))}
                run.took("fit")
                known = checkpoint[1]["resume"]["metrics"] if checkpoint else {}
                metrics = known | test_best(trainer, module, served)
                hashes |= {
                    "tested": fingerprint(whole_weights(trainer, model)),
                    "history": history_hash(read_history(folder)),
                }
                run.took("test")
                tested = num_seen(trainer, data, "test")
                validated = num_seen(trainer, data, "val")
                run.update(
                    steps=trainer.global_step,
                    metrics=metrics,
                    hashes=hashes,
                    num_tested=tested,
                    num_validated=validated,
                )
                log_result(trainer, metrics, validated, tested, objective.shares)
                completed = True
            finally:
                end_loggers(trainer, completed)
    log.info("%s", test_result(metrics, tested, objective.facts()))
    for line in what_next(folder):
        log.info("%s", line)


def go_on(run: Run, allowed: Container[str] = ()) -> None:
    """Ends a run that was killed as if it had not been, also in another folder than it began in; one that is
    complete stays as it is.

    `allowed` are places outside the folder where it may write too.
    """
    if run.record["status"] == "completed":
        log.info(
            "%s is complete: %s",
            run.folder,
            test_result(run.record["metrics"], run.record.get("num_tested"), run.record["objective"]),
        )
        return
    config = config_from_record(run.record, run.folder / "run.json", run.folder, allowed=allowed)
    checkpoint, lost = newest_checkpoint(run.folder / "checkpoints"), []
    if checkpoint:
        lost = lost_logs(run, config, checkpoint)
        check_sizes(checkpoint[1], checkpoint[0])
    source = config["model"].get("weights")
    weights = read_weights(source) if source and not checkpoint else None
    fit_and_test(config, run.folder, weights, run=run, checkpoint=checkpoint, lost=lost)
