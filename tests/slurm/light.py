"""A sweep of light jobs, as ../sweeps/job.py has them, on the SLURM of SLURM_CONF.

usage: light.py FOLDER WHAT..., each WHAT with its argument after a colon
"""

import sys
from pathlib import Path

from vitlab.sweeps.jobs import Job, Sweep
from vitlab.sweeps.loop import Loop
from vitlab.sweeps.slurm import Slurm

FACTS = {"metric": "best/val/accuracy", "direction": "maximize"}
PROGRAM = str(Path(__file__).parents[1] / "sweeps" / "job.py")


def run(folder, whats, say=print, **options):
    """Runs the sweep with options of sbatch, or goes on with it, and returns it."""
    jobs = [Job(number, [f"what={what}"], {"what": what}) for number, what in enumerate(whats)]
    sweep = Sweep.read(folder) or Sweep(folder, FACTS, jobs)

    def command_of(job):
        return [sys.executable, PROGRAM, str(sweep.folder_of(job)), *job.varied["what"].split(":")]

    Loop(sweep, Slurm(sweep, command_of, say, options), say).run()
    return sweep


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
