"""`vitlab test`: rebuilds model and data from a checkpoint alone and measures it on the test split."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from vitlab.config.arguments import as_list
from vitlab.config.compose import run_in_folder

log = logging.getLogger(__name__)

KINDS: dict[str, Any] = {
    "checkpoint": str | list[str],
    "weights_average": bool,
    "tta": str | None,
    "against": str | None,
    "unlike": str | None,
    "corruptions": str | list[str] | None,
    "shifts": bool,
    "metrics": str | list[str],
    "intervals": float | None,
    "precision": str | None,
    "data.root": str | None,
    "data.max_megapixels": int | None,
    "data.batch_size": int | None,
    "data.split": Literal["test", "all"],
    "data.unknown_classes": Literal["error", "skip"],
    "data.file": str | None,
    "data.path_column": str,
    "data.label_column": str | list[str] | None,
    "data.label_separator": str | None,
}
"""Types of the config's own values."""


def _data(
    card: Any,
    split: str,
    unknown_classes: str,
    file: str | None,
    path_column: str,
    label_column: Any,
    label_separator: str | None,
    **given: Any,
) -> Any:
    from vitlab.runs.load import data_of, whole_data_of

    if split == "all":
        skips = unknown_classes == "skip"
        columns = {"path_column": path_column, "label_column": label_column}
        columns["label_separator"] = label_separator
        return whole_data_of(card, skip_unknown=skips, file=file, **columns, **given)
    if file is not None or unknown_classes != "error":
        raise ValueError("data.file and data.unknown_classes belong to data.split=all, which would work")
    return data_of(card, "test", **given)


def _ready(card: Any, config: dict[str, Any]) -> Any:
    """Returns a checkpoint's data, read."""
    from vitlab.runs.load import check_classes

    data = _data(card, **config["data"])
    data.prepare_data()
    data.setup()
    check_classes(data, card)
    return data


def measure(config: dict[str, Any], folder: Path) -> None:
    """Builds what the checkpoint describes, runs the test loop, and says how sure its numbers are."""
    from vitlab.callbacks.collected import Collected
    from vitlab.runs.load import check_classes
    from vitlab.runs.record import Run, recorded
    from vitlab.runs.several import load_several
    from vitlab.runs.sizes import described_by, trained_config
    from vitlab.training import judging, robustness, unlike
    from vitlab.training.complaints import complaints_in_a_line
    from vitlab.training.hardware import check_hardware
    from vitlab.training.learning import optimizer_and_schedule
    from vitlab.training.module import TrainingModule
    from vitlab.training.tell_loggers import begin_loggers, log_result, told_how_it_ends
    from vitlab.training.trainer import at_full_speed, build_trainer, num_seen, quiet_lightning, test_result

    quiet_lightning(config["trainer"])
    check_hardware(config["trainer"])
    chosen = [config["metrics"]] if isinstance(config["metrics"], str) else config["metrics"]
    asked = config | {"metrics": [name for each in chosen for name in each.split(",") if name]}
    judging.check_asked(asked)
    level = config["intervals"] or 0.95
    loaded = load_several(config["checkpoint"], config["tta"], config["weights_average"], asked["metrics"])
    path, card, objective = loaded.path, loaded.card, loaded.objective
    trained = trained_config(card, path)
    config["trainer"]["precision"] = config["precision"] or trained["trainer"].get("precision", "32-true")
    others = unlike.pictures(config["unlike"], loaded) if config["unlike"] else []
    corruptions = robustness.check_asked(config, loaded)
    rival = judging.load_rival(asked, card)
    data = _data(card, **config["data"])
    with recorded(Run.start(folder, {"seed": trained["seed"]} | config)) as run:
        data.prepare_data()
        data.setup()
        check_classes(data, card)
        loaded.check_unseen(data)
        run.update(data=data.facts(), **loaded.facts())
        for line in loaded.said:
            log.info("%s", line)
        rivals_data: Any = None
        if rival:
            rivals_data = _ready(rival.card, config)
            judging.check_same_images(data, rivals_data, config)
        with described_by(path):
            module = TrainingModule(
                loaded.model, objective, **optimizer_and_schedule(trained), seed=trained["seed"]
            )
        trainer, collected = build_trainer(config), Collected()
        trainer.callbacks.append(collected)  # type: ignore[attr-defined]  # Lightning's own list
        judging.check_one_device(trainer, config)
        begin_loggers(trainer, run, objective, trains=False)
        with told_how_it_ends(trainer, run):
            with at_full_speed(trainer, loaded.model), complaints_in_a_line(trained):
                trainer.test(module, datamodule=data, verbose=False)
            values = {name: float(value) for name, value in trainer.callback_metrics.items()}
            metrics, undefined = judging.defined(values)
            run.update(metrics=metrics, undefined=undefined, objective=objective.facts())
            tested = num_seen(trainer, data, "test")
            log_result(trainer, folder, metrics, None, tested, objective.shares)
            log.info("%s", test_result(values, tested, objective.facts()))
            told = judging.Told(trainer, loaded, data, folder, run, trained["seed"])
            if collected.answers is not None:
                told.classes(collected.answers)
                told.intervals(collected.answers, values, config["intervals"])
                told.answers(collected.answers)
                if rival:
                    told.against(collected.answers, rival, rivals_data, level)
                if corruptions:
                    robustness.tell_corruptions(told, collected.answers, corruptions)
                if config["shifts"]:
                    robustness.tell_shifts(told, collected.answers)
                if config["unlike"]:
                    unlike.tell(told, collected.answers, others, level)
    log.info("run folder: %s", folder)


def main(arguments: Sequence[str]) -> None:
    run_in_folder(measure, "test", KINDS, as_list("corruptions", as_list("metrics", arguments)))
