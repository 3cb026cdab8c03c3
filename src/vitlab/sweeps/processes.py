"""The processes of jobs: started so that nothing they do reaches each other, and read for how they ended."""

import ctypes
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from vitlab.machine import nvidia_smi

PR_SET_PDEATHSIG = 1

ASKED_TO_STOP = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL}
"""Signals that come from outside, so that the job can go on later; any other is a crash of its own."""

BEGINNING = "$ "
"""What stands before a command in a log."""

_prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _become_job(memory_limit_gib: float | None) -> None:
    """Runs in the new process before its program and resets what it inherits from the sweep's process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in what a shell starts with &
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # a job whose sweep was killed saves and ends
    if memory_limit_gib is not None:
        limit = int(memory_limit_gib * 2**30)
        resource.setrlimit(
            resource.RLIMIT_DATA, (limit, limit)
        )  # not RLIMIT_AS: libraries and CUDA map far more than they use


def begin_log(log: Path, command: Sequence[str]) -> None:
    """Adds the command line of a job that is about to start to its log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"{BEGINNING}{' '.join(shlex.join(command).splitlines())}\n")


def start(
    command: Sequence[str], log: Path, environment: Mapping[str, str], memory_limit_gib: float | None
) -> subprocess.Popen[bytes]:
    """Starts a job in its own session, so that Ctrl-C at the terminal does not reach it. Its output is added
    to `log`.

    `memory_limit_gib` bounds the memory of each of its processes, counted as the system's RLIMIT_DATA.
    """
    begin_log(log, command)
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=partial(_become_job, memory_limit_gib),
        )


def how_it_ended(
    returncode: int | None, status: str | None, reason: str | None, log: Path
) -> tuple[str, str | None]:
    """Returns a job's status and the reason, from its process's end (None: nobody knows it) and its run's
    record.

    The last line of output is the reason where a process ended without a record of it, or with another status
    than the record says.
    """
    if status == "completed":
        return "completed", None
    if returncode is None:
        return _by_its_record(status, reason, _said_last(log))
    if returncode < 0:
        number = signal.Signals(-returncode)
        hint = ", as the system does when memory is short" if number is signal.SIGKILL else ""
        return ("interrupted" if number in ASKED_TO_STOP else "failed"), f"killed by {number.name}{hint}"
    if returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return "interrupted", reason
    said = reason if status == "failed" and reason else _said_last(log)
    return "failed", said if status == "failed" and reason else f"exit status {returncode}: {said}"


def _by_its_record(status: str | None, reason: str | None, line: str) -> tuple[str, str | None]:
    """Returns how a job ended of whose processes nobody knows more than that they are gone."""
    if status == "running" or (status == "interrupted" and reason is None):
        return "interrupted", f"killed; its last line: {line}"
    if status is None and line.startswith(BEGINNING):
        return "interrupted", "it was taken out of the queue before it began"
    return (status, reason) if status is not None else ("failed", f"no run began: {line}")


def last_line(log: Path) -> str | None:
    """Returns the last line of a log that is not empty; None where there is none."""
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line.strip() for line in text.splitlines()[-50:]]
    return next((line for line in reversed(lines) if line), None)


def _said_last(log: Path) -> str:
    return last_line(log) or "nothing was printed"


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Returns the GPUs that jobs can be given, as CUDA_VISIBLE_DEVICES names them, without loading CUDA."""
    if (given := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in given.split(",") if gpu.strip()]
    return nvidia_smi("index")
