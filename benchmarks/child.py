"""Programs of their own, where what is measured is a whole process: its start, its memory, its seconds of
work."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_python(*arguments: str, threads: int, **environment: str) -> tuple[str, float]:
    """Runs `python ARGUMENTS` in the repository; returns its standard output and the seconds of work of it
    and of its children.

    Raises RuntimeError with the end of what it said where it fails.
    """
    before = os.times()
    places = os.pathsep.join(
        filter(None, (os.environ.get("PYTHONPATH"), str(ROOT)))
    )  # where benchmarks is, if it is a target
    surroundings = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": places, **environment}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=surroundings, capture_output=True, text=True
    )
    after = os.times()
    if done.returncode:
        raise RuntimeError(
            f"python {' '.join(arguments)} ended with status {done.returncode}: {done.stderr[-2000:]}"
        )
    return (
        done.stdout,
        after.children_user + after.children_system - before.children_user - before.children_system,
    )
