"""How long `vitlab train` takes to its first step, beside what no Lightning program can avoid: its import, a
model and the data.

Each start is a process of its own, in turn, with one thread; seconds of work (CPU), which another process on
the machine does not touch.
"""

import json
import tempfile
from collections.abc import Iterator

from benchmarks.child import run_python
from benchmarks.machine import Setting, table
from benchmarks.timing import ratios, spread

LIBRARIES = ("pytorch-lightning", "hydra-core", "tensorboard")
LEAST = """
import json
import pytorch_lightning
from benchmarks.small import digits, digits_vit
from benchmarks.watch import seconds_of_work
digits(64), digits_vit()
print(json.dumps(seconds_of_work()))
"""
TRAIN = (
    "-m",
    "vitlab.cli",
    "train",
    "experiment=digits_vit",
    "hardware=cpu",
    "+callbacks.end._target_=benchmarks.watch.EndAtFirstStep",
)


def train(*overrides: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return run_python(
            *TRAIN, *overrides, f"hydra.run.dir={folder}", threads=1, VITLAB_TARGETS="benchmarks"
        )[0]


STARTS = {
    "import pytorch_lightning, build model and data": lambda: run_python("-c", LEAST, threads=1)[0],
    "vitlab train": train,
    "vitlab train without pictures": lambda: train("callbacks=[default,ema]"),
}


def measure(setting: Setting) -> Iterator[str]:
    rounds = setting.rounds_or(3)
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    for number in range(rounds + 1):
        for name, start in STARTS.items():
            taken = json.loads(start().splitlines()[-1])
            if number:  # the first round reads files that are not in memory yet
                seconds[name].append(taken)
    least = next(iter(STARTS))
    yield (
        f"### seconds of work since the process began, experiment=digits_vit, one thread, {rounds} rounds and"
        " one uncounted"
    )
    yield table(
        ("", "seconds", "over the first row"),
        [(name, spread(values), spread(ratios(values, seconds[least]))) for name, values in seconds.items()],
    )
