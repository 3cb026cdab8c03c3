"""Mean and standard deviation of images, channel by channel: stated in the config, or measured."""

import logging
import math

import torch

from vitlab.data.splits import Split

log = logging.getLogger(__name__)

CHUNK_NUMBERS = 1 << 24
"""Numbers that are measured at a time."""


def check_statistics(mean: list[float] | None, std: list[float] | None, in_channels: int) -> None:
    """Raises ValueError for an impossible mean or deviation in the config. None states nothing."""
    for key, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != in_channels:
            raise ValueError(
                f"data.{key}={values} has {len(values)} value(s) for data.in_channels={in_channels}; give"
                " one a channel"
            )
        if values is not None and not all(map(math.isfinite, values)):
            raise ValueError(f"data.{key}={values} must be finite")
    if std and min(std) <= 0:
        raise ValueError(f"data.std={std} must be above 0 in each channel")


def measure_statistics(split: Split) -> tuple[list[float], list[float]]:
    """Returns mean and deviation of each channel of a split's images, on a scale from 0 to 1."""
    samples = split.samples
    count = min(len(split), samples.measured)
    chosen = torch.arange(count) * len(split) // count
    counts = torch.zeros(samples.size[0], 256, dtype=torch.int64)  # how often each channel has each level
    for positions in chosen.split(max(CHUNK_NUMBERS // math.prod(samples.size), 1)):
        pixels = split[(0, positions)].images
        counts += torch.stack([channel.flatten().bincount(minlength=256) for channel in pixels.unbind(1)])
    if count < len(split):
        some = f"{count:,} of {len(split):,} training images"
        log.info("data.mean and data.std: measured on %s", some)
    levels = torch.arange(256, dtype=torch.float64) / 255
    shares = counts / counts.sum(dim=1, keepdim=True, dtype=torch.float64)
    mean = shares @ levels
    std = (shares @ levels**2 - mean**2).clamp_min(1e-8).sqrt()
    return [round(v, 4) for v in mean.tolist()], [round(v, 4) for v in std.tolist()]
