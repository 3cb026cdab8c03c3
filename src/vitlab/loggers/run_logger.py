"""The seam between a run and whatever keeps its log: a file, TensorBoard, a tracker on a server."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

log = logging.getLogger(__name__)

Ending = Literal["completed", "failed", "interrupted"]


class RunFacts(NamedTuple):
    """What a logger is told of a run at its start: `step` is 0, or where a run that was killed goes on.

    `objective` is what `Objective.facts` gives. `settings` are what a sweep varies or the command line chose,
    by dotted key; `hyperparameters` are model, optimizer and the like as a whole. `vitlab test` has neither.
    `sweep` is the name of the sweep that the run is a job of, and `parent` the folder of the run that this
    one continues.
    """

    folder: Path
    step: int
    config: Mapping[str, Any]
    objective: Mapping[str, Any]
    settings: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    sweep: str | None = None
    parent: str | None = None


class RunLogger(Logger, ABC):
    """Takes what a run tells. `numbers` is all that a new one must write; the rest does nothing by default.

    The order is `begin`, then numbers, pictures and text, then `end`. A run that was killed calls `lost`,
    `resumed` and `go_back` before `begin`. Only the first of several processes calls any of it, but for
    `__init__` and `lost`; so neither of these two may write.
    """

    @abstractmethod
    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Keeps numbers by name, such as `{"val/loss": 0.31}`, as those of an optimizer step."""

    def picture(self, name: str, content: bytes, step: int) -> None:
        """Keeps a picture: the content of a PNG file, or of a GIF that moves."""

    def text(self, name: str, markdown: str) -> None:
        """Keeps a page of Markdown: `run`, `result`, `attention` or `config`."""

    def begin(self, run: RunFacts) -> None:
        """Hears which run this is, at each of its starts."""

    def end(self, ending: Ending) -> None:
        """Hears how the run ended; nothing follows."""

    def state(self) -> dict[str, Any]:
        """Writes out what is held back, and returns plain data by which `go_back` finds this place again.

        A checkpoint keeps it: the size of a file, for example.
        """
        return {}

    def lost(self, state: Mapping[str, Any]) -> list[str]:
        """Returns a line for each thing that is gone since that state: the run goes on and records them.

        Raises ValueError where the run must not go on, because what is there is another run's.
        """
        return []

    def go_back(self, step: int, state: Mapping[str, Any]) -> None:
        """Forgets what came after the checkpoint of `step`, since the run will tell it again.

        `state` is what `state` gave there, and empty where the run was killed before its first checkpoint.
        """
        log.warning(
            "%s cannot go back to step %d: what the run told it after that may stand there twice",
            self.title,
            step,
        )

    def identity(self) -> dict[str, Any]:
        """Returns plain data for run.json, by which a tracker finds its own run again, such as its id.

        It is asked before `begin`, so that no kill comes between, and again after it.
        """
        return {}

    def resumed(self, identity: Mapping[str, Any]) -> None:
        """Takes up the run that `identity` told of at an earlier start, if it told of one."""

    @property
    def title(self) -> str:
        """What run.json and lines about it call it."""
        return type(self).__name__

    # what follows is Lightning's side: its trainer calls these

    @rank_zero_only
    def log_metrics(  # type: ignore[override]
        self, metrics: Mapping[str, float], step: int | None = None
    ) -> None:
        """Passes on all but Lightning's `epoch`, which would come twice at a step that also validates."""
        if step is None:
            raise ValueError("numbers are logged with their step: log_metrics(numbers, trainer.global_step)")
        self.numbers({name: float(value) for name, value in metrics.items() if name != "epoch"}, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Keeps nothing: `begin` has told."""

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""
