"""A sweep of jobs as job.py has them. usage: sweep.py FOLDER PARALLEL WHAT..., each WHAT with its argument
after a colon."""

import sys
from pathlib import Path

from vitlab.sweeps.jobs import Job, Sweep
from vitlab.sweeps.local import Local
from vitlab.sweeps.loop import Loop

FACTS = {"metric": "best/val/accuracy", "direction": "maximize"}


def run(folder, whats, say=print, parallel=1, memory_limit_gib=None):
    """Runs the sweep, or goes on with it, and returns it with the number of the signal that ended it."""
    jobs = [Job(number, [f"what={what}"], {"what": what}) for number, what in enumerate(whats)]
    sweep = Sweep.read(folder) or Sweep(folder, FACTS, jobs)

    def command_of(job):
        program = str(Path(__file__).parent / "job.py")
        return [sys.executable, program, str(sweep.folder_of(job)), *job.varied["what"].split(":")]

    with sweep.held():
        engine = Local(sweep, command_of, say, parallel, memory_limit_gib)
        return sweep, Loop(sweep, engine, say, at_once=parallel).run()


if __name__ == "__main__":
    _, number = run(
        Path(sys.argv[1]), sys.argv[3:], lambda line: print(line, flush=True), parallel=int(sys.argv[2])
    )
    sys.exit(128 + number if number else 0)
