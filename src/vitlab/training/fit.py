"""From a checked config to a finished run folder: the objects are assembled, the data is loaded, and the run
begins or goes on."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import yaml
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only

from vitlab.callbacks.collected import Collected
from vitlab.checkpoint.card import Card
from vitlab.checkpoint.fingerprint import fingerprint
from vitlab.checkpoint.reading import load_model_weights, read_checkpoint
from vitlab.config.combinations import never_validates
from vitlab.construct import build
from vitlab.data.copies import describe_seen
from vitlab.evaluation.kept import keep_answers
from vitlab.files.atomic import writing
from vitlab.loggers.tell import go_back, lost_since
from vitlab.runs.agreement import check_config
from vitlab.runs.history import history_hash, read_history
from vitlab.runs.record import Run, recorded
from vitlab.runs.surroundings import numerics
from vitlab.training.assemble import Assembled, assemble
from vitlab.training.complaints import check_limits, complaints_in_a_line, told_of
from vitlab.training.continuing import (
    FromParent,
    Parent,
    keep,
    refuse_other_classes,
    start_from_parent,
    tell,
)
from vitlab.training.fsdp import whole_weights
from vitlab.training.held_back import refuse_watchers, skip_what_is_empty
from vitlab.training.last_words import told_how_to_go_on, what_next
from vitlab.training.peers import among_peers
from vitlab.training.stop_signals import requeued
from vitlab.training.tell_loggers import begin_loggers, log_about, log_result, told_how_it_ends
from vitlab.training.trainer import at_full_speed, num_seen, quiet_lightning, test_result
from vitlab.training.watched import check_watched
from vitlab.weights.facts import Pretrained
from vitlab.weights.loading import load_pretrained

log = logging.getLogger(__name__)


class GoingOn(NamedTuple):
    """A run that was killed, and its newest checkpoint (None: it had not come to one)."""

    run: Run
    checkpoint: tuple[Path, dict[str, Any]] | None


def start_from(weights: Pretrained, parts: Assembled) -> dict[str, str]:
    """Loads pretrained weights, logs what became of each tensor, and returns their hash for the record."""
    log.info("%s", load_pretrained(parts.model, weights, parts.data.class_names))
    content = fingerprint(weights.state)
    weights.state.clear()  # a run need not hold them twice
    return {"pretrained": content}


def take_up(going_on: GoingOn, config: dict[str, Any], parts: Assembled, lost: Sequence[str]) -> None:
    """Takes record, loggers and model back to the checkpoint, or to the start. `lost` are lines on what the
    loggers no longer have."""
    run = going_on.run
    path, content = going_on.checkpoint or (None, {"resume": {"step": 0, "loggers": {}}})
    state = content["resume"]
    for line in lost:
        log.warning("%s: %s; what it told of the run is lost", run.folder, line)
    run.resume(state["step"], config, lost)
    go_back(parts.trainer.loggers, state["step"], state["loggers"], run.record.get("loggers", {}))
    if path:
        load_model_weights(parts.model, content, path)  # a probe's features are those of these weights
    where = path.name if path else "no checkpoint yet"
    log.info("going on with %s from step %d (%s)", run.folder, state["step"], where)


def check_data(run: Run, facts: dict[str, Any]) -> None:
    """Raises ValueError where a run would go on with other images or labels."""
    if run.record.get("data", facts) != facts:
        raise ValueError(
            f"{run.folder}: images, labels or split are not those that the run began with; with those it"
            " could go on"
        )


def sound(best: Path, config: Mapping[str, Any]) -> Path | None:
    """Returns the checkpoint. Where it cannot be read or is another run's, it returns None with a warning:
    what is trained by now shall not be lost by that."""
    try:
        check_config(best, read_checkpoint(best)["card"].config, config)
    except ValueError as error:
        log.warning("%s; the last weights are tested instead", error)
        return None
    return best


def test_best(parts: Assembled, served: pl.LightningDataModule, folder: Path) -> dict[str, float]:
    """Tests the best checkpoint (without a sound one, the last weights), where there is something to test on,
    and returns validation and test metrics. What it answers is kept in the run's folder."""
    trainer, card = parts.trainer, parts.module.card
    assert card is not None
    fitted = {name: float(value) for name, value in trainer.callback_metrics.items()}
    best, path = trainer.checkpoint_callback, None
    if isinstance(best, ModelCheckpoint) and best.best_model_score is not None:
        fitted[f"best/{best.monitor}"] = float(best.best_model_score)
        for logger in trainer.loggers:  # HParams shows a metric's last value
            logger.log_metrics({f"best/{best.monitor}": fitted[f"best/{best.monitor}"]}, trainer.global_step)
        path = sound(Path(best.best_model_path), card.config)
    elif not any(name.startswith("val/") for name in fitted) and len(parts.data.splits["val"]):
        log.warning(
            "nothing was validated in this run: there is no best checkpoint, and the last weights are tested"
        )
    if not len(parts.data.splits["test"]):
        return fitted
    collected = Collected()
    trainer.callbacks.append(collected)  # type: ignore[attr-defined]  # Lightning's own list
    trainer.test(parts.module, datamodule=served, ckpt_path=path, weights_only=True, verbose=False)
    if collected.answers is not None and rank_zero_only.rank == 0:
        keep_answers(folder, collected.answers, parts.data, parts.objective.learned())
    return fitted | {name: float(value) for name, value in trainer.callback_metrics.items()}


def load_data(
    parts: Assembled, config: dict[str, Any], run: Run, weights: Pretrained | None, pretrained: dict[str, str]
) -> pl.LightningDataModule:
    """Loads the data, writes into record and checkpoints what it is, and returns the data module that the
    trainer gets: images, or the features of a linear probe.

    `weights` are still to be loaded unless `pretrained` says that they are. Raises ValueError where a run
    would go on with other data.
    """
    module, data, trainer = parts
    data.prepare_data()
    data.setup()
    if weights is not None and not pretrained:  # only now are the classes known
        pretrained = start_from(weights, parts)
    if weights is not None and weights.trained_on is not None:
        for line in describe_seen(data.splits, weights.trained_on):
            log.warning("model.weights=%s: %s", weights.source, line)
    if data.splits["train"].weights is not None:
        parts.objective.require_weights("the data's own weights of samples")
    check_data(run, data.facts())
    parts.objective.see_training_labels(data.splits["train"].labels)
    num_parameters = sum(parameter.numel() for parameter in parts.model.parameters())
    run.update(
        data=data.facts(),
        data_hashed=data.source.hashed,
        parameters=num_parameters,
        objective=parts.objective.facts(),
        **pretrained,
    )
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    log.info("%s with %s parameters; images: %s", type(parts.model).__name__, f"{num_parameters:,}", sizes)
    module.card = Card(config, list(data.class_names), data.preprocessing(), data.kept_split())
    skip_what_is_empty(trainer, data, config)
    check_watched(data, parts.objective, config["callbacks"])
    check_limits(trainer, data)
    return build(config["features"], data=data, model=parts.model) if config["features"] else data


def train_and_test(
    parts: Assembled,
    served: pl.LightningDataModule,
    run: Run,
    checkpoint: tuple[Path, dict[str, Any]] | None,
) -> None:
    """Trains from the checkpoint on, tests the best weights, and tells record and loggers what was
    reached."""
    module, data, trainer = parts
    begin_loggers(trainer, run, parts.objective, checkpoint[1]["resume"]["step"] if checkpoint else 0)
    if checkpoint is None:
        log_about(trainer, run, parts.model, data.class_names)
    run.took("setup")
    with told_how_it_ends(trainer):
        with told_of(checkpoint, trainer):
            place = checkpoint and checkpoint[0]
            trainer.fit(module, datamodule=served, ckpt_path=place, weights_only=True)
        hashes = {"final": fingerprint(whole_weights(trainer, parts.model))}
        run.took("fit")
        known = checkpoint[1]["resume"]["metrics"] if checkpoint else {}
        metrics = known | test_best(parts, served, run.folder)
        hashes["tested"] = fingerprint(whole_weights(trainer, parts.model))
        hashes["history"] = history_hash(read_history(run.folder))
        run.took("test")
        num_tested, num_validated = (num_seen(trainer, data, split) for split in ("test", "val"))
        run.update(
            steps=trainer.global_step,
            metrics=metrics,
            hashes=hashes,
            num_tested=num_tested,
            num_validated=num_validated,
        )
        log_result(trainer, run.folder, metrics, num_validated, num_tested, parts.objective.shares)


def fit_and_test(
    config: dict[str, Any],
    folder: Path,
    weights: Pretrained | None = None,
    asked: Mapping[str, Any] | None = None,
    going_on: GoingOn | None = None,
    before_training: Callable[[Run], None] | None = None,
    parent: Parent | None = None,
) -> None:
    """Trains and tests what the config describes, from `weights` where they are given. `folder` becomes the
    run folder, and its record says how the run ended.

    `asked` are facts for a new record; with `going_on` record, logs and weights of that run are taken up.
    `before_training` is called with the run once its record knows data and machine. A new run with a `parent`
    starts from that one's last state.
    """
    quiet_lightning(config["trainer"])
    if why := never_validates(config["trainer"]):
        log.warning("%s: there will be no best checkpoint, and the last weights are tested", why)
    checkpoint = going_on and going_on.checkpoint
    parts = assemble(config, is_new=checkpoint is None)
    lost = lost_since(parts.trainer.loggers, checkpoint[1]["resume"]["loggers"]) if checkpoint else []
    is_here = parts.data.source.is_here()
    if parts.data.holds_back("val") is False:  # before any image is read
        refuse_watchers(config["callbacks"])
    pretrained = start_from(weights, parts) if weights is not None and is_here else {}
    if parent:
        if is_here:
            refuse_other_classes(parent, parts.data)
        start_from_parent(parent, parts.model)
        parts.trainer.callbacks.insert(0, FromParent(parent, config))  # type: ignore[attr-defined]
        asked = {**(asked or {}), "parent": parent.facts(config)}
    log.info("run folder: %s", folder)
    with (
        told_how_to_go_on(folder),
        requeued(),
        recorded(going_on.run if going_on else Run.start(folder, config, **(asked or {}))) as run,
        among_peers(run, parts.trainer),
    ):
        if going_on:
            take_up(going_on, config, parts, lost)
        if rank_zero_only.rank == 0:
            with writing(folder / "config.yaml"):
                (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
            if parent:
                keep(parent, folder)
        served = load_data(parts, config, run, weights, pretrained)
        if parent:
            tell(parent, run.record["parent"], parts.data)
        if config["compile"]:
            parts.model.compile()
        with at_full_speed(parts.trainer, parts.model), complaints_in_a_line(config):
            run.update(numerics=numerics())  # as the trainer and the kernels have set them
            if before_training:
                before_training(run)
            train_and_test(parts, served, run, checkpoint)
    record = run.record
    log.info("%s", test_result(record["metrics"], record["num_tested"], parts.objective.facts()))
    has_test = len(parts.data.splits["test"]) > 0
    for line in what_next(folder, has_test, parts.objective.names_classes):
        log.info("%s", line)
