"""What the command line does, from a script or a notebook: train, go on, load, predict, explain, evaluate."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from vitlab.construct import build_model
from vitlab.data.image_data import ImageData
from vitlab.data.source import Batch
from vitlab.insight.explain import explain
from vitlab.models.kernels import full_speed
from vitlab.objectives.wording import Answer
from vitlab.predictor import Predictor
from vitlab.runs.load import check_classes, data_of, load_model, objective_of
from vitlab.shapes import Heatmap, Images


class Trained(NamedTuple):
    """A finished run: its folder and its record, as run.json has it."""

    folder: Path
    record: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float]:
        """Validation and test metrics by name, such as `test/accuracy`."""
        return self.record["metrics"]

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint, or the last one where nothing was validated."""
        best = self.folder / "checkpoints" / "best.ckpt"
        return best if best.is_file() else best.with_name("last.ckpt")


def _paths(files: Any) -> list[Path]:
    """Returns picture files as paths. Raises TypeError for what names none: pictures in memory, one name
    alone."""
    if isinstance(files, str | Path):
        raise TypeError(f"files={str(files)!r} is one name; a list of them would work: [{str(files)!r}]")
    names = list(files)
    for name in names:
        if not isinstance(name, str | Path):
            raise TypeError(
                f"files: a {type(name).__name__} is no file's name; a picture saved as a file has one"
            )
    return [Path(name) for name in names]


class TrainedModel:
    """A checkpoint, ready to answer: the bare network, and what the checkpoint says of it in `card`."""

    def __init__(self, checkpoint: str | Path, device: str = "auto"):
        self.checkpoint = Path(checkpoint)
        self.model, self.card = load_model(self.checkpoint)
        self.objective = objective_of(self.card, self.checkpoint)
        self.predictor = Predictor(
            self.model,
            self.card.class_names,
            self.card.preprocessing,
            device,
            objective=self.objective,
        )

    @property
    def class_names(self) -> list[str]:
        return list(self.card.class_names)

    def images(self, files: Sequence[str | Path]) -> Images:
        """Returns picture files as the model sees them: [batch, channels, height, width]. Raises ValueError
        for one that is no image, and for none at all."""
        pictures = [self.predictor.read(path) for path in _paths(files)]
        if not pictures:
            raise ValueError("files=[] names no picture; one or more would work")
        return self.predictor.prepare(pictures)

    def predict(self, files: Sequence[str | Path], top_k: int = 3) -> list[Answer]:
        """Returns for each file its most probable classes with their probabilities: `[("rose", 0.93),
        ("tulip", 0.05)]`. Raises ValueError for a file that is no image."""
        if not isinstance(top_k, int) or top_k < 1:
            raise ValueError(f"top_k={top_k!r}: a whole number from 1 on would work")
        answers = []
        for answer in self.predictor.classify(_paths(files), min(top_k, self.objective.num_outputs)):
            if isinstance(answer, str):
                raise ValueError(answer)
            answers.append(answer)
        return answers

    def explain(self, files: Sequence[str | Path], method: str = "relevance") -> Heatmap:
        """Returns where the evidence for each answer lies: [batch, rows, columns]; see `vitlab.explain`."""
        self.objective.require_classes("explain")
        return explain(self.model, self.images(files), method)

    def data(self, split: str = "test", root: str | None = None) -> ImageData:
        """Returns the data that the model was trained on, or a folder `root` in its place, ready to be read:
        `data.splits["test"]`. Where the images have changed since then, only `split` is as the run had it.
        Raises ValueError where the data is missing or has other classes."""
        if split not in ("train", "val", "test"):
            raise ValueError(f"split={split}: train, val or test would work")
        data = data_of(self.card, split, root)
        data.prepare_data()
        data.setup()
        check_classes(data, self.card)
        return data

    def untrained(self) -> nn.Module:
        """Returns the same network with the random weights that the run's seed gives, ready for
        evaluation."""
        model = build_model(self.card.config)
        self.objective.add_parts(model)
        return model.eval()

    @torch.inference_mode()
    def evaluate(self, split: str = "test", root: str | None = None) -> dict[str, float]:
        """Returns loss and metrics of a split of the model's own data, or of a folder `root`, by names as in
        a run: `test/accuracy`. Raises ValueError where the data is missing or has other classes."""
        data = self.data(split, root)
        metrics = self.objective.all_metrics(f"{split}/")
        device, chosen = self.predictor.device, data.splits[split]
        metrics.to(device)
        with full_speed(device):
            for number, positions in enumerate(torch.arange(len(chosen)).split(data.batch_size)):
                stored = chosen[(number, positions)]
                batch = Batch(data.view(stored.images.to(device)), stored.labels.to(device), number)
                self.objective.judge(self.model, batch, metrics)
        return {name: float(value) for name, value in metrics.compute().items()}


PLACES = {"hydra.run.dir": "folder=DIR", "resume": "vitlab.resume(folder)"}
"""What overrides cannot say from Python, and what says it there."""


def _check_overrides(overrides: Sequence[Any]) -> None:
    """Raises TypeError where overrides are no texts, and ValueError where they say what only a command line
    can."""
    for each in overrides:
        if not isinstance(each, str):
            raise TypeError(
                f"overrides: {each!r} is a {type(each).__name__}; texts such as 'seed=1' would work"
            )
        key = each.partition("=")[0].lstrip("+~")
        if key in PLACES:
            raise ValueError(f"{each}: not from Python; {PLACES[key]} would work")
        if each.startswith("-") or key.startswith("sweep"):
            raise ValueError(f"{each}: a run is trained at a time; `vitlab train` takes sweeps and options")


@contextmanager
def _heard(quiet: bool) -> Iterator[None]:
    """Writes what a run says to standard error in the block, where no logging is set up."""
    logger = logging.getLogger("vitlab")
    if quiet or logger.handlers or logging.getLogger().handlers:
        yield
        return
    handler, level = logging.StreamHandler(sys.stderr), logger.level
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(lambda record: not getattr(record, "for_the_file", False))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def compose(
    *overrides: str, folder: str | Path = "outputs/run", config_dir: str | Path | None = None
) -> dict[str, Any]:
    """Returns the checked config of a training as plain data; overrides are those of the command line:
    `"model=vit_tiny"`. Raises ValueError in one line for the first thing that is wrong."""
    from vitlab.config.from_python import plain_config

    _check_overrides(overrides)
    return plain_config(overrides, Path(folder).absolute(), config_dir)[0]


def train(
    *overrides: str, folder: str | Path, config_dir: str | Path | None = None, quiet: bool = False
) -> Trained:
    """Trains and tests as `vitlab train OVERRIDES hydra.run.dir=FOLDER` does, and returns the run.
    `train("data=cifar10", "trainer.max_epochs=20", folder="outputs/mine")`. Raises ValueError in one line for
    what is wrong, and where the folder holds a run already: `resume(folder)` goes on with it."""
    from vitlab.config.continuing import take_over
    from vitlab.config.from_python import plain_config
    from vitlab.runs.record import discard_unstarted, held, load_record
    from vitlab.training.go_on import begin

    _check_overrides(overrides)
    place = Path(folder).absolute()
    if place.exists() and not place.is_dir():
        raise ValueError(f"folder={place} is a file; another name would work")
    if (place / "run.json").exists():
        raise ValueError(
            f"folder={place} holds a run already; vitlab.resume(folder) goes on with it, or name another"
            " folder"
        )
    place.mkdir(parents=True, exist_ok=True)
    with _heard(quiet), held(place):
        try:
            plain, weights, asked = plain_config(take_over(overrides), place, config_dir)
            begin(asked, plain, weights)
        finally:
            discard_unstarted(place)
    return Trained(place, load_record(place))


def resume(folder: str | Path, quiet: bool = False) -> Trained:
    """Goes on with a run that was killed, to the same bits, and returns it; a complete one stays."""
    from vitlab.config.from_record import check_form, refuse_links
    from vitlab.runs.record import Run, held, load_record
    from vitlab.training.go_on import go_on

    place = Path(folder).absolute()
    if not (place / "run.json").is_file():
        raise ValueError(f"folder={place} holds no run; a folder with a run.json would work")
    refuse_links(place)
    with _heard(quiet), held(place):
        run = Run.open(place)
        check_form(run.record, place / "run.json")
        go_on(run)
    return Trained(place, load_record(place))


def load(checkpoint: str | Path, device: str = "auto") -> TrainedModel:
    """Opens a checkpoint, or the best one of a run's folder; nothing in the file is executed. Raises
    ValueError in one line for a file that is not a whole checkpoint of vitlab's."""
    path = Path(checkpoint)
    if path.is_dir():
        path = Trained(path, {}).checkpoint
    return TrainedModel(path, device)
