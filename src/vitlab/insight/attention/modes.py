"""The modes a model is looked at in: evaluation, eager, no inference mode; then all is as before."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def looked_at(model: nn.Module) -> Iterator[None]:
    """Puts every module into evaluation mode, without compiled graphs, within the block."""
    training = [module for module in model.modules() if module.training]
    if training:  # a mode is slow to set on many modules
        model.eval()
    try:
        # gradients need plain tensors, also where a validation loop runs in inference mode
        with torch.inference_mode(False), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module in training:
            module.training = True
