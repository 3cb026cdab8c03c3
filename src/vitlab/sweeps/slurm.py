"""The engine of a SLURM cluster: jobs are submitted by sbatch as tasks of arrays, and go on without the
sweep's process, which asks squeue how they stand."""

import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby, takewhile
from pathlib import Path
from typing import NamedTuple

from vitlab.sweeps.engine import Ended, Stand
from vitlab.sweeps.jobs import Job, Sweep
from vitlab.sweeps.processes import begin_log
from vitlab.sweeps.sbatch import (
    Refused,
    as_options,
    ask_slurm,
    has_no_answer,
    starts_several,
    what_helps,
)

ASK_SECONDS = 1.0
"""Between two questions to squeue, which each ask for all jobs at once."""

MOST_IN_AN_ARRAY = 1000
"""Each task adds its command to the array's script, of which SLURM takes 4 MB."""

OFTEN = ("None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Dependency", "Cleaning")
"""Why jobs wait that wait for their turn alone."""


def _as_it_is(folder: Path) -> str:
    """Returns a path in which sbatch puts nothing in the place of a %a."""
    return str(folder).replace("%", "%%")


class Queued(NamedTuple):
    """A job of the sweep in SLURM's queue."""

    place: str
    waits_for: str
    """Why it waits, as SLURM says it; "None" where it runs."""


class Slurm:
    """Submits jobs with sbatch's `options`; at most `parallel` tasks of an array run at a time (None: as many
    as the cluster lets). `command_of` gives a job's command line."""

    outlived = True

    def __init__(
        self,
        sweep: Sweep,
        command_of: Callable[[Job], list[str]],
        say: Callable[[str], None],
        options: Mapping[str, object],
        parallel: int | None = None,
        memory_limit_gib: float | None = None,
    ):
        for program in ("sbatch", "squeue", "scancel", "scontrol"):
            if shutil.which(program) is None:
                raise ValueError(
                    f"sweep.engine=slurm: this machine has no {program}; a cluster's login node would have it"
                )
        self.sweep, self.command_of, self.say = sweep, command_of, say
        self.options, self.parallel, self.memory_limit_gib = options, parallel, memory_limit_gib
        self.scripts = (sweep.folder / "slurm").resolve()
        try:
            found = re.search(r"MaxArraySize\s*=\s*(\d+)", ask_slurm(["scontrol", "show", "config"]))
            most = min(MOST_IN_AN_ARRAY, int(found[1]) if found else 0)
            if most < 1:
                raise ValueError("sweep.engine=slurm: this cluster has no job arrays (MaxArraySize=0)")
            self.digits = len(str(most)) - 1
            self.queue = self._ask()
        except Refused as error:
            raise ValueError(f"sweep.engine=slurm: SLURM does not answer: {error}") from None
        self.asked_at = time.monotonic()
        self.is_deaf = False
        self.told = {*OFTEN}  # why jobs wait, and why SLURM took none: each is said once
        self._tell_of_waiting()
        self.unsure_since: str | None = None
        """Since when SLURM may have taken jobs to which it gave no answer in time, as squeue writes times."""

    def start(self, jobs: Sequence[Job]) -> int:
        started = 0
        for block, group in groupby(jobs, lambda job: job.number // 10**self.digits):
            tasks = [*group]
            while tasks:
                number = self._submit(block, tasks, started)
                started += number
                if number == 0:
                    return started
                tasks = tasks[number:]
        return started

    def _submit(self, block: int, jobs: Sequence[Job], started: int) -> int:
        """Submits the first of the jobs as an array, as many as SLURM takes at once, and returns how many."""
        number, why, is_late, asked = len(jobs), "", False, ""
        while number:
            try:
                if self.unsure_since is not None:
                    self.queue = self._ask(self.unsure_since) | self._ask()
                    self.unsure_since = None
                if taken := [*takewhile(lambda job: job.number in self.queue, jobs)]:
                    for job in taken:
                        job.place = self.queue[job.number].place
                    return len(taken)
                if is_late:
                    break
                asked = datetime.now().isoformat(timespec="seconds")
                array = self._sbatch(block, jobs[:number])
            except Refused as error:
                why = str(error)
                if not any(what_helps(why)):
                    raise ValueError(f"sbatch does not take the jobs: {why}") from None
                self.unsure_since = self.unsure_since or asked
                if is_late:
                    break
                is_late = has_no_answer(why)
                number = number if is_late else number // 2
            else:
                for job in jobs[:number]:
                    job.place = f"{array}_{job.number % 10**self.digits}"
                    self.queue[job.number] = Queued(job.place, "None")
                which = f"job {jobs[0].number}: {jobs[0].in_words()}"
                if number > 1:
                    which = f"{number} jobs, {jobs[0].number} to {jobs[number - 1].number},"
                self.say(f"{which} submitted as {array}")
                return number
        if not (started or self.queue or what_helps(why)[1]):
            raise ValueError(f"sbatch does not take even one job: {why}")
        if why not in self.told:
            self.told.add(why)
            self.say(f"SLURM takes no more for now: {why}")
        return 0

    def _sbatch(self, block: int, jobs: Sequence[Job]) -> str:
        """Submits jobs of one block of numbers, and returns the array's id.

        A task's index is its job's number within the block, so that `logs/%a.log` is the job's log. The
        script's name has the block, so that squeue tells which job a task is, also where this process is
        killed here.
        """
        script = self.scripts / f"{block}.sh"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(self._script(jobs))
        for job in jobs:
            begin_log(self.sweep.log_of(job), self.command_of(job))
        indices = ",".join(str(job.number % 10**self.digits) for job in jobs)
        number = f"{block}%{self.digits}a" if block and self.digits else "%a" if self.digits else str(block)
        limit = "" if self.parallel is None else f"%{self.parallel}"
        printed = ask_slurm(
            [
                "sbatch",
                "--parsable",
                f"--job-name={self.sweep.folder.name}",
                *as_options(self.options),
                f"--array={indices}{limit}",
                f"--output={_as_it_is(self.sweep.folder.resolve() / 'logs')}/{number}.log",
                str(script),
            ]
        )
        array = printed.strip().partition(";")[0]
        if not array.isdecimal():
            raise ValueError(f"sbatch submitted nothing: it printed {printed.strip()!r} and no job's id")
        return array

    def _script(self, jobs: Sequence[Job]) -> str:
        """Returns a script in which each task becomes its job's command, so that a signal to the one is one
        to the other."""
        srun = "srun " if starts_several(self.options) else ""
        cases = "".join(
            f"{job.number % 10**self.digits}) {command} ;;\n"
            for job in jobs
            for command in [f"exec {srun}{shlex.join(self.command_of(job))}"]
        )
        limit = (
            ""
            if self.memory_limit_gib is None
            else f"ulimit -d {int(self.memory_limit_gib * 2**20)}  # KiB\n"
        )
        return f"#!/bin/bash\n{limit}case $SLURM_ARRAY_TASK_ID in\n{cases}esac\n"

    def state(self, job: Job) -> Stand | Ended:
        queued = self._look().get(job.number)
        if queued is not None:
            job.place = queued.place
            return Stand.UNDER_WAY
        return Stand.NOT_STARTED if job.place is None else Ended()

    def _look(self) -> dict[int, Queued]:
        """Returns this sweep's jobs in the queue, by number; where SLURM does not answer, those of the last
        time."""
        if time.monotonic() - self.asked_at >= ASK_SECONDS:
            try:
                self.queue, self.is_deaf = self._ask(), False
                self._tell_of_waiting()
            except Refused as error:
                if not self.is_deaf:
                    self.say(f"SLURM does not answer for now: {error}")
                self.is_deaf = True
            self.asked_at = time.monotonic()
        return self.queue

    def _tell_of_waiting(self) -> None:
        """Says once of each reason why jobs wait that time alone may not end."""
        for number, job in self.queue.items():
            reason = re.split(r" *[,(]", job.waits_for, maxsplit=1)[0]
            if reason not in self.told:
                self.told.add(reason)
                self.say(f"job {number} ({job.place}) waits: {job.waits_for}")

    def _ask(self, since: str | None = None) -> dict[int, Queued]:
        """Returns this sweep's jobs that wait or run. With `since` ("2026-11-27T13:19:37") it returns those
        submitted from then on, also ended ones, as far back as SLURM remembers (MinJobAge)."""
        queue = {}
        which = [] if since is None else ["--states=all"]
        command = ["squeue", "-u", str(os.getuid()), "-h", "-r", *which, "-o", "%F|%K|%V|%r|%o"]
        for line in ask_slurm(command).splitlines():
            array, index, submitted, reason, program = line.split("|", maxsplit=4)
            script = Path(program)
            if script.parent == self.scripts and index.isdigit() and submitted >= (since or ""):
                number = int(script.stem) * 10**self.digits + int(index)
                queue[number] = Queued(f"{array}_{index}", reason)
        return queue

    def stop(self, jobs: Sequence[Job], number: int) -> None:
        places = [job.place for job in jobs if job.place is not None]
        if places:
            try:
                ask_slurm(["scancel", *places])
            except Refused as error:  # it has ended meanwhile, or ends when it is done
                self.say(f"scancel {' '.join(places)}: {error}")
