"""A sweep as a folder: its jobs, what each runs and how it ended, in a `sweep.json` that is never half
written."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vitlab.files import lock
from vitlab.files.atomic import replace_text
from vitlab.runs.status import read_record, status_of
from vitlab.sweeps.processes import BEGINNING, last_line

ENDED = ("completed", "failed", "pruned")
"""Statuses of jobs that going on with a sweep leaves alone; the others are waiting, running and
interrupted."""

PLACE = re.compile(r"\w+")
"""What an engine may call a job: no option of a program."""


@dataclass
class Job:
    """One run of a sweep: its overrides as on a command line, those of them that differ from job to job, and
    its status.

    `place` is what an engine that goes on without this process calls the job, such as 17_3, until its end is
    taken in.
    """

    number: int
    overrides: list[str]
    varied: dict[str, str]
    status: str = "waiting"
    reason: str | None = None
    attempts: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    place: str | None = None

    def in_words(self) -> str:
        """Returns what this job has and others do not."""
        return " ".join(f"{key}={value}" for key, value in self.varied.items()) or "nothing varied"


def _check(content: Any) -> None:
    """Raises ValueError where a file describes no sweep. Its readers rely on this, and on each job having a
    folder of its own."""
    if not isinstance(content, dict) or not isinstance(content.get("jobs"), list):
        raise ValueError("it holds no list of jobs")
    kinds = {
        "overrides": list,
        "varied": dict,
        "status": str,
        "attempts": int,
        "seconds": int | float,
        "metrics": dict,
    }
    for name in ("metric", "direction"):
        if not isinstance(content[name], str):
            raise ValueError(f"{name} is of the wrong kind")
    for place, job in enumerate(content["jobs"]):
        for name, kind in kinds.items():
            if name in job and not isinstance(job[name], kind):
                raise ValueError(f"job {place}: {name} is of the wrong kind")
        texts = [*job["overrides"], *job["varied"].values(), job.get("reason") or ""]
        numbers = job.get("metrics", {}).values()
        if type(job["number"]) is not int or job["number"] != place:
            raise ValueError(f"job {place} has the number {job['number']}")
        if not (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(number, int | float) for number in numbers)
            and PLACE.fullmatch(str(job.get("place") or "0"))
        ):
            raise ValueError(f"job {place} is none of a sweep's")


class Sweep:
    """A folder of numbered job folders. `facts` say what the sweep looks for, by which command, and what its
    jobs share."""

    def __init__(self, folder: Path, facts: dict[str, Any], jobs: Sequence[Job] = ()):
        self.folder = folder
        self.facts = facts
        self.jobs = list(jobs)

    @classmethod
    def load(cls, folder: Path) -> "Sweep | None":
        """Returns the sweep in a folder by its file alone; None without one. Raises ValueError where
        sweep.json is damaged."""
        file = folder / "sweep.json"
        if not file.exists():
            return None
        try:
            facts = json.loads(file.read_text())
            _check(facts)
            return cls(folder, facts, [Job(**job) for job in facts.pop("jobs")])
        except KeyError as error:
            reason = f"{error.args[0]} is missing"
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            reason = str(error)
        raise ValueError(f"{file} cannot be read ({reason})")

    @classmethod
    def read(cls, folder: Path) -> "Sweep | None":
        """Returns the sweep in a folder like `load`, with each job's status from its own folder."""
        try:
            sweep = cls.load(folder)
        except ValueError as error:
            raise ValueError(
                f"{error}; its job folders are whole, and another sweep.name starts afresh"
            ) from None
        if sweep is not None:
            sweep.look_at_all()
        return sweep

    def folder_of(self, job: Job) -> Path:
        return self.folder / str(job.number)

    def log_of(self, job: Job) -> Path:
        """Returns the file with all that the job's processes printed."""
        return self.folder / "logs" / f"{job.number}.log"

    def look_at(self, job: Job) -> str | None:
        """Updates a job from its run's record and returns the record's status. Facts that only the sweep
        knows stay."""
        record, status = read_record(self.folder_of(job)) or {}, status_of(self.folder_of(job))
        if status is None:
            job.status = job.status if job.status in ("failed", "pruned") else "waiting"
            if job.status == "waiting" and (line := self._said_last(job)):
                job.reason = f"no run has begun; its log ends: {line}"
        elif status == "completed" or job.status not in ("failed", "pruned"):
            known = (
                job.reason if job.status == status else None
            )  # a process that was killed leaves no reason of its own
            job.status, job.reason = status, record.get("reason") or known
        job.reason = job.reason or record.get("reason")
        if job.status == "interrupted" and job.reason is None and (line := self._said_last(job)):
            job.reason = f"killed; its last line: {line}"
        job.seconds = record.get("seconds") or job.seconds
        job.metrics = record.get("metrics") or job.metrics
        return status

    def _said_last(self, job: Job) -> str | None:
        """Returns the last line that a job's processes printed; None where they printed nothing yet."""
        line = last_line(self.log_of(job))
        return None if line is None or line.startswith(BEGINNING) else line

    def look_at_all(self) -> None:
        """Updates every job from its run's record."""
        for job in self.jobs:
            self.look_at(job)

    def write(self) -> None:
        """Replaces sweep.json at one stroke."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = self.facts | {"jobs": [asdict(job) for job in self.jobs]}
        replace_text(self.folder / "sweep.json", json.dumps(content, indent=1))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from working on the sweep; the system lets go when this one dies. Raises
        ValueError if another works on it."""
        work = f"the sweep in {self.folder}; wait for it, or give another sweep.name"
        with lock.held(self.folder / ".lock", work):
            yield
