"""The engine of one machine: a number of jobs at a time, each a process of its own, which ends with the
sweep."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from vitlab.machine import num_cores
from vitlab.sweeps.engine import Ended, Stand
from vitlab.sweeps.jobs import Job, Sweep
from vitlab.sweeps.processes import start, visible_gpus


@dataclass
class Slot:
    """A place for one job at a time, with its share of the machine."""

    environment: Mapping[str, str]
    job: Job | None = None
    process: subprocess.Popen[bytes] | None = None

    def send(self, number: int) -> None:
        """Passes a signal on to the job's first process, which saves. A signal that kills at once goes to all
        of its processes."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                (
                    os.killpg(self.process.pid, number)
                    if number == signal.SIGKILL
                    else self.process.send_signal(number)
                )

    def clear(self) -> None:
        """Frees the place of a job whose first process has ended, and ends the processes that it left: loader
        workers, other ranks."""
        self.send(signal.SIGKILL)
        self.job = self.process = None


def slots(parallel: int, environment: Mapping[str, str]) -> list[Slot]:
    """Returns places for `parallel` jobs at a time, which share the machine's GPUs round robin and its cores
    evenly."""
    if parallel == 1:
        return [Slot(dict(environment))]
    gpus = visible_gpus(environment)
    cores = num_cores()
    threads = {"OMP_NUM_THREADS": str(max(1, cores // parallel))} | dict(environment)
    return [
        Slot(threads | ({"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} if gpus else {}))
        for index in range(parallel)
    ]


class Local:
    """Runs `parallel` jobs at a time on this machine. `command_of` gives a job's command line."""

    outlived = False

    def __init__(
        self,
        sweep: Sweep,
        command_of: Callable[[Job], list[str]],
        say: Callable[[str], None],
        parallel: int = 1,
        memory_limit_gib: float | None = None,
    ):
        self.sweep, self.command_of, self.say, self.memory_limit_gib = (
            sweep,
            command_of,
            say,
            memory_limit_gib,
        )
        self.slots = slots(parallel, os.environ)

    def start(self, jobs: Sequence[Job]) -> int:
        free = [slot for slot in self.slots if slot.job is None]
        for slot, job in zip(free, jobs, strict=False):
            self.say(f"job {job.number} starts: {job.in_words()}")
            slot.job = job
            slot.process = start(
                self.command_of(job), self.sweep.log_of(job), slot.environment, self.memory_limit_gib
            )
        return min(len(free), len(jobs))

    def state(self, job: Job) -> Stand | Ended:
        slot = next((slot for slot in self.slots if slot.job is job), None)
        if slot is None or slot.process is None:
            is_running = self.sweep.look_at(job) == "running"
            return Stand.ELSEWHERE if is_running else Stand.NOT_STARTED
        returncode = slot.process.poll()
        if returncode is None:
            return Stand.UNDER_WAY
        slot.clear()
        return Ended(returncode)

    def stop(self, jobs: Sequence[Job], number: int) -> None:
        for slot in self.slots:
            if slot.job in jobs:
                slot.send(number)
