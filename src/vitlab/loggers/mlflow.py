"""MLflow: a run in a SQLite file that `mlflow ui` opens, or on a server."""

import logging
import os
import re
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from PIL import Image

from vitlab.files.lock import only_one
from vitlab.loggers.picture_files import file_name
from vitlab.loggers.run_logger import Ending, RunFacts
from vitlab.loggers.tracker import BEST, Away, Tracker, require, run_name

log = logging.getLogger(__name__)

FILE = "outputs/mlflow.db"
SQLITE = "sqlite:///"
ID, PARENT, NOTE = "vitlab.id", "mlflow.parentRunId", "mlflow.note.content"

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


PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
"""How long a server may keep a training waiting: seconds for an answer, and how often it is asked again at
once. MLflow's own are 120 and 7."""


def name_for_picture(name: str) -> str:
    """Returns a name of the letters that MLflow takes for a picture: Latin ones."""
    return re.sub(r"[^a-zA-Z0-9_\-./ ]", "_", name)


@contextmanager
def or_away() -> Iterator[None]:
    """Raises Away in one line for whatever MLflow, or what it stands on, says of a store, and for a server's
    connection."""
    from mlflow.exceptions import MlflowException
    from requests import ConnectionError as NoConnection
    from requests import Timeout

    try:
        yield
    except Exception as error:  # SQLAlchemy's, of a missing driver, of an address that is none
        behind = error if isinstance(error, OSError) else error.__context__
        if isinstance(behind, Timeout) or "timed out" in str(behind):
            seconds = os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
            raise Away(f"no answer within {seconds} s (MLFLOW_HTTP_REQUEST_TIMEOUT)") from None
        if isinstance(behind, NoConnection):
            raise Away("no MLflow server answers there") from None
        kind = "" if isinstance(error, MlflowException) else f"{type(error).__name__}: "
        raise Away(shorten(f"{kind}{error}", 300)) from None


def check_file(file: Path) -> None:
    """Raises an error of SQLite's for a file that it cannot open and write; MLflow would try for two
    minutes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("begin immediate")


class MLflow(Tracker):
    """Tells a run to MLflow: numbers, settings, pictures and texts as artefacts, and how it ended.

    `tracking_uri` is a server or `sqlite:///FILE`; null: MLFLOW_TRACKING_URI, or else `outputs/mlflow.db`.
    `log_model` keeps the best checkpoint there too. A sweep is the parent of its runs, and their tag `sweep`.
    """

    def __init__(
        self,
        run_dir: str,
        experiment: str,
        tracking_uri: str | None = None,
        tags: Mapping[str, Any] | None = None,
        log_model: bool = False,
    ):
        require("mlflow")
        super().__init__(run_dir)
        if not isinstance(tags, Mapping | None) or any(
            isinstance(value, Mapping | list) for value in (tags or {}).values()
        ):
            raise ValueError(
                f"logger.mlflow.tags={tags}: names with a text each would work, such as {{project: beetles}}"
            )
        self.uri, self.file = place(tracking_uri)
        self.run_id = self.sweep_id = ""
        self.refused: set[str] = set()
        self.experiment_name, self.log_model = experiment, log_model
        self.tags = {name: str(value) for name, value in (tags or {}).items()}

    @property
    def place(self) -> str:
        return f"logger.mlflow.tracking_uri={self.uri}"

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's own client, for callbacks that speak to it themselves."""
        return self.client

    def open(self, run: RunFacts) -> None:
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it tells of each table that it makes
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a line of ours has it
        logging.getLogger("alembic").setLevel(logging.WARNING)
        # of several jobs of a sweep one makes the tables, the experiment and their parent
        shared = self.file or (run.folder.parent / "mlflow" if run.sweep else None)
        with or_away(), only_one(shared) if shared else nullcontext():
            if self.file:
                check_file(self.file)
            self._open(run)
        look = f"{self.file}: mlflow ui --backend-store-uri {self.uri}" if self.file else self.uri
        log.info("MLflow: run %s in %s", self.run_id, look)

    def _open(self, run: RunFacts) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(self.uri)
        self.experiment_id = self._experiment_id()
        tags = self._tags(run)
        if run.sweep:
            sweep = run.folder.parent
            number = uuid.uuid5(uuid.NAMESPACE_URL, sweep.absolute().as_uri()).hex[:12]
            about = {"sweep": run.sweep, "vitlab.folder": str(sweep), NOTE: f"`vitlab report {sweep}`"}
            self.sweep_id, _ = self._run(number, run.sweep, about)
            tags |= {"sweep": run.sweep, PARENT: self.sweep_id}
        self.run_id, known = self._run(str(self.id), run_name(run), tags)
        settings = {
            name_for_mlflow(name): value for name, value in {**run.hyperparameters, **run.settings}.items()
        }
        params = [Param(name, str(value)[:LONGEST]) for name, value in settings.items() if name not in known]
        for start in range(0, len(params), AT_ONCE):
            self.client.log_batch(self.run_id, params=params[start : start + AT_ONCE])

    def _experiment_id(self) -> str:
        name = self.experiment_name
        if known := self.client.get_experiment_by_name(name):
            return known.experiment_id
        place = (self.file.parent / "mlflow" / name).as_uri() if self.file else None
        return self.client.create_experiment(name, artifact_location=place)

    def _tags(self, run: RunFacts) -> dict[str, str]:
        tags = {**self.tags, "vitlab.folder": str(run.folder), "mlflow.source.name": "vitlab"}
        if run.parent:
            tags["vitlab.continues"] = run.parent
            if known := self.of_parent().get("run_id"):
                tags["vitlab.continues.run_id"] = known
        return tags

    def _run(self, number: str, name: str, tags: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Returns MLflow's own id of the run with this number of ours, and what it knows of its settings; it
        may have begun before a kill."""
        found = self.client.search_runs([self.experiment_id], f"tags.`{ID}` = '{number}'")
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id, found[0].data.params
        run = self.client.create_run(self.experiment_id, tags={**tags, ID: number}, run_name=name)
        return run.info.run_id, {}

    def identity(self) -> dict[str, Any]:
        return super().identity() | ({"run_id": self.run_id} if self.run_id else {})

    def last_steps(self) -> dict[str, int]:
        with or_away():
            names = self.client.get_run(self.run_id).data.metrics
            told = {
                name: max(each.step for each in self.client.get_metric_history(self.run_id, name))
                for name in names
            }
            for file in self.client.list_artifacts(self.run_id, "images"):  # test~confusion+step+8+...
                name, step = file.path.removeprefix("images/").replace("~", "/").split("+")[::2][:2]
                told[name] = max(int(step), told.get(name, -1))
            return told

    def word(self, name: str) -> str:
        return name_for_mlflow(name)

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Tells numbers; a name that MLflow refuses, and with it all of the message, is left out with a
        line."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        told = [Metric(name, values[name], now, step) for name in values if name not in self.refused]
        with or_away():
            try:
                self.client.log_batch(self.run_id, metrics=told)
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                if len(told) == 1:
                    self.refused.add(told[0].key)
                    log.warning("%s takes no %r: %s", self.place, told[0].key, shorten(str(error), 300))
                    return
                for each in told:
                    self.write({each.key: each.value}, step)

    def show(self, name: str, content: bytes, step: int) -> None:
        """Keeps a picture for MLflow's charts, by steps; one that moves is `pictures/NAME/STEP.gif`."""
        picture, (folder, _, suffix) = Image.open(BytesIO(content)), file_name(name, content).rpartition(".")
        with TemporaryDirectory() as place, or_away():
            if getattr(picture, "is_animated", False):
                file = Path(place, f"{step:08d}.{suffix}")
                file.write_bytes(content)
                self.client.log_artifact(self.run_id, str(file), f"pictures/{folder}")
            else:
                self.client.log_image(self.run_id, picture, key=name_for_picture(name), step=step)

    def page(self, name: str, markdown: str) -> None:
        with or_away():
            self.client.log_text(self.run_id, markdown, f"{name}.md")
            if name == "run":
                self.client.set_tag(self.run_id, NOTE, markdown)

    def close(self, ending: Ending) -> None:
        with or_away():
            if self.log_model and ending == "completed" and (self.folder / BEST).is_file():
                self.client.log_artifact(self.run_id, str(self.folder / BEST), "checkpoints")
            self.client.set_terminated(self.run_id, STATUS[ending])
            if self.sweep_id:
                jobs = self.client.search_runs([self.experiment_id], f"tags.`{PARENT}` = '{self.sweep_id}'")
                if not any(job.info.status == "RUNNING" for job in jobs):
                    self.client.set_terminated(self.sweep_id, "FINISHED")
