"""Words by which Hydra's users start sweeps, and vitlab's own, which need no launcher and no sweeper."""

import re
from collections.abc import Sequence

AT_ONCE = "here sweep.parallel=N runs N jobs at a time"
SUBMITTED = "sweep.engine=slurm submits the jobs, with sbatch's options such as sweep.slurm.partition=NAME"
SEARCHED = "sweep=tpe or sweep=random searches, through sweep.num_jobs=N jobs"
COMBINED = "here -m alone runs every combination"
SPACE = (
    "here -m KEY=A,B varies KEY, or sweep.space.KEY='choice(A, B)', which a file sweep/NAME.yaml can say too"
)

OURS = {
    r"hydra\.mode": "-m runs several jobs, and without it there is one; leave out hydra.mode",
    r"hydra/launcher=(joblib|basic)": AT_ONCE,
    r"hydra/launcher=\w*slurm\w*|hydra\.launcher\.(partition|timeout_min|gpus_per_node)": SUBMITTED,
    r"hydra\.launcher\.n_jobs": AT_ONCE,
    r"hydra[/.]launcher": f"{AT_ONCE}; {SUBMITTED}",
    r"hydra\.sweeper\.params": SPACE,
    r"hydra\.sweeper\.n_trials": "here sweep.num_jobs=N with sweep=tpe or sweep=random",
    r"hydra\.sweeper\.n_jobs": AT_ONCE,
    r"hydra\.sweeper\.direction": "here sweep.direction=maximize or minimize",
    r"hydra\.sweeper\.sampler": "here sweep.sampler.KEY and sweep.seed, with sweep=tpe or sweep=random",
    r"hydra\.sweeper\.(study_name|storage)": "here sweep.name=NAME, whose folder has the study",
    r"hydra/sweeper=basic": COMBINED,
    r"hydra[/.]sweeper": f"{COMBINED}; {SEARCHED}",
}
"""What vitlab has instead, by the beginning of what Hydra's users type; the first that fits counts."""


def ours(text: str) -> str | None:
    """Returns what does here what a key, or `key=value`, does for Hydra; None where it starts no sweep."""
    return next((words for theirs, words in OURS.items() if re.match(rf"({theirs})(?!\w)", text)), None)


def refuse_hydras_words(arguments: Sequence[str]) -> None:
    """Raises ValueError where Hydra is told how to run several jobs, which it does not do here."""
    for argument in arguments:
        if (words := ours(argument.lstrip("+~"))) is not None:
            raise ValueError(f"{argument}: {words}")
