"""Whether an exported file says what the model says: asked before the export is called one."""

import torch

from vitlab.data.preprocessing import Preprocessing
from vitlab.shapes import Images, Logits


def random_images(facts: Preprocessing, count: int) -> Images:
    """Returns `count` random images as a checkpoint's preprocessing makes them, the same each time."""
    return torch.randn(
        (count, facts.in_channels, *facts.image_size), generator=torch.Generator().manual_seed(0)
    )


def hold_equal(expected: Logits, given: Logits, tolerance: float, format_name: str) -> None:
    """Raises ValueError where logits differ by more than `tolerance`, absolute and relative."""
    difference = (expected - given).abs()
    if not bool((difference <= tolerance * (1 + expected.abs())).all()):
        raise ValueError(
            f"format={format_name}: the exported file's logits differ from the model's by"
            f" {difference.max():.1e}; it was not kept"
        )
