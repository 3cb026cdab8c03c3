"""MLflow: a run in a SQLite file that `mlflow ui` opens, or on a server."""

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment

from vitlab.files.lock import only_one
from vitlab.loggers.picture_files import file_name
from vitlab.loggers.run_logger import Ending, RunFacts
from vitlab.loggers.tracker import BEST, Tracker, require, run_name

log = logging.getLogger(__name__)

FILE = "outputs/mlflow.db"
SQLITE = "sqlite:///"
ID = "vitlab.id"

LONGEST, AT_ONCE = 500, 100
"""Characters of a setting, and settings in one message, that every MLflow takes."""

STATUS = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def place(tracking_uri: str | None) -> tuple[str, Path | None]:
    """Returns MLflow's address of a store, and its file where it is one of SQLite."""
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{FILE}"
    if not uri.startswith(SQLITE):
        return uri, None
    file = Path(uri.removeprefix(SQLITE)).absolute()
    return f"{SQLITE}{file}", file


def name_for_mlflow(name: str) -> str:
    """Returns a name of the letters, digits and signs that MLflow takes."""
    return re.sub(r"[^\w/. :-]", "_", name)


@contextmanager
def in_a_line(uri: str) -> Iterator[None]:
    """Raises ValueError in one line for what MLflow says of a store."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        said = str(error).strip().splitlines()[0]
        raise ValueError(f"logger.mlflow.tracking_uri={uri}: {said[:300]}") from None


class MLflow(Tracker):
    """Tells a run to MLflow: numbers, settings, pictures and texts as artefacts, and how it ended.

    `tracking_uri` is a server or `sqlite:///FILE`; null: MLFLOW_TRACKING_URI, or else `outputs/mlflow.db`.
    `log_model` keeps the best checkpoint there too. A sweep's runs have its name in the tag `sweep`.
    """

    def __init__(
        self,
        run_dir: str,
        experiment: str,
        tracking_uri: str | None = None,
        tags: Mapping[str, str] | None = None,
        log_model: bool = False,
    ):
        require("mlflow")
        super().__init__(run_dir)
        self.uri, self.file = place(tracking_uri)
        self.run_id = ""
        self.experiment_name, self.tags, self.log_model = experiment, dict(tags or {}), log_model

    def open(self, run: RunFacts) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else MLflow's makers hear of its use
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it tells of each table that it makes
        logging.getLogger("alembic").setLevel(logging.WARNING)
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        # of several jobs of a sweep one makes the tables and the experiment
        with only_one(self.file) if self.file else nullcontext(), in_a_line(self.uri):
            self._open(run)
        log.info("MLflow: run %s in %s", self.run_id, self._how_to_look())

    def _how_to_look(self) -> str:
        return f"{self.file}: mlflow ui --backend-store-uri {self.uri}" if self.file else self.uri

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's own client, for callbacks that speak to it themselves."""
        return self.client

    def _open(self, run: RunFacts) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(self.uri)
        experiment_id = self._experiment_id()
        self.run_id = self._find(experiment_id) if self.goes_on else ""
        if self.run_id:
            self.client.update_run(self.run_id, status="RUNNING")
            return
        tags = {**self.tags, ID: str(self.id), "vitlab.folder": str(run.folder)}
        tags |= {"sweep": run.sweep} if run.sweep else {}
        self.run_id = self.client.create_run(experiment_id, tags=tags, run_name=run_name(run)).info.run_id
        settings = {**run.hyperparameters, **run.settings}
        params = [Param(name_for_mlflow(name), str(value)[:LONGEST]) for name, value in settings.items()]
        for start in range(0, len(params), AT_ONCE):
            self.client.log_batch(self.run_id, params=params[start : start + AT_ONCE])

    def _experiment_id(self) -> str:
        name = self.experiment_name
        if known := self.client.get_experiment_by_name(name):
            return known.experiment_id
        return self.client.create_experiment(
            name, artifact_location=(self.file.parent / "mlflow" / name).as_uri() if self.file else None
        )

    def _find(self, experiment_id: str) -> str:
        """Returns MLflow's own id of the run that this one began there before it was killed; "": none."""
        found = self.client.search_runs([experiment_id], f"tags.`{ID}` = '{self.id}'")
        return found[0].info.run_id if found else ""

    def identity(self) -> dict[str, Any]:
        return super().identity() | ({"run_id": self.run_id} if self.run_id else {})

    def last_steps(self) -> dict[str, int]:
        names = self.client.get_run(self.run_id).data.metrics
        return {
            name: max(each.step for each in self.client.get_metric_history(self.run_id, name))
            for name in names
        }

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        super().numbers({name_for_mlflow(name): value for name, value in values.items()}, step)

    def write(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with in_a_line(self.uri):
            told = [Metric(name, value, now, step) for name, value in values.items()]
            self.client.log_batch(self.run_id, metrics=told)

    def show(self, name: str, content: bytes, step: int) -> None:
        """Keeps `pictures/NAME/STEP.png`; the same step again replaces it."""
        folder, _, suffix = file_name(name, content).rpartition(".")
        with TemporaryDirectory() as place, in_a_line(self.uri):
            file = Path(place, f"{step:08d}.{suffix}")
            file.write_bytes(content)
            self.client.log_artifact(self.run_id, str(file), f"pictures/{folder}")

    def text(self, name: str, markdown: str) -> None:
        with in_a_line(self.uri):
            self.client.log_text(self.run_id, markdown, f"{name}.md")
            if name == "run":
                self.client.set_tag(self.run_id, "mlflow.note.content", markdown)

    def end(self, ending: Ending) -> None:
        with in_a_line(self.uri):
            if self.log_model and ending == "completed" and (self.folder / BEST).is_file():
                self.client.log_artifact(self.run_id, str(self.folder / BEST), "checkpoints")
            self.client.set_terminated(self.run_id, STATUS[ending])
