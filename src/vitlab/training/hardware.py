"""Whether this machine has what a config asks for."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from vitlab.ranks import rank_and_number


def check_hardware(trainer: Mapping[str, Any]) -> None:
    """Raises ValueError where the config asks for devices that this machine lacks, or for others than
    processes were started for."""
    accelerator, devices, nodes = trainer["accelerator"], trainer["devices"], trainer.get("num_nodes", 1)
    there = {
        "gpu": torch.cuda.is_available(),
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    names = {"gpu": "CUDA GPU", "cuda": "CUDA GPU", "mps": "Apple GPU"}
    if not there.get(accelerator, True):
        raise ValueError(
            f"trainer.accelerator={accelerator}: this machine has no {names[accelerator]}; hardware=cpu or"
            " hardware=auto would work"
        )
    if devices == 0:
        raise ValueError("trainer.devices=0: a whole number from 1 up would work")
    if accelerator in ("gpu", "cuda") and isinstance(devices, int) and devices > torch.cuda.device_count():
        raise ValueError(
            f"trainer.devices={devices}: this machine has {torch.cuda.device_count()} GPU(s);"
            " trainer.devices=-1 takes all"
        )
    number = rank_and_number()[1]
    here = (
        len(devices) if isinstance(devices, list) else torch.cuda.device_count() if devices == -1 else devices
    )
    if number > 1 and (
        not isinstance(here, int) or here * nodes != number
    ):  # with one device each would train alone, in the same folder
        raise ValueError(
            f"trainer.devices={devices} x trainer.num_nodes={nodes} is not the {number} processes that were"
            " started; make them equal"
        )
    if nodes > 1 and number == 1 and "MASTER_ADDR" not in os.environ:
        raise ValueError(
            f"trainer.num_nodes={nodes}: nothing started processes on other machines; srun (hardware=slurm)"
            " or torchrun would"
        )
