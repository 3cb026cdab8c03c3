"""What Lightning and torch say of a user's values amid a run, as one line with keys and a way out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from vitlab.data.image_data import ImageData

ONE_VALUE = "Expected more than 1 value per channel when training"
IN_A_WORKER = "Caught ValueError in DataLoader worker"
NO_METRIC = "Early stopping conditioned on metric"


@contextmanager
def complaints_in_a_line(config: Mapping[str, Any]) -> Iterator[None]:
    """Raises ValueError for errors of the config alone that show only while Lightning's loops run."""
    try:
        yield
    except MisconfigurationException as error:
        text = " ".join(str(error).partition("HINT")[0].split())
        way = f" monitor={config['objective']['monitor']} would work" if "monitored key" in text else ""
        raise ValueError(f"{text}{way}") from error
    except RuntimeError as error:
        if not str(error).startswith(NO_METRIC):
            raise
        name = str(error).split("`")[1]
        raise ValueError(
            f"callbacks: early stopping watches {name}, which nothing has logged by the end of an epoch; "
            f"monitor={config['objective']['monitor']} would work, with trainer.limit_val_batches above 0"
        ) from error
    except ValueError as error:
        if str(error).startswith(IN_A_WORKER):
            raise ValueError(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from error
        if not str(error).startswith(ONE_VALUE):
            raise
        size = config["data"]["batch_size"]
        raise ValueError(
            f"data.batch_size={size}: in a batch of one, batch normalisation over a single pixel has no"
            " spread to divide by; data.batch_size=2, a smaller patch_size or patch_embed=linear would work"
        ) from error


def check_limits(trainer: pl.Trainer, data: ImageData) -> None:
    """Raises ValueError where `trainer.limit_val_batches` or `limit_test_batches` is a share of less than one
    batch. Of the test Lightning would say so only once the training is done."""
    for name in ("val", "test"):
        limit, images = getattr(trainer, f"limit_{name}_batches"), len(data.splits[name])
        batches = -(-(images // trainer.world_size) // data.batch_size)
        if images and isinstance(limit, float) and 0 < limit < 1 and int(batches * limit) == 0:
            raise ValueError(
                f"trainer.limit_{name}_batches={limit} is not one of the {batches} batch(es) that there are;"
                " 1 would take one"
            )


@contextmanager
def told_of(checkpoint: tuple[Path, dict[str, Any]] | None, trainer: pl.Trainer) -> Iterator[None]:
    """Raises ValueError naming the checkpoint where Lightning fails on its content before the first step."""
    try:
        yield
    except Exception as error:
        is_ours = isinstance(error, ValueError | OSError) or hasattr(error, "exit_status")
        # no memory on a device, for one
        is_ours |= isinstance(error, RuntimeError) and "state_dict" not in str(error)
        if checkpoint is None or is_ours or trainer.global_step not in (0, checkpoint[1]["resume"]["step"]):
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise ValueError(
            f"{checkpoint[0]} is not one that the run can go on from ({what}); another copy would work"
        ) from error
