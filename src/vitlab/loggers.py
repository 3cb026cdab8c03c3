"""TensorBoard with an HParams tab that works: real metrics, true status, one run a folder."""

import time
from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]  # made at run time by protobuf, as the names below
from tensorboard.plugins.hparams import metadata, summary_v2
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS  # type: ignore[attr-defined]
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo  # type: ignore[attr-defined]


class Dashboard(TensorBoardLogger):
    """Writes events straight into the run folder.

    Of the HParams plugin it writes a session's start and end, and no experiment: TensorBoard then forms the union of all runs' columns
    itself, where torch's `add_hparams` would open a second run, turn booleans into numbers and promise a metric of -1.
    """

    def __init__(self, run_dir: str):
        super().__init__(save_dir=run_dir, name=None, version="", default_hp_metric=False)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Shows plain values, by dotted key, as this run's hyper-parameters."""
        self._write(summary_v2.hparams_pb(params, trial_id=str(self.log_dir)))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes scalars; not Lightning's `epoch`, which would come twice at a step that also validates."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def log_text(self, tag: str, text: str) -> None:
        """Shows preformatted text."""
        self.experiment.add_text(tag, "\n".join("    " + line for line in text.splitlines()))

    @rank_zero_only
    def save(self) -> None:
        """Writes no hparams.yaml: the run folder has config.yaml."""

    @rank_zero_only
    def end_session(self, completed: bool) -> None:
        """Tells the HParams tab how the run ended; the last thing to be written."""
        status = STATUS_SUCCESS if completed else STATUS_FAILURE
        end = SessionEndInfo(status=status, end_time_secs=time.time())
        content = metadata.create_summary_metadata(HParamsPluginData(session_end_info=end))
        value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content, tensor=metadata.NULL_TENSOR)
        self._write(Summary(value=[value]))
        self.experiment.close()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flushes; Lightning calls this after fitting and again after testing."""
        self.experiment.flush()

    def _write(self, summary: Any) -> None:
        self.experiment._get_file_writer().add_summary(summary)
