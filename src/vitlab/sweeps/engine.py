"""What a sweep's loop asks of the place where its jobs run. Each engine is a file of its own beside this."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable

from vitlab.sweeps.jobs import Job


class Stand(Enum):
    """How a job stands that has not ended."""

    NOT_STARTED = "nobody runs it"
    UNDER_WAY = "it runs, or waits for its turn"
    ELSEWHERE = "another process runs it, over which this one has no power"


class Ended(NamedTuple):
    """A job's end, with its process's exit status as Python counts it (-9: SIGKILL); None where nobody knows
    that, so that the run's record alone says how."""

    returncode: int | None = None


@runtime_checkable
class Engine(Protocol):
    """Runs jobs. It may be built anew at any moment, and then knows the jobs that an earlier one started."""

    outlived: bool
    """Whether jobs go on when the sweep's own process ends."""

    def start(self, jobs: Sequence[Job]) -> int:
        """Starts jobs, the first ones first, and returns how many there was room for.

        Raises ValueError where not one of them can ever start.
        """
        ...

    def state(self, job: Job) -> Stand | Ended:
        """Tells how a job stands; of a job that has ended it says so once."""
        ...

    def stop(self, jobs: Sequence[Job], number: int) -> None:
        """Passes a signal on to jobs; those that wait for their turn are not to run."""
        ...
