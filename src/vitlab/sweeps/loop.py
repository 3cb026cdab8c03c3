"""The loop of a sweep: a number of jobs at a time, each in its own process, until all have ended or a signal
asks for the end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Protocol, runtime_checkable

from vitlab.machine import num_cores
from vitlab.sweeps.jobs import ENDED, Job, Sweep
from vitlab.sweeps.processes import how_it_ended, start, visible_gpus

POLL_SECONDS = 0.1


@runtime_checkable
class Search(Protocol):
    """Decides on further jobs from the results of earlier ones."""

    def ask(self) -> Job | None:
        """Returns the next job to run, or None once there are enough."""
        ...

    def is_hopeless(self, job: Job) -> bool:
        """Tells from a running job's progress whether it may as well stop."""
        ...

    def tell(self, job: Job) -> None:
        """Takes in how a job ended."""
        ...


@dataclass
class Slot:
    """A place for one job at a time, with its share of the machine. `pruned` is set once its job was asked to
    stop for lack of hope."""

    environment: Mapping[str, str]
    job: Job | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pruned: bool = False

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


class Signals:
    """Ctrl-C and SIGTERM as requests: the first is kept in `asked`; any further one means at once."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self.passed_on = self.at_once = False

    def take(self, number: int, frame: FrameType | None) -> None:
        self.at_once = self.asked is not None
        self.asked = self.asked or number


@contextmanager
def signals() -> Iterator[Signals]:
    """Catches the signals while the block runs."""
    taken = Signals()
    before = {number: signal.signal(number, taken.take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield taken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


class Loop:
    """Runs the jobs of a sweep that have not ended, then those that a search asks for. `command_of` gives a
    job's command line."""

    def __init__(
        self,
        sweep: Sweep,
        command_of: Callable[[Job], list[str]],
        say: Callable[[str], None],
        search: Search | None = None,
        parallel: int = 1,
        memory_limit_gib: float | None = None,
    ):
        self.sweep, self.command_of, self.say, self.search, self.memory_limit_gib = (
            sweep,
            command_of,
            say,
            search,
            memory_limit_gib,
        )
        self.slots = slots(parallel, os.environ)

    def run(self) -> int | None:
        """Runs to the end and returns None, or the number of the signal that ended the sweep early. Its jobs
        then had time to save, unless a second signal came."""
        with signals() as taken:
            for job in [job for job in self.sweep.jobs if job.status == "running"]:
                self.say(
                    f"job {job.number} still runs in a process that an earlier call started; waiting for it"
                )
                while self.sweep.look_at(job) == "running" and taken.asked is None:
                    time.sleep(POLL_SECONDS)
            pending = [job for job in self.sweep.jobs if job.status in ("waiting", "interrupted")]
            try:
                while True:
                    self._bury()
                    if taken.asked is None:
                        self._fill(pending)
                    else:
                        self._pass_on(taken)
                    if not any(slot.job for slot in self.slots):
                        return taken.asked
                    self._prune()
                    time.sleep(POLL_SECONDS)
            finally:  # of a mistake of ours too the jobs can save
                for slot in self.slots:
                    slot.send(signal.SIGTERM)
                self.sweep.write()

    def _fill(self, pending: list[Job]) -> None:
        """Starts a job in each free slot while there are jobs."""
        for slot in self.slots:
            if slot.job is None:
                job = pending.pop(0) if pending else self.search.ask() if self.search is not None else None
                if job is not None:
                    self._begin(slot, job)

    def _begin(self, slot: Slot, job: Job) -> None:
        job.status, job.reason, job.attempts = "running", None, job.attempts + 1
        self.sweep.write()
        self.say(
            f"job {job.number} starts:"
            f" {' '.join(f'{key}={value}' for key, value in job.varied.items()) or 'nothing varied'}"
        )
        slot.job, slot.pruned, slot.started = job, False, time.monotonic()
        slot.process = start(
            self.command_of(job), self.sweep.log_of(job), slot.environment, self.memory_limit_gib
        )

    def _bury(self) -> None:
        """Takes in the jobs whose processes have ended."""
        for slot in self.slots:
            if (
                slot.job is not None
                and slot.process is not None
                and (returncode := slot.process.poll()) is not None
            ):
                job = slot.job
                slot.clear()
                self._end(job, returncode, time.monotonic() - slot.started, slot.pruned)

    def _end(self, job: Job, returncode: int, seconds: float, pruned: bool) -> None:
        status = self.sweep.look_at(job)
        job.status, job.reason = how_it_ended(returncode, status, job.reason, self.sweep.log_of(job))
        if pruned and job.status == "interrupted":
            job.status, job.reason = "pruned", "behind the others"
        job.seconds = job.seconds or round(seconds, 1)
        self.sweep.write()
        if self.search is not None and job.status in ENDED:
            self.search.tell(job)
        metric = self.sweep.facts["metric"]
        result = f": {metric} {job.metrics[metric]:.4f}" if metric in job.metrics else ""
        result = f": it has no {metric}" if not result and job.status == "completed" else result
        why = f": {job.reason}" if job.reason else ""
        of_all = f" of {len(self.sweep.jobs)}" if self.search is None else ""
        ended = sum(job.status in ENDED for job in self.sweep.jobs)
        self.say(
            f"job {job.number} {job.status} after {job.seconds:.0f} s{result}{why}  [{ended}{of_all} ended]"
        )

    def _pass_on(self, taken: Signals) -> None:
        """Hands a signal to the jobs, once; the second one kills."""
        if taken.asked is not None and not taken.passed_on:
            taken.passed_on = True
            self.say(
                f"{signal.Signals(taken.asked).name}: the running jobs save and end; once more to end them at"
                " once"
            )
            for slot in self.slots:
                slot.send(taken.asked)
        elif taken.at_once:
            for slot in self.slots:
                slot.send(signal.SIGKILL)

    def _prune(self) -> None:
        """Asks jobs to stop that the search has given up."""
        for slot in self.slots:
            if (
                self.search is not None
                and slot.job is not None
                and not slot.pruned
                and self.search.is_hopeless(slot.job)
            ):
                slot.pruned = True
                slot.send(signal.SIGTERM)
