"""SLURM as a run sees it: which job it is part of, what becomes of that job, and how it queues itself again.

No accounting is needed: squeue and scontrol are asked, which every cluster has.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import NoReturn

from vitlab.programs import ask
from vitlab.ranks import rank_and_number

FRESH_SECONDS = 1.0
"""So long squeue's answer counts: a list of a thousand runs asks once."""

_answers: dict[str, tuple[float, set[str]]] = {}


def _ask(*command: str) -> str:
    """Returns what one of SLURM's commands prints. Raises OSError or SubprocessError where it cannot."""
    known = {name: os.environ[name] for name in ("SLURM_CONF", "SLURM_CLUSTERS") if name in os.environ}
    return ask(command, None, **known)


def this_job(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Returns the id (`12`, of an array `12_3`), the cluster and the restart count of the job that this
    process is part of; None outside SLURM."""
    if "SLURM_JOB_ID" not in environment:
        return None
    job, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return {
        "job": f"{job}_{task}" if job and task else environment["SLURM_JOB_ID"],
        "cluster": environment.get("SLURM_CLUSTER_NAME", ""),
        "restarts": environment.get("SLURM_RESTART_COUNT", "0"),
    }


@cache
def cluster_here() -> str | None:
    """Returns the name of the cluster whose SLURM answers on this machine; None where none does."""
    try:
        found = re.search(r"^ClusterName\s*= (\S+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    except (OSError, subprocess.SubprocessError):
        return None
    return found and found[1]


def is_queued(job: Mapping[str, str], user: int) -> bool | None:
    """Tells whether a job of the user with this number waits or runs; None where SLURM cannot tell."""
    here = cluster_here()
    if here is None or job.get("cluster") not in ("", here):
        return None
    asked_at, jobs = _answers.get(str(user), (-FRESH_SECONDS, set()))
    if time.monotonic() - asked_at > FRESH_SECONDS:
        try:
            jobs = set(_ask("squeue", "--noheader", "--array", f"--user={user}", "--format=%i").split())
        except (OSError, subprocess.SubprocessError):
            return None
        _answers[str(user)] = time.monotonic(), jobs
    return job["job"] in jobs


def is_making_room(job: Mapping[str, str]) -> bool:
    """Tells whether SLURM is preempting this job: in its time of grace it has got SIGTERM, and SLURM would
    book it as failed if it ended by itself. After a plain scancel it is not."""
    try:
        told = _ask("scontrol", "show", "job", job["job"])
    except (OSError, subprocess.SubprocessError):
        return False
    return re.search(r"\bPreemptTime=\d", told) is not None


def queue_again_if_asked(number: int) -> str | None:
    """Puts the job of this process back into the queue, where the same command will find its run, if this
    signal asks for that: SIGUSR1, and SIGTERM while SLURM makes room for another job. Returns what to say."""
    job = this_job()
    if job is None or not (number == signal.SIGUSR1 or (number == signal.SIGTERM and is_making_room(job))):
        return None
    try:
        _ask("scontrol", "requeue", job["job"])
    except (OSError, subprocess.SubprocessError) as error:
        return f"scontrol requeue {job['job']} failed ({error}); what is saved stays: start it again by hand"
    return f"requeued SLURM job {job['job']}"


@contextmanager
def obeyed_from_the_start() -> Iterator[None]:
    """Has a job that is asked to make room before its run has begun, while torch is imported for one, queue
    itself again and leave: SLURM would book it as failed. Once the block has ended, the process is as good
    as gone, and hears no more. Outside SLURM nothing changes."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        line = queue_again_if_asked(number) if rank_and_number()[0] == 0 else None
        told = f"{signal.Signals(number).name} outside the run" + (f": {line}" if line else "")
        os.write(2, f"vitlab: {told}\n".encode())
        sys.exit(128 + number)

    for each in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(each, leave)
    try:
        yield
    finally:  # how it ended is written: a process that was done, and then killed by SIGUSR1, counts as failed
        for each in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(each, signal.SIG_IGN)
