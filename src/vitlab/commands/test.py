"""`vitlab test`: rebuilds model and data from a checkpoint alone and measures it on the test split."""

import logging
from collections.abc import Sequence
from pathlib import Path

from vitlab.commands.compose import run_in_folder

log = logging.getLogger(__name__)


def measure(config: dict, folder: Path) -> None:
    """Builds what the checkpoint describes, loads its weights and runs the test loop."""
    from vitlab.commands.build import build, check_hardware, load_model
    from vitlab.commands.lightning import at_full_speed, build_trainer, end_loggers, quiet_lightning
    from vitlab.data.image_data import ImageData
    from vitlab.runs.record import Run, recorded

    quiet_lightning()
    check_hardware(config["trainer"])
    model, card = load_model(config["checkpoint"])
    trained = card["config"]
    if config["data"]["root"] is not None:
        trained["datamodule"]["source"]["root"] = config["data"]["root"]
    if config["data"]["batch_size"] is not None:
        trained["datamodule"]["batch_size"] = config["data"]["batch_size"]
    config["trainer"]["precision"] = config["precision"] or trained["trainer"]["precision"]
    data: ImageData = build(trained["datamodule"])
    data.check()
    with recorded(Run.start(folder, {"seed": trained["seed"]} | config)) as run:
        data.prepare_data()
        data.setup()
        run.update(data=data.facts())
        parts = {key: build(trained[key]) for key in ("optimizer", "schedule")}
        classifier = build(trained["classifier"], model=model, **parts)
        trainer = build_trainer(config)
        with at_full_speed(trainer, model):
            trainer.test(classifier, datamodule=data, verbose=False)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        run.update(metrics=metrics)
        end_loggers(trainer, completed=True)
    log.info("test accuracy %.2f %%, loss %.4f", 100 * metrics["test/accuracy"], metrics["test/loss"])
    log.info("run folder: %s", folder)


def main(arguments: Sequence[str]) -> None:
    run_in_folder(measure, "test", arguments)
