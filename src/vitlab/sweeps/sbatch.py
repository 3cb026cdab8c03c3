"""SLURM's commands: what they are told of a sweep's jobs, and what they answer."""

import os
import subprocess
from collections.abc import Mapping, Sequence

USUAL = {"requeue": True, "open-mode": "append", "signal": "SIGUSR1@180"}
"""Options of sbatch that a sweep gives its jobs unless it is told others: a job whose time is up saves, and
queues again."""

SEVERAL = ("nodes", "ntasks", "ntasks-per-node", "ntasks-per-gpu")
"""Options that ask for more than one process, which srun starts."""


class Refused(Exception):
    """SLURM did not do what it was told."""


def ask_slurm(command: Sequence[str]) -> str:
    """Returns what one of SLURM's commands prints. Raises Refused with its last line where it fails."""
    # a sweep may be a SLURM job itself, and its own number of tasks is not that of its jobs
    environment = {
        key: value
        for key, value in os.environ.items()
        if key == "SLURM_CONF" or not key.startswith(("SLURM_", "SBATCH_"))
    }
    try:
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    except subprocess.TimeoutExpired:
        raise Refused(f"{command[0]} timed out") from None
    except OSError as error:
        raise Refused(f"{command[0]}: {error.strerror}") from None
    if ended.returncode != 0:
        raise Refused((ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1])
    return ended.stdout


def option_name(key: str) -> str:
    return key.replace("_", "-")


def as_options(options: Mapping[str, object]) -> list[str]:
    """Returns options as sbatch takes them: `gpus: 1` as --gpus=1, `exclusive: true` as --exclusive, and
    nothing for what is null or false."""
    given = USUAL | {option_name(key): value for key, value in options.items()}
    if "signal" not in {option_name(key) for key in options} and not starts_several(options):
        given["signal"] = f"B:{USUAL['signal']}"  # to the batch script, which has become the run itself
    return [
        f"--{key}" if value is True else f"--{key}={value}"
        for key, value in given.items()
        if value is not None and value is not False
    ]


def starts_several(options: Mapping[str, object]) -> bool:
    return any(option_name(key) in SEVERAL for key in options)
