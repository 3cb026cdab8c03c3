"""One shape and precision, all libraries' models in turn: what inference and training have in common."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.floor import floor
from benchmarks.machine import Setting, table
from benchmarks.peers import Builder, Shape, is_ours, kernels_of
from benchmarks.timing import Contestant, interleave, ratios, spread

PRECISIONS = {"float32": torch.float32, "bf16-autocast": torch.bfloat16}

Work = Callable[[], object]
MakeWork = Callable[[str, nn.Module, Tensor, Tensor, Callable[[], AbstractContextManager[Any]]], Work]
"""Of a contestant's name, its model, images, labels, and the precision's context."""


@dataclass(frozen=True)
class Race:
    """What came of it: seconds a batch for each round, and the number of parameters, by contestant."""

    seconds: dict[str, list[float]]
    parameters: dict[str, int]


def race(
    setting: Setting,
    shape: Shape,
    precision: str,
    builders: Mapping[str, Builder],
    make_work: MakeWork,
    training: bool,
    rounds: int,
) -> Race:
    """Builds every model and lets them run on the same batch, in turn; vitlab's with the kernels that `vitlab
    train` chooses."""
    torch.manual_seed(0)
    images = torch.randn(shape.batch, 3, shape.image_size, shape.image_size, device=setting.device)
    labels = torch.randint(0, shape.num_classes, (shape.batch,), device=setting.device)
    autocast = partial(torch.autocast, setting.device, torch.bfloat16, enabled=precision == "bf16-autocast")
    contestants, parameters = {}, {}
    # ours last: the others shall first run in a process whose allocator nobody has changed
    for name, build in sorted(builders.items(), key=lambda item: is_ours(item[0])):
        model = build(shape).to(setting.device).train(training)
        parameters[name] = sum(parameter.numel() for parameter in model.parameters())
        contestants[name] = Contestant(
            make_work(name, model, images, labels, autocast), partial(kernels_of, name, setting.device)
        )
    seconds = interleave(contestants, rounds, setting.ticks())
    return Race({name: seconds[name] for name in builders}, parameters)


def contest(
    setting: Setting,
    shape: Shape,
    precision: str,
    builders: Mapping[str, Builder],
    make_work: MakeWork,
    training: bool,
    rounds: int,
) -> Iterator[str]:
    """Yields a table of all models' images a second, compared within rounds to timm and to vitlab, and with
    the floor."""
    ended = race(setting, shape, precision, builders, make_work, training, rounds)
    least, rate = floor(shape, PRECISIONS[precision], training, setting.ticks(), setting.device)
    seconds, rows = ended.seconds, []
    for name, values in seconds.items():
        over_timm = spread(ratios(seconds["timm"], values))
        ours = spread(ratios(values, seconds["vitlab"])) if name != "vitlab" else ""
        share = f"{100 * least / statistics.median(values):.0f} %"
        rows.append(
            (
                name,
                f"{ended.parameters[name]:,}",
                spread([shape.batch / value for value in values], 1),
                over_timm,
                ours,
                share,
            )
        )
    unit = setting.rate_unit
    work = "training step" if training else "inference"
    where = f"{setting.device}, {torch.get_num_threads()} thread(s)"
    yield f"### {work}, {shape.name}, {precision}, batch {shape.batch}, {where}, {rounds} rounds"
    yield table(("", "parameters", unit, "speed over timm", "vitlab over it", "of the floor"), rows)
    yield (
        f"The floor, {shape.batch / least:,.1f} {unit}: the blocks' dense layers alone, at the best rate"
        f" seen, {rate / 1e9:,.0f} GFLOP/s."
    )
