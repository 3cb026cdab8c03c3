"""Attention in the dashboard: the same few images from before the first step to the end."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from pytorch_lightning.trainer.states import TrainerFn

from vitlab.data.image_data import ImageData
from vitlab.data.probe_images import choose_probe_images
from vitlab.files.atomic import writing
from vitlab.gallery.chronicle import Chronicle, stats_scalars
from vitlab.gallery.look import METHODS_SHOWN
from vitlab.gallery.tables import cascade
from vitlab.insight.attention.stats import alarms, attention_stats
from vitlab.insight.honesty.randomisation import NUM_IMAGES, randomisation_cascade
from vitlab.insight.views.anatomy import View
from vitlab.insight.views.view_of import view_of
from vitlab.loggers.tell import log_picture
from vitlab.pictures.drawing import gif, photograph, png
from vitlab.quirks import uncompiled

log = logging.getLogger(__name__)

NUM_MIDDLE_FRAMES = 8
"""TensorBoard keeps ten pictures of a tag: the one before training, these, and the end's."""


def is_due(step: int, previous: int, first: int, last: int) -> bool:
    """Tells whether a validation gets a frame: the first after each of NUM_MIDDLE_FRAMES log-spaced steps
    from `first`, the run's first validation, to before `last`. `previous` is the step of the one before."""
    places = [first * (last / first) ** (index / NUM_MIDDLE_FRAMES) for index in range(NUM_MIDDLE_FRAMES)]
    return step < last and any(previous < place <= step for place in places)


def epoch_of(trainer: pl.Trainer) -> int:
    """Returns the epoch, counted from 1, of the last step; Lightning's counter moves on when a fit ends."""
    steps_in_epoch = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
    return -(-trainer.global_step // steps_in_epoch)


class AttentionPictures(pl.Callback):
    """Draws where the model looks for `num_shown` validation images, and scores the pictures on `num_scored`;
    `seed` chooses the images.

    Frames are taken before the first step, at log-spaced validations and at the end, of the weights that
    validation sees (the average's, with an EMA); numbers on attention are logged at every validation; a test
    ends with what is left of the maps when weights are destroyed. Only the first process looks; nothing
    random is drawn and no gradient kept, so a run's losses are the same bits with it and without. A model
    that cannot be looked into trains without pictures, and the log says so.
    """

    def __init__(self, figures_dir: str, num_shown: int, num_scored: int, seed: int):
        if not 1 <= num_shown <= num_scored:
            raise ValueError(
                f"callbacks.attention.num_shown={num_shown} must lie from 1 to"
                f" callbacks.attention.num_scored={num_scored}"
            )
        self.figures_dir = Path(figures_dir)
        self.num_shown = num_shown
        self.num_scored = num_scored
        self.seed = seed
        self.has_begun = False
        self.view: View | None = None
        self.first = self.previous = 0  # steps of the first validation and of the last one
        self.at_frame = -1  # step of the last frame
        self.logged: tuple[int, set[str]] = (-1, set())  # the numbers' last step, and which they were
        self.has_warned = False
        self.restored: dict[str, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Raises ValueError under a strategy that spreads the weights over the processes."""
        name, spreading = (
            type(trainer.strategy).__name__,
            FSDPStrategy | ModelParallelStrategy | DeepSpeedStrategy,
        )
        if stage == "fit" and isinstance(trainer.strategy, spreading):
            raise ValueError(
                f"callbacks.attention: under {name} no process holds the whole model; callbacks=[default]"
                " would work"
            )

    def _open(self, data: ImageData) -> None:
        """Chooses the images, and says in the run's folder which they are."""
        probe = choose_probe_images(data, self.num_scored, self.seed)
        shown, look = probe.images[: self.num_shown], (data.mean, data.std, data.bands_for_people)
        photographs = [photograph(image, *look) for image in shown]
        self.chronicle = Chronicle(probe.images, probe.labels, photographs, data.class_names)
        self.chronicle.untrained = self.restored
        self.figures_dir.mkdir(parents=True, exist_ok=True)
        which = {"indices": probe.indices.tolist(), "labels": probe.labels.tolist()}
        facts = {**probe.facts, "num_shown": len(photographs), **which}
        file = self.figures_dir / "probe_images.json"
        with writing(file):
            file.write_text(json.dumps(facts) + "\n")

    def _begin(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Opens model and images, or says why not."""
        if not trainer.is_global_zero:
            return
        self.has_begun = True
        served = cast(Any, trainer).datamodule
        data = getattr(served, "data", served)  # kept features know the images that they were computed from
        try:
            if not isinstance(data, ImageData):
                raise ValueError(
                    f"callbacks.attention takes images of an ImageData, not {type(data).__name__}"
                )
            pl_module.objective.require_classes("a picture of what speaks for a class")
            self.view = view_of(uncompiled(pl_module.model))
        except ValueError as error:
            log.warning("no attention pictures: %s; callbacks=[default] silences this", error)
            return
        self._open(data)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._begin(trainer, pl_module)
        if self.view is None:
            return
        if trainer.global_step == 0:
            self._look(trainer, takes_frame=True)
        elif not self.first:  # the checkpoint knows nothing of pictures
            self.previous = trainer.global_step

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *loader: int
    ) -> None:
        # here, not at the epoch's end, an EMA's average is in place whatever the order of the callbacks
        is_last = batch_idx + 1 == sum(trainer.num_val_batches)  # of the one loader
        is_fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if self.view is None or not is_fitting or not is_last:
            return
        step, is_end = trainer.global_step, trainer.global_step >= trainer.max_steps
        self.first = self.first or step
        self._look(trainer, takes_frame=is_end or is_due(step, self.previous, self.first, trainer.max_steps))
        self.previous = step

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        # no earlier: an EMA after this callback hands its average over when the fit ends
        if stage == "fit" and not self.has_begun:  # the run was killed after its last step
            self._begin(trainer, pl_module)
        if self.view is None or stage != "fit":
            return
        if self.at_frame != trainer.global_step:  # stopped early, or no validation at the end
            self._look(trainer, takes_frame=True)
        files = sorted((self.figures_dir / "evolution").glob("*.png"))
        self._log_picture(
            trainer, "attention/evolution", gif([np.asarray(Image.open(file)) for file in files])
        )

    def on_test_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not self.has_begun:  # the run was killed after its training
            self._begin(trainer, pl_module)
        if self.view is None:
            return
        images = self.chronicle.images[:NUM_IMAGES].to(next(self.view.model.parameters()).device)
        with _as_validated(trainer):
            found = {method: randomisation_cascade(self.view, images, method) for method in METHODS_SHOWN}
        scalars = {f"cascade/{name}_{stage}": each[stage] for name, each in found.items() for stage in each}
        for logger in trainer.loggers:
            logger.log_metrics(scalars, trainer.global_step)
        picture = cascade(found, f"tested weights, {len(images)} images")
        self._log_picture(trainer, "attention/cascade", png(picture))

    def _log_picture(self, trainer: pl.Trainer, tag: str, content: bytes) -> None:
        log_picture(trainer.loggers, self.figures_dir, tag, content, trainer.global_step)

    def _look(self, trainer: pl.Trainer, takes_frame: bool) -> None:
        """Logs the numbers on attention, and with `takes_frame` the pictures."""
        assert self.view is not None
        step = trainer.global_step
        self.chronicle.images = self.chronicle.images.to(next(self.view.model.parameters()).device)
        with _as_validated(trainer):
            stats = attention_stats(self.view, self.chronicle.images)
            scalars = stats_scalars(stats)
            if takes_frame:
                moment = f"step {step:,}, epoch {epoch_of(trainer)}" if step else "step 0, before training"
                measured = self.chronicle.measure(self.view)
                if step == 0:
                    self.chronicle.untrained = dict(measured.heatmaps)
                frame = self.chronicle.frame(self.view, stats, moment, measured)
                scalars |= frame.scalars
        self._log_numbers(trainer, scalars)
        if (lines := alarms(stats)) and not self.has_warned:
            self.has_warned = True
            more = f", and {len(lines) - 1} more heads" if len(lines) > 1 else ""
            log.warning("step %d: %s%s", step, lines[0], more)
        if not takes_frame:
            return
        self.at_frame = step
        for tag, picture in frame.pictures.items():
            content = png(picture)
            # kept as files, so that a run that goes on tomorrow shows today's too
            if tag == "attention/evolution":
                file = self.figures_dir / "evolution" / f"{step:08d}.png"
                with writing(file):
                    file.parent.mkdir(exist_ok=True)
                    file.write_bytes(content)
            else:
                self._log_picture(trainer, tag, content)

    def _log_numbers(self, trainer: pl.Trainer, scalars: dict[str, float]) -> None:
        """Writes what this step has not seen yet: the end may come at a step that was looked at before."""
        step, names = self.logged
        known = names if step == trainer.global_step else set()
        self.logged = trainer.global_step, known | set(scalars)
        new = {name: value for name, value in scalars.items() if name not in known}
        for logger in trainer.loggers:
            logger.log_metrics(new, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        untrained = self.chronicle.untrained if self.view is not None else {}
        done = {"at_frame": self.at_frame, "logged": [self.logged[0], sorted(self.logged[1])]}
        return {"first": self.first, "previous": self.previous, "untrained": dict(untrained), **done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first, self.previous, self.at_frame = (
            state_dict[key] for key in ("first", "previous", "at_frame")
        )
        self.restored = state_dict["untrained"]
        step, names = state_dict["logged"]
        self.logged = step, set(names)


@contextmanager
def _as_validated(trainer: pl.Trainer) -> Iterator[None]:
    """The trainer's precision, outside inference mode, and past compiled graphs, or they compile anew."""
    precision, eager = trainer.precision_plugin.forward_context(), torch.compiler.set_stance("force_eager")
    with torch.inference_mode(False), torch.enable_grad(), eager, precision:
        yield
