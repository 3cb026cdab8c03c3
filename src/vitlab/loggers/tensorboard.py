"""TensorBoard with an HParams tab that works: real metrics, true status, one run a folder."""

import os
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from PIL import Image
from pytorch_lightning.utilities import rank_zero_only

# protobuf makes the names of the pb2 modules at run time
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from tensorboard.plugins.hparams import metadata, summary_v2
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS  # type: ignore[attr-defined]
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,  # type: ignore[attr-defined]
    SessionEndInfo,  # type: ignore[attr-defined]
)
from torch.utils.tensorboard import SummaryWriter

from vitlab.dashboard.tags import Tags, is_dot
from vitlab.files.atomic import writing
from vitlab.loggers.run_logger import Ending, RunFacts, RunLogger

EVENTS = "events.out.tfevents.*"


class TensorBoard(RunLogger):
    """Writes event files straight into the run folder, under the tags of `vitlab.dashboard`.

    Of the HParams plugin it writes a session's start and end, and no experiment: TensorBoard then forms the
    union of all runs' columns itself, where torch's `add_hparams` would open a second run, turn booleans into
    numbers and promise a metric of -1.
    """

    def __init__(self, run_dir: str | Path):
        super().__init__()
        self.folder = Path(run_dir)
        self.tags = Tags()
        self.writer: SummaryWriter | None = None

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The writer, for callbacks that speak to TensorBoard themselves; its file begins at first use."""
        if self.writer is None:
            self.writer = SummaryWriter(log_dir=str(self.folder))
        return self.writer

    @property
    def file(self) -> Path:
        """Where a thread of TensorBoard's writes, whose errors come later and without a name."""
        return self.folder / EVENTS

    def _write(self, summary: Any, step: int | None = None) -> None:
        with writing(self.file):
            self.experiment.file_writer.add_summary(summary, step)

    def begin(self, run: RunFacts) -> None:
        """Shows a training's settings as hyper-parameters, and lays out the charts of Custom Scalars; the
        trial has the run's name, the shortest that tells it."""
        self.tags = Tags.of_objective(run.objective)
        if run.step or not run.settings:
            return
        self._write(summary_v2.hparams_pb(dict(run.settings), trial_id=""))
        has_attention = bool(run.config["callbacks"].get("attention"))
        with writing(self.file):
            self.experiment.add_custom_scalars(self.tags.layout(has_attention))

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Writes all but what would be a single dot, which the text on the result tells."""
        with writing(self.file):
            for name, value in values.items():
                if not is_dot(name):
                    self.experiment.add_scalar(self.tags.of_number(name), value, step)

    def picture(self, name: str, content: bytes, step: int) -> None:
        """Shows a file as it is, so that an animation moves."""
        picture = Image.open(BytesIO(content))
        shown = Summary.Image(
            width=picture.width,
            height=picture.height,
            colorspace=4 if picture.mode == "RGBA" else 3,
            encoded_image_string=content,
        )
        self._write(Summary(value=[Summary.Value(tag=self.tags.of_picture(name), image=shown)]), step)

    def text(self, name: str, markdown: str) -> None:
        with writing(self.file):
            self.experiment.add_text(self.tags.of_text(name), markdown)

    def end(self, ending: Ending) -> None:
        """Tells the HParams tab how the run ended."""
        status = STATUS_SUCCESS if ending == "completed" else STATUS_FAILURE
        end = SessionEndInfo(status=status, end_time_secs=time.time())
        content = metadata.create_summary_metadata(HParamsPluginData(session_end_info=end))
        value = Summary.Value(
            tag=metadata.SESSION_END_INFO_TAG, metadata=content, tensor=metadata.NULL_TENSOR
        )
        self._write(Summary(value=[value]))
        self.finalize("finished")  # before it closes, which would not tell of a write that failed
        self.experiment.close()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flushes; Lightning calls this after fitting and again after testing."""
        with writing(self.file):
            self.experiment.flush()

    def _sizes(self) -> dict[str, int]:
        return {file.name: file.stat().st_size for file in sorted(self.folder.glob(EVENTS))}

    def state(self) -> dict[str, int]:
        self.finalize("running")
        return self._sizes()

    def lost(self, state: Mapping[str, int]) -> list[str]:
        here = self._sizes()
        return [
            f"{name} has {here[name]:,} bytes, and had {size:,}" if name in here else f"{name} is gone"
            for name, size in state.items()
            if here.get(name, 0) < size
        ]

    def go_back(self, step: int, state: Mapping[str, int]) -> None:
        """Cuts its files, and waits for the next second where one is of this second: TensorBoard reads files
        in the order of the seconds in their names."""
        for name, size in self._sizes().items():
            file = self.folder / name
            with writing(file):
                if name not in state:
                    file.unlink()
                elif size > state[name]:
                    os.truncate(file, state[name])
        newest = max((int(name.split(".")[3]) for name in self._sizes()), default=0)
        time.sleep(max(0.0, min(newest + 1 - time.time(), 1.0)))
