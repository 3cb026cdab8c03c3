"""Weights & Biases: a run on its server, or kept in the run's folder until somebody sends it."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, Literal

from lightning_fabric.loggers.logger import rank_zero_experiment
from PIL import Image

from vitlab.loggers.run_logger import Ending, RunFacts
from vitlab.loggers.tracker import BEST, Away, Tracker, require, run_name
from vitlab.loggers.wandb_files import rows_of

log = logging.getLogger(__name__)

STEP = "trainer/global_step"
"""The axis of all charts, as Lightning names it: W&B's own counts what it was told."""

EXIT_STATUS = {"completed": 0, "failed": 1, "interrupted": 130}


PATIENCE = {"init_timeout": 30.0, "finish_timeout": 600.0, "finish_timeout_raises": True}
"""Seconds that W&B's server may keep a run waiting, at its start and at its end; W&B's own are 90 and for
ever."""

Mode = Literal["online", "offline", "disabled"]


class Wandb(Tracker):
    """Tells a run to Weights & Biases: numbers, pictures, the whole config, and how it ended.

    `mode` is online, offline or null: then WANDB_MODE says it, or else the run is sent where somebody has
    logged in by `wandb login`, and kept for `wandb sync` where nobody has. `log_model` keeps the best
    checkpoint there too. A sweep's runs are one group.
    """

    def __init__(
        self,
        run_dir: str,
        project: str,
        entity: str | None = None,
        mode: Mode | None = None,
        tags: Sequence[str] = (),
        log_model: bool = False,
    ):
        require("wandb")
        super().__init__(run_dir)
        self.chosen: dict[str, Any] = {"project": project, "entity": entity, "tags": list(tags)}
        self.mode, self.log_model = mode, log_model
        self.row = 0

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B's own run, for callbacks that speak to it themselves."""
        return self.wandb

    def chosen_mode(self) -> Mode:
        import wandb

        mode = self.mode or os.environ.get("WANDB_MODE")
        if mode in ("online", "offline", "disabled"):
            return mode
        return "online" if wandb.login(prompt=False, verify=False) else "offline"

    def open(self, run: RunFacts) -> None:
        import wandb

        self.mode = self.chosen_mode()
        self.before = sorted(self.folder.glob("wandb/*run-*/*.wandb"))
        settings = wandb.Settings(
            **{name: value for name, value in PATIENCE.items() if f"WANDB_{name.upper()}" not in os.environ},
            **{"console": "off", "silent": True, "symlink": False, "x_transaction_log_flush_interval": 2.0},
        )
        try:
            self.wandb = wandb.init(
                **self.chosen,
                id=self.id,
                resume="allow",
                name=run_name(run),
                group=run.sweep,
                dir=str(run.folder),
                mode=self.mode,
                settings=settings,
                reinit="finish_previous",
            )
        except (wandb.Error, ValueError) as error:
            raise ValueError(f"logger=wandb: {' '.join(str(error).split())}") from None
        self.wandb.define_metric(STEP)
        self.wandb.define_metric("*", step_metric=STEP, step_sync=True)
        self.row = self.wandb.step
        if run.step == 0:
            self.wandb.config.update(dict(run.config), allow_val_change=True)
            if run.parent:
                self.wandb.config.update({"continues": {"folder": run.parent, **self.of_parent()}})
        if self.mode == "online":
            said = self.wandb.url
        elif self.mode == "offline":
            said = f"kept in {run.folder}/wandb; `wandb sync` or logger.wandb.mode=online sends it"
        else:
            said = "disabled: nothing is kept, nothing is sent"
        log.info("W&B: %s", said)

    def last_steps(self) -> dict[str, int]:
        """Asks the server; of a run that is not sent, its files."""
        import wandb

        rows: Iterable[Mapping[str, Any]]
        if self.mode == "online":
            rows = wandb.Api().run(self.wandb.path).scan_history()
        else:
            rows = [row for file in self.before for row in rows_of(file)]
            self.row = max((int(row["_step"]) + 1 for row in rows), default=0)
        told: dict[str, int] = {}
        for row in rows:
            if isinstance(step := row.get(STEP), int):
                for name in (name for name, value in row.items() if value is not None):
                    told[name] = max(step, told.get(name, step))
        return told

    def write(self, values: Mapping[str, Any], step: int) -> None:
        """Counts the rows itself: what a killed run kept in two files is sent as one series."""
        self.wandb.log({**values, STEP: step}, step=self.row)
        self.row += 1

    def show(self, name: str, content: bytes, step: int) -> None:
        import wandb

        picture = Image.open(BytesIO(content))
        moves = getattr(picture, "is_animated", False)
        shown = wandb.Video(BytesIO(content), format="gif") if moves else wandb.Image(picture)
        self.write({name: shown}, step)

    def page(self, name: str, markdown: str) -> None:
        """Shows what the run is in its notes; its config and its numbers have places of their own."""
        if name == "run":
            self.wandb.notes = markdown

    def close(self, ending: Ending) -> None:
        import wandb

        self.wandb.summary["ended"] = ending
        if self.log_model and ending == "completed" and (self.folder / BEST).is_file():
            best = wandb.Artifact(f"best-{self.id}", type="model")
            # not by way of a copy in the home directory, which a run kept for `wandb sync` would need
            best.add_file(str(self.folder / BEST), policy="immutable", skip_cache=True)
            self.wandb.log_artifact(best, aliases=["best"])
        try:
            self.wandb.finish(exit_code=EXIT_STATUS[ending])
        except TimeoutError:
            raise Away("the server did not take all in time; `wandb sync RUN/wandb/run-*` sends it") from None
