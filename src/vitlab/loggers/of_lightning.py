"""Loggers that know Lightning alone: numbers by its own way, pictures where one has its `log_image`."""

import logging
from collections.abc import Mapping
from io import BytesIO

from PIL import Image
from pytorch_lightning.loggers import Logger

from vitlab.loggers.run_logger import RunFacts, RunLogger

log = logging.getLogger(__name__)


class OfLightning(RunLogger):
    """Tells a logger of Lightning's, or of a package that knows Lightning only, what it can take."""

    def __init__(self, logger: Logger):
        super().__init__()
        self.logger = logger
        self.log_image = getattr(logger, "log_image", None)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self.logger.log_metrics(dict(values), step)

    def picture(self, name: str, content: bytes, step: int) -> None:
        if self.log_image is not None:
            self.log_image(key=name, images=[Image.open(BytesIO(content))], step=step)

    def begin(self, run: RunFacts) -> None:
        if run.step == 0 and run.hyperparameters:
            self.logger.log_hyperparams(dict(run.hyperparameters))
        if self.log_image is None:
            log.warning(
                "%s takes numbers alone, having no log_image: a run's pictures are in %s; logger=tensorboard"
                " shows them",
                self.title,
                run.folder / "figures",
            )

    def state(self) -> dict[str, int]:
        self.logger.save()
        return {}

    @property
    def title(self) -> str:
        return type(self.logger).__name__
