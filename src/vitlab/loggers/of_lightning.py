"""Loggers that know Lightning alone: numbers by its own way, pictures where one has its `log_image`."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

from PIL import Image
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from vitlab.loggers.run_logger import Ending, RunFacts, RunLogger
from vitlab.loggers.tracker import Away, Tracker
from vitlab.runs.history import read_history

log = logging.getLogger(__name__)

BESIDE = ("log_image", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", "finalize")
"""What Lightning, or we, may call of a logger beside `log_metrics`."""


class OfLightning(Tracker):
    """Tells a logger of Lightning's, or of a package that knows Lightning only, what it can take.

    Lightning's trainer has the logger itself, whose methods lead here: what it raises after the first numbers
    ends no training, and only the first of several processes calls it, whatever its own class has forgotten.
    One that does not take numbers is asked again now and then, as a tracker is.
    """

    def __init__(self, logger: Logger):
        super().__init__("")
        self.logger = logger
        self.is_proven, self.failed = False, set[str]()
        self.last_call: Callable[[], None] | None = None
        """Lightning's last word to the logger, where it was away then."""
        names = [name for name in ("log_metrics", *BESIDE) if hasattr(logger, name)]
        self.own: dict[str, Callable[..., Any]] = {name: getattr(logger, name) for name in names}
        for name in names:
            setattr(logger, name, self.log_metrics if name == "log_metrics" else self._guarded(name))

    @classmethod
    def of(cls, logger: Logger) -> "OfLightning":
        """Returns the one that tells this logger."""
        if not isinstance(known := vars(logger).get("told_by"), cls):
            known = vars(logger)["told_by"] = cls(logger)
        return known

    @property
    def title(self) -> str:
        return type(self.logger).__name__

    @property
    def place(self) -> str:
        return f"{type(self.logger).__module__}.{self.title}"

    def _ask(self, method: str, *given: Any, **named: Any) -> None:
        """Calls a method of the logger's own. Raises Away for what it raises, and ValueError as long as a new
        run's logger has not taken any numbers."""
        try:
            self.own[method](*given, **named)
        except Exception as error:
            said = f"{method}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            if self.is_proven or self.goes_on or method == "finalize":
                raise Away(said) from error
            raise ValueError(f"{self.place}.{said}") from error

    def _guarded(self, method: str) -> Callable[..., None]:
        """Returns what stands for a method beside `log_metrics`: of its failures the first is a line."""

        @rank_zero_only
        def call(*given: Any, **named: Any) -> None:
            if self.away_since is not None:
                self.num_dropped += method == "log_image"
                if method == "finalize":
                    self.last_call = partial(self._ask, method, *given, **named)
                return
            try:
                self._ask(method, *given, **named)
            except Away as error:
                if method not in self.failed:
                    self.failed.add(method)
                    log.warning("%s.%s; training goes on without it", self.place, error)

        return call

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Passes numbers on as they are, also those that a callback tells without a step."""
        self.step = self.step if step is None else step
        self.tell(self.step, lambda: self._log(metrics, step), is_kept=False)

    def _log(self, values: Mapping[str, float], step: int | None) -> None:
        self._ask("log_metrics", metrics=dict(values), step=step)
        self.is_proven = True
        if step is not None:
            self.told |= {name: max(step, self.told.get(name, step)) for name in values}

    def write(self, values: Mapping[str, float], step: int) -> None:
        self._log(values, step)

    def last_steps(self) -> dict[str, int]:
        """Returns what it was told by this process, and by an earlier one before the checkpoint."""
        return self.told

    def show(self, name: str, content: bytes, step: int) -> None:
        logger: Any = self.logger  # Lightning's own class has no `log_image`
        logger.log_image(key=name, images=[Image.open(BytesIO(content))], step=step)

    def picture(self, name: str, content: bytes, step: int) -> None:
        if "log_image" in self.own:
            self.show(name, content, step)

    def text(self, name: str, markdown: str) -> None:
        """Keeps no page: Lightning has no word for it."""

    def go_back(self, step: int, state: Mapping[str, Any]) -> None:
        self.goes_on = True
        RunLogger.go_back(self, step, state)

    def begin(self, run: RunFacts) -> None:
        self.folder = run.folder
        for step, name in read_history(run.folder):
            self.told[name] = max(step, self.told.get(name, step))
        super().begin(run)
        if "log_image" not in self.own:
            log.warning(
                "%s takes numbers alone, having no log_image: a run's pictures are in %s; logger=tensorboard"
                " shows them",
                self.title,
                run.folder / "figures",
            )

    def open(self, run: RunFacts) -> None:
        if run.step == 0 and run.hyperparameters:
            self._ask("log_hyperparams", dict(run.hyperparameters))

    def identity(self) -> dict[str, Any]:
        return self.missing()

    def state(self) -> dict[str, int]:
        self.logger.save()
        return {}

    def close(self, ending: Ending) -> None:
        if self.last_call is not None:
            self.last_call()
