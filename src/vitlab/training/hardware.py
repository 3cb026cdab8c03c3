"""Whether this machine has what a config asks for."""

import logging
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from vitlab.ranks import is_shell, rank_and_number, refuse_missing_srun

log = logging.getLogger(__name__)


def check_hardware(trainer: Mapping[str, Any]) -> None:
    """Raises ValueError where the config asks for devices that are not here, or not these processes."""
    accelerator, devices, nodes = trainer["accelerator"], trainer["devices"], trainer.get("num_nodes", 1)
    is_cuda = accelerator in ("gpu", "cuda")
    name = "CUDA GPU" if is_cuda else "Apple GPU"
    is_there = torch.cuda.is_available() if is_cuda else torch.backends.mps.is_available()
    if (is_cuda or accelerator == "mps") and not is_there:
        raise ValueError(
            f"trainer.accelerator={accelerator}: this machine has no {name}; hardware=cpu or hardware=auto"
            " would work"
        )
    if devices == 0:
        raise ValueError("trainer.devices=0: a whole number from 1 up would work")
    if is_cuda and isinstance(devices, int) and devices > torch.cuda.device_count():
        raise ValueError(
            f"trainer.devices={devices}: this machine has {torch.cuda.device_count()} GPU(s);"
            " trainer.devices=-1 takes all"
        )
    refuse_missing_srun()
    number, here = rank_and_number()[1], _devices_here(accelerator, devices)
    if number > 1 and here * nodes != number:  # with one device each would train alone, in the same folder
        fits = number % nodes == 0
        raise ValueError(
            f"trainer.devices={devices} x trainer.num_nodes={nodes} is not the {number} processes that were"
            f" started; {f'trainer.devices={number // nodes}' if fits else 'trainer.num_nodes=1'} would work"
        )
    if nodes > 1 and number > 1:
        _tell_of_loopback()
    if nodes > 1 and number == 1 and "MASTER_ADDR" not in os.environ:
        shell = ""
        if is_shell() and "SLURM_STEP_ID" in os.environ:
            name = os.environ["SLURM_JOB_NAME"]
            shell = f" (SLURM_JOB_NAME={name} is taken for a shell: srun --job-name=night)"
        raise ValueError(
            f"trainer.num_nodes={nodes}: nothing started processes on other machines; srun (hardware=slurm)"
            f" or torchrun would{shell}"
        )


LOOPBACK = (
    "the host name %s resolves to %s here, so other machines may wait for it in vain: give it its network"
    " address in /etc/hosts, or torchrun --local-addr=ADDRESS and GLOO_SOCKET_IFNAME=eth0"
)


def _tell_of_loopback() -> None:
    """Says of host names that mean this machine alone: several machines would wait in vain."""
    if os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) != "0":
        return  # one process of each machine says it
    names = {socket.gethostname()} if "GLOO_SOCKET_IFNAME" not in os.environ else set()
    if int(os.environ.get("GROUP_RANK", 0)) > 0:  # the first machine may know itself by any address
        names.add(os.environ["MASTER_ADDR"])
    for name in sorted(names):
        with suppress(OSError):
            if (address := socket.gethostbyname(name)).startswith("127."):
                log.warning(LOOPBACK, name, address)


def _devices_here(accelerator: str, devices: Any) -> int:
    """Returns how many devices of this machine a config asks for; 0 where only Lightning could tell, which
    is for no processes that others have started."""
    if isinstance(devices, list):
        return len(devices)
    if devices == -1 and accelerator in ("gpu", "cuda"):
        return torch.cuda.device_count()
    return devices if isinstance(devices, int) and devices > 0 else 0
