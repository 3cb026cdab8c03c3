"""The loop of a sweep: jobs are started where an engine has room for them, and looked at until all have ended
or a signal asks for the end."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, runtime_checkable

from vitlab.sweeps.engine import Ended, Engine, Stand
from vitlab.sweeps.jobs import ENDED, Job, Sweep
from vitlab.sweeps.processes import how_it_ended

POLL_SECONDS = 0.1

BEHIND = "behind the others"

FULL_SECONDS = 60.0
"""After so long an engine is asked again that had no room, although none of its jobs has ended."""


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


class Signals:
    """Ctrl-C, SIGTERM and a SLURM job's SIGUSR1 as requests: the first is kept in `asked`; any further one
    means at once."""

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
    numbers = [signal.SIGINT, signal.SIGTERM, *[signal.SIGUSR1] * ("SLURM_JOB_ID" in os.environ)]
    before = {number: signal.signal(number, taken.take) for number in numbers}
    try:
        yield taken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Loop:
    """Runs the jobs of a sweep that have not ended, then those that a search asks for, `at_once` at a time
    (None: all that the engine has room for)."""

    def __init__(
        self,
        sweep: Sweep,
        engine: Engine,
        say: Callable[[str], None],
        search: Search | None = None,
        at_once: int | None = None,
    ):
        self.sweep, self.engine, self.say, self.search, self.at_once = sweep, engine, say, search, at_once
        self.pending: list[Job] = []
        self.active: dict[int, Job] = {}
        self.elsewhere: set[int] = set()  # of these, the ones that hear no signal of this process
        self.began: dict[int, float] = {}
        self.full_since: float | None = None

    def run(self, detach: bool = False) -> int | None:
        """Runs to the end and returns None, or the number of the signal that ended the sweep early. Its jobs
        then had time to save, unless a second signal came, or they go on without it.

        With `detach` it takes in what has ended, asks what a search has given up to stop, starts what there
        is room for, and leaves.
        """
        with signals() as taken:
            try:
                self._take_up()
                while True:
                    self._bury()
                    if taken.asked is None:
                        self._prune()
                        self._fill()
                    elif not self.engine.outlived:
                        self._pass_on(taken)
                    is_left = detach or (taken.asked is not None and self.engine.outlived)
                    if is_left or not self._waited_for(taken):
                        return taken.asked
                    time.sleep(POLL_SECONDS)
            finally:  # of a mistake of ours too the jobs can save
                if not self.engine.outlived:
                    self.engine.stop([*self.active.values()], signal.SIGTERM)
                for job in self.active.values():
                    self.sweep.look_at(job)
                self.sweep.write()

    def _take_up(self) -> None:
        """Sorts the jobs that have not ended into those that an earlier call started and those still to be
        run."""
        for job in self.sweep.jobs:
            if job.status == "completed" and job.place is None:
                continue
            state = self.engine.state(job)
            if isinstance(state, Ended):
                self._end(job, state)
            elif state is not Stand.NOT_STARTED:
                self.active[job.number] = job
            if state is Stand.ELSEWHERE:
                self.elsewhere.add(job.number)
                self.say(
                    f"job {job.number} still runs in a process that an earlier call started; waiting for it"
                )
            if job.number not in self.active and job.status not in ENDED:
                self.pending.append(job)
        self.sweep.write()
        if under_way := len(self.active) - len(self.elsewhere):
            self.say(f"{under_way} jobs that an earlier call started run, or wait for their turn")

    def _fill(self) -> None:
        """Starts jobs while there are any and room for them."""
        if self.full_since is not None and time.monotonic() - self.full_since < FULL_SECONDS:
            return
        room = len(self.sweep.jobs) if self.at_once is None else self.at_once - len(self.active)
        jobs = [self.pending.pop(0) for _ in range(min(room, len(self.pending)))]
        while self.search is not None and len(jobs) < room and (job := self.search.ask()) is not None:
            jobs.append(job)
        if jobs:
            self.sweep.write()  # before they begin: what is killed here must know of a search's proposals
            self._begin(jobs)

    def _begin(self, jobs: list[Job]) -> None:
        number = self.engine.start(jobs)
        self.pending[:0] = jobs[number:]
        self.full_since = time.monotonic() if number < len(jobs) else None
        for job in jobs[:number]:
            job.status, job.reason, job.attempts = "running", None, job.attempts + 1
            self.active[job.number], self.began[job.number] = job, time.monotonic()
        self.sweep.write()

    def _bury(self) -> None:
        """Takes in the jobs that have ended."""
        number = len(self.active)
        for job in [*self.active.values()]:
            state = self.engine.state(job)
            if isinstance(state, Ended) or state is Stand.NOT_STARTED:
                del self.active[job.number]
                self.full_since = None
                self._end(job, state if isinstance(state, Ended) else Ended())
                if job.number in self.elsewhere and job.status == "interrupted":
                    self.pending.append(job)  # it was on its way out when this process came
                self.elsewhere.discard(job.number)
        if len(self.active) < number:
            self.sweep.write()

    def _end(self, job: Job, end: Ended) -> None:
        was_pruned, job.place = job.status == "pruned", None
        if was_pruned:  # its record says how it ended
            job.status, job.reason = "running", None
        status = self.sweep.look_at(job)
        job.status, job.reason = how_it_ended(end.returncode, status, job.reason, self.sweep.log_of(job))
        if was_pruned and job.status == "interrupted":
            job.status, job.reason = "pruned", BEHIND
        if job.number in self.began:
            job.seconds = job.seconds or round(time.monotonic() - self.began[job.number], 1)
        if self.search is not None and job.status in ENDED:
            self.search.tell(job)
        metric = self.sweep.facts["metric"]
        result = f": {metric} {job.metrics[metric]:.4f}" if metric in job.metrics else ""
        result = f": it has no {metric}" if not result and job.status == "completed" else result
        why = f": {job.reason}" if job.reason else ""
        of_all = f" of {len(self.sweep.jobs)}" if self.search is None else ""
        ended = sum(job.status in ENDED for job in self.sweep.jobs if job.number not in self.active)
        self.say(
            f"job {job.number} {job.status} after {job.seconds:.0f} s{result}{why}  [{ended}{of_all} ended]"
        )

    def _waited_for(self, taken: Signals) -> bool:
        """Tells whether there is a job to wait for; after a signal that is one that got it."""
        if taken.asked is None:
            return bool(self.active or self.pending)
        return not self.active.keys() <= self.elsewhere

    def _pass_on(self, taken: Signals) -> None:
        """Hands a signal to the jobs, once; the second one kills."""
        jobs = [*self.active.values()]
        if taken.asked is not None and not taken.passed_on:
            taken.passed_on = True
            self.say(
                f"{signal.Signals(taken.asked).name}: the running jobs save and end; once more to end them at"
                " once"
            )
            # SIGUSR1 means to queue again, which is for the sweep to do, once
            self.engine.stop(jobs, signal.SIGTERM if taken.asked == signal.SIGUSR1 else taken.asked)
        elif taken.at_once:
            self.engine.stop(jobs, signal.SIGKILL)

    def _prune(self) -> None:
        """Asks jobs to stop that the search has given up."""
        for job in self.active.values():
            if self.search is not None and job.status != "pruned" and self.search.is_hopeless(job):
                job.status, job.reason = "pruned", BEHIND
                self.sweep.write()
                self.engine.stop([job], signal.SIGTERM)
