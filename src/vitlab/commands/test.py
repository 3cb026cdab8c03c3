"""`vitlab test`: rebuilds model and data from a checkpoint alone and measures it on the test split."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from vitlab.config.compose import run_in_folder

log = logging.getLogger(__name__)

KINDS: dict[str, Any] = {
    "checkpoint": str,
    "precision": str | None,
    "data.root": str | None,
    "data.max_megapixels": int | None,
    "data.batch_size": int | None,
    "data.split": Literal["test", "all"],
    "data.unknown_classes": Literal["error", "skip"],
    "data.file": str | None,
    "data.path_column": str,
    "data.label_column": str,
}
"""Types of the config's own values."""


def _data(
    card: Any,
    split: str,
    unknown_classes: str,
    file: str | None,
    path_column: str,
    label_column: str,
    **given: Any,
) -> Any:
    from vitlab.runs.load import data_of, whole_data_of

    if split == "all":
        skips = unknown_classes == "skip"
        return whole_data_of(
            card, skip_unknown=skips, file=file, path_column=path_column, label_column=label_column, **given
        )
    if file is not None or unknown_classes != "error":
        raise ValueError("data.file and data.unknown_classes belong to data.split=all, which would work")
    return data_of(card, "test", **given)


def measure(config: dict[str, Any], folder: Path) -> None:
    """Builds what the checkpoint describes, loads its weights and runs the test loop."""
    from vitlab.runs.load import check_classes, load_model, objective_of
    from vitlab.runs.record import Run, recorded
    from vitlab.runs.sizes import described_by, trained_config
    from vitlab.training.complaints import complaints_in_a_line
    from vitlab.training.hardware import check_hardware
    from vitlab.training.learning import optimizer_and_schedule
    from vitlab.training.module import TrainingModule
    from vitlab.training.tell_loggers import begin_loggers, log_result, told_how_it_ends
    from vitlab.training.trainer import at_full_speed, build_trainer, num_seen, quiet_lightning, test_result

    quiet_lightning(config["trainer"])
    check_hardware(config["trainer"])
    model, card = load_model(config["checkpoint"])
    trained = trained_config(card, config["checkpoint"])
    config["trainer"]["precision"] = config["precision"] or trained["trainer"].get("precision", "32-true")
    data = _data(card, **config["data"])
    with recorded(Run.start(folder, {"seed": trained["seed"]} | config)) as run:
        data.prepare_data()
        data.setup()
        check_classes(data, card)
        run.update(data=data.facts())
        objective = objective_of(card, config["checkpoint"])
        with described_by(config["checkpoint"]):
            module = TrainingModule(model, objective, **optimizer_and_schedule(trained), seed=trained["seed"])
        trainer = build_trainer(config)
        begin_loggers(trainer, run, objective, trains=False)
        with told_how_it_ends(trainer):
            with at_full_speed(trainer, model), complaints_in_a_line(trained):
                trainer.test(module, datamodule=data, verbose=False)
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
            run.update(metrics=metrics, objective=objective.facts())
            tested = num_seen(trainer, data, "test")
            log_result(trainer, folder, metrics, None, tested, objective.shares)
    log.info("%s", test_result(metrics, tested, objective.facts()))
    log.info("run folder: %s", folder)


def main(arguments: Sequence[str]) -> None:
    run_in_folder(measure, "test", KINDS, arguments)
