"""A pass over the test images outside Lightning's loop, for a second model or for changed images."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vitlab.data.augment.crop import centre_view
from vitlab.data.image_data import ImageData
from vitlab.evaluation.answers import Answers
from vitlab.objectives.objective import Objective

Change = Callable[[Tensor, Tensor], Tensor]
"""Takes images before they are normalised, uint8 [batch, channels, height, width], and their places."""


def look(
    trainer: pl.Trainer, model: nn.Module, objective: Objective, data: ImageData, change: Change | None = None
) -> Answers:
    """Returns what a model says of the test images, by the trainer's precision, device and limit."""
    device, plugin = trainer.strategy.root_device, trainer.precision_plugin
    model = plugin.convert_module(model).to(device).eval()
    data.trainer = trainer
    found: list[tuple[Tensor, Tensor]] = []
    first = 0
    for batch in islice(data.test_dataloader(), int(trainer.num_test_batches[0])):
        pixels = batch.images.to(device)
        if change is not None:
            seen = centre_view(pixels, data.eval_size)
            pixels = change(seen, torch.arange(first, first + len(pixels)))
        first += len(pixels)
        images = data.view(pixels)
        with torch.inference_mode(), plugin.forward_context():
            outputs: Any = objective.outputs(model, plugin.convert_input(images))
        found.append((outputs.float().cpu(), batch.labels))
    return Answers(*(torch.cat(each) for each in zip(*found, strict=True)))
