"""TensorBoard with an HParams tab that works: real metrics, true status, one run a folder; and one way to log
a picture anywhere."""

import json
import time
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]  # made at run time by protobuf, as the names below
from tensorboard.plugins.hparams import metadata, summary_v2
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS  # type: ignore[attr-defined]
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo  # type: ignore[attr-defined]

from vitlab.dashboard.tags import is_dot, tag_of
from vitlab.files.atomic import writing
from vitlab.runs.history import FILE as HISTORY_FILE
from vitlab.runs.history import read_history
from vitlab.words import in_cell


class Dashboard(TensorBoardLogger):
    """Writes events straight into the run folder.

    Of the HParams plugin it writes a session's start and end, and no experiment: TensorBoard then forms the
    union of all runs' columns itself, where torch's `add_hparams` would open a second run, turn booleans into
    numbers and promise a metric of -1.
    """

    def __init__(self, run_dir: str):
        super().__init__(save_dir=run_dir, name=None, version="", default_hp_metric=False)
        self.dots: dict[str, float] = {}

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Shows plain values, by dotted key, as this run's hyper-parameters; the trial has the run's name,
        the shortest that tells it."""
        self._write(summary_v2.hparams_pb(params, trial_id=""))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes scalars under the tags of `vitlab.dashboard`; what would be a single dot is kept in `dots`,
        for a text.

        Lightning's `epoch` is left out, which would come twice at a step that also validates.
        """
        self.dots |= {name: value for name, value in metrics.items() if is_dot(name)}
        charts = {
            tag_of(name): value for name, value in metrics.items() if name != "epoch" and not is_dot(name)
        }
        with writing(self.file):
            super().log_metrics(charts, step)

    @rank_zero_only
    def log_layout(self, layout: dict[str, dict[str, list]]) -> None:
        """Shows charts of several scalars in the Custom Scalars tab."""
        with writing(self.file):
            self.experiment.add_custom_scalars(layout)

    @rank_zero_only
    def log_text(self, tag: str, markdown: str) -> None:
        """Shows a page of Markdown."""
        with writing(self.file):
            self.experiment.add_text(tag, markdown)

    @rank_zero_only
    def save(self) -> None:
        """Writes no hparams.yaml: the run folder has config.yaml."""

    @rank_zero_only
    def end_session(self, completed: bool) -> None:
        """Tells the HParams tab how the run ended; the last thing to be written."""
        status = STATUS_SUCCESS if completed else STATUS_FAILURE
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

    @property
    def file(self) -> Path:
        """Where a thread of TensorBoard's writes, whose errors come later and without a name."""
        return Path(self.log_dir, "events.out.tfevents.*")

    def _write(self, summary: Any) -> None:
        with writing(self.file):
            self.experiment.file_writer.add_summary(summary)


class MetricHistory(Logger):
    """Appends a line of JSON to `metrics.jsonl` in `folder` for each set of scalars: `{"step": 19,
    "train/loss": 2.302585}`."""

    def __init__(self, folder: str | Path):
        super().__init__()
        self.file = Path(folder) / HISTORY_FILE

    @property
    def name(self) -> str:
        return "history"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Keeps none: they stand in run.json."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keeps all but Lightning's `epoch`; a whole line or, when the process is killed right here, a part
        that readers pass over."""
        row = {"step": step} | {name: float(value) for name, value in metrics.items() if name != "epoch"}
        with writing(self.file), self.file.open("ab") as file:
            file.write(json.dumps(row).encode() + b"\n")


class Table(CSVLogger):
    """Writes `metrics.csv` into the run folder; a run that goes on finds there again what its history
    knows."""

    def __init__(self, run_dir: str):
        super().__init__(save_dir=run_dir, name="", version="")
        self.is_filled = False

    @property
    def experiment(self) -> Any:
        if not self.is_filled:
            self.is_filled = True
            rows: dict[int, dict[str, float]] = {}
            for (step, name), value in read_history(Path(self.log_dir)).items():
                rows.setdefault(step, {})[in_cell(name)] = value
            writer = super().experiment  # removes the old table
            for step, row in rows.items():
                writer.log_metrics(row, step)
        return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:  # type: ignore[override]
        """Keeps all but Lightning's `epoch`, as the history does."""
        super().log_metrics(
            {in_cell(name): value for name, value in metrics.items() if name != "epoch"}, step
        )

    @rank_zero_only
    def save(self) -> None:
        with writing(Path(self.log_dir, "metrics.csv")):
            super().save()


def flush(loggers: Iterable[Logger]) -> None:
    """Writes out what loggers hold back."""
    for logger in loggers:
        if isinstance(logger, Dashboard):
            logger.finalize("running")
        else:
            logger.save()


def _write_picture(file: Path, content: bytes) -> None:
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


@rank_zero_only
def log_picture(loggers: Iterable[Logger], figures_dir: Path, tag: str, content: bytes, step: int) -> None:
    """Shows a PNG or GIF file's content under `tag` in every logger that takes pictures, and keeps it in
    `figures_dir` as the tag's latest.

    TensorBoard gets the file as it is, so an animation moves there; a CSV logger keeps every step's file
    beside its table; any other logger is given the picture if it has Lightning's `log_image`.
    """
    picture = Image.open(BytesIO(content))
    suffix = f".{str(picture.format).lower()}"
    _write_picture(figures_dir / (tag.replace("/", "_") + suffix), content)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            channels = 4 if picture.mode == "RGBA" else 3
            shown_as = tag_of(tag) if isinstance(logger, Dashboard) else tag
            shown = Summary.Image(
                width=picture.width, height=picture.height, colorspace=channels, encoded_image_string=content
            )
            with writing(Path(logger.log_dir, "events.out.tfevents")):
                logger.experiment.file_writer.add_summary(
                    Summary(value=[Summary.Value(tag=shown_as, image=shown)]), step
                )
        elif isinstance(logger, CSVLogger):
            _write_picture(
                Path(logger.log_dir) / "pictures" / tag.replace("/", "_") / f"{step:08d}{suffix}", content
            )
        elif (log_image := getattr(logger, "log_image", None)) is not None:
            log_image(key=tag, images=[picture], step=step)
