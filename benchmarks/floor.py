"""The floor under a model's time: the dense layers of its blocks alone, each matrix product at the best rate
that this machine shows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.peers import Shape
from benchmarks.timing import Clock, Contestant, seconds_of

LEAST_SECONDS, TRIES = 0.02, 5


@contextmanager
def by_onednn() -> Iterator[None]:
    """Sends float32 products on the CPU to oneDNN, by torch's public setting; on a processor with AMX they
    would be rounded."""
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


def _is_accurate(product: Callable[[], Tensor], exact: Tensor) -> bool:
    with by_onednn():
        return bool((product() - exact).abs().max() < 1e-5 * exact.abs().max())


def best_seconds(product: Callable[[], Tensor], clock: Clock) -> float:
    """Returns the least seconds that a matrix product takes, by whichever library keeps its precision."""
    ways = [Contestant(product)]
    result = product()
    if result.device.type == "cpu" and result.dtype == torch.float32 and _is_accurate(product, result):
        ways.append(Contestant(product, by_onednn))
    least = float("inf")
    for way in ways:
        seconds_of(way, clock, 1)
        repeats = max(1, int(LEAST_SECONDS / max(seconds_of(way, clock, 1), 1e-6)))
        least = min(least, *(seconds_of(way, clock, repeats) for _ in range(TRIES)))
    return least


def products(
    tokens: int, inputs: int, outputs: int, training: bool, dtype: torch.dtype, device: str
) -> list[Callable[[], Tensor]]:
    """Returns the matrix products of a dense layer for so many tokens: the output, and in training both
    gradients."""
    x, weight, gradient = (
        torch.randn(*size, dtype=dtype, device=device)
        for size in ((tokens, inputs), (outputs, inputs), (tokens, outputs))
    )
    forward = [lambda: x @ weight.T]
    return [*forward, lambda: gradient @ weight, lambda: gradient.T @ x] if training else forward


def operations(shape: Shape) -> float:
    """Returns a training step's floating-point operations for one image: dense layers and attention, forward
    and twice that backward."""
    patches, width = shape.num_tokens - 1, shape.embed_dim
    block = 2 * shape.num_tokens * 12 * width**2 + 4 * shape.num_tokens**2 * width
    ends = 2 * patches * 3 * shape.patch_size**2 * width + 2 * width * shape.num_classes
    return 3.0 * (shape.depth * block + ends)


def floor(
    shape: Shape, dtype: torch.dtype, training: bool, clock: Clock, device: str = "cpu"
) -> tuple[float, float]:
    """Returns the least seconds that the blocks' dense layers take for a batch, and the rate that is, in
    operations a second."""
    tokens, width = shape.batch * shape.num_tokens, shape.embed_dim
    seconds, operations = 0.0, 0
    for inputs, outputs in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)):
        for product in products(tokens, inputs, outputs, training, dtype, device):
            seconds += shape.depth * best_seconds(product, clock)
            operations += shape.depth * 2 * tokens * inputs * outputs
    return seconds, operations / seconds
