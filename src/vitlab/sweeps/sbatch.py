"""SLURM's commands: what they are told of a sweep's jobs, and what they answer."""

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from subprocess import PIPE
from typing import Any

USUAL = {"requeue": True, "open-mode": "append"}
"""Options of sbatch that a sweep gives its jobs unless it is told others: a job whose time is up saves, and
queues again."""

WARNING_SECONDS = 180
"""A job hears so long before its time is up; of a short time a quarter before."""

SEVERAL = ("nodes", "ntasks", "ntasks-per-node", "ntasks-per-gpu")
"""Options that ask for more than one process, which srun starts."""


class Refused(Exception):
    """SLURM did not do what it was told."""


LOOK_SECONDS, MOST_SECONDS = 0.25, 120.0
"""So often what a command says is looked at, and so long it may take."""


def ask_slurm(command: Sequence[str]) -> str:
    """Returns what one of SLURM's commands prints. Raises Refused with its last line where it fails, and
    where it would sleep and try again for minutes, as sbatch does where the queue is full."""
    # a sweep may be a SLURM job itself, and its own number of tasks is not that of its jobs
    environment = {
        key: value
        for key, value in os.environ.items()
        if key == "SLURM_CONF" or not key.startswith(("SLURM_", "SBATCH_"))
    }
    try:
        process = subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=environment)
    except OSError as error:
        raise Refused(f"{command[0]}: {error.strerror}") from None
    with process:
        printed, said = _communicate(process, command[0])
    if process.returncode != 0:
        raise Refused(_in_a_line(said, command[0]) or f"exit status {process.returncode}")
    return printed


def _in_a_line(said: str, program: str) -> str:
    """Returns the last two lines that a program said, of which often only the first is the reason."""
    name = f"{program}: error: "
    lines = [line.removeprefix(name) for line in said.strip().splitlines()[-2:]]
    return name * bool(lines) + "; ".join(lines)


def _communicate(process: subprocess.Popen[str], program: str) -> tuple[str, str]:
    """Returns all that a process prints, and says of what is wrong; it is ended where it does not come to an
    end."""
    ends = time.monotonic() + MOST_SECONDS
    while True:
        try:
            return process.communicate(timeout=LOOK_SECONDS)
        except subprocess.TimeoutExpired as waiting:
            so_far: Any = waiting.stderr or b""  # bytes, also where text is read
            if (is_late := time.monotonic() > ends) or b"retrying" in so_far:
                process.kill()
                said = so_far.decode(errors="replace").strip().splitlines()
                raise Refused(f"{program} timed out" if is_late else said[-1]) from None


NO_ANSWER = re.compile(r"timed out|unable to contact|connection refused", re.IGNORECASE)
"""What sbatch and squeue say where SLURM's controller does not answer, or too late."""

LATER = re.compile(r"temporarily|queue full|try again", re.IGNORECASE)
"""What sbatch says where time helps, also if this sweep has nothing in the queue."""

FEWER = re.compile(r"submit ?job|submit limit|job array|too large", re.IGNORECASE)
"""What sbatch says where fewer tasks would be taken."""

LIMIT = re.compile(r"\b(?:Assoc|QOS)\w+Limit\b")
"""By what name an association's or a QOS's limit is told where accounting keeps one."""


def has_no_answer(why: str) -> bool:
    """Tells of what SLURM said whether its controller may have taken jobs and not answered."""
    return NO_ANSWER.search(why) is not None


def what_helps(why: str) -> tuple[bool, bool]:
    """Tells of what SLURM said whether fewer tasks would help, and whether time alone would."""
    if limit := LIMIT.search(why):  # others' jobs count too; one of size or time holds for ever
        return "Submit" in limit[0], "Submit" in limit[0]
    is_for_later = has_no_answer(why) or LATER.search(why) is not None
    return is_for_later or FEWER.search(why) is not None, is_for_later


def option_name(key: str) -> str:
    return key.replace("_", "-")


def _in_seconds(time: object) -> float:
    """Returns a time as sbatch reads it: 90 and 90:00 are minutes, 1:30:00 and 0-1:30 an hour and a half."""
    days, dash, rest = str(time).rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        parts = parts + [0] * (3 - len(parts)) if dash or len(parts) == 3 else [0, *parts, 0][:3]
        return ((int(days or 0) * 24 + parts[0]) * 60 + parts[1]) * 60 + parts[2]
    except ValueError:  # UNLIMITED, or what sbatch will refuse
        return float("inf")


def as_options(options: Mapping[str, object]) -> list[str]:
    """Returns options as sbatch takes them: `gpus: 1` as --gpus=1, `exclusive: true` as --exclusive,
    `requeue: false` as --no-requeue, and nothing for what is null or false otherwise."""
    told = {option_name(key): value for key, value in options.items()}
    if told.get("requeue") is False:
        told = told | {"requeue": None, "no-requeue": True}
    before = int(min(WARNING_SECONDS, _in_seconds(told.get("time") or "UNLIMITED") / 4))
    # to the batch script, which has become the run itself, or to the steps of several processes
    usual = USUAL | {"signal": f"{'' if starts_several(options) else 'B:'}SIGUSR1@{before}"}
    return [
        f"--{key}" if value is True else f"--{key}={value}"
        for key, value in (usual | told).items()
        if value is not None and value is not False
    ]


def starts_several(options: Mapping[str, object]) -> bool:
    return any(option_name(key) in SEVERAL for key in options)
