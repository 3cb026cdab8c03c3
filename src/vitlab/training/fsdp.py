"""Weights, gradients and optimizer states spread over the devices, for models that do not fit one."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor


class FullySharded(ModelParallelStrategy):
    """PyTorch's FSDP2 ("PyTorch FSDP", Zhao et al. 2023, arXiv:2304.11277): each device holds a part of every
    weight.

    A block's weights come together when it computes. The devices of a machine share one model; several
    machines hold copies. Parameters keep names and shapes, so that parameter groups and clipping see what
    they see without it, and a checkpoint is one file of whole tensors that one process loads.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    def connect(self, model: pl.LightningModule) -> None:
        # Lightning calls this hook of the module for the sharding, and only where the module overrides it
        vars(model)["configure_model"] = lambda: self._shard(model)
        super().connect(model)

    def _shard(self, module: pl.LightningModule) -> None:
        mesh = self.device_mesh  # machines, and devices in each
        mesh = mesh if mesh.size(0) > 1 else mesh[mesh.mesh_dim_names[-1]]  # type: ignore[index]
        network: Any = module.model
        if any(isinstance(parameter, DTensor) for parameter in network.parameters()):
            return  # a test after a fit
        for block in getattr(network, "blocks", ()):
            fully_shard(block, mesh=mesh)
        fully_shard(network, mesh=mesh)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads plain data, whatever the caller asks for: Lightning would not ask."""
        return super().load_checkpoint(checkpoint_path, weights_only=True)


def whole_weights(trainer: pl.Trainer, model: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the state dict of the trainer's `model` on the first process; all processes call this."""
    if not isinstance(trainer.strategy, FullySharded):
        return model.state_dict()
    state = trainer.strategy.lightning_module_state_dict()
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
