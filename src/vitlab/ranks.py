"""Several processes of one run that torchrun or srun has started, each with the whole command line."""

import os
from collections.abc import Sequence


def rank_and_number() -> tuple[int, int]:
    """Returns which process of how many this is; (0, 1) where vitlab is to start the others."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # srun names a step; without one sbatch has counted the tasks, and nobody has started them
    if {"SLURM_NTASKS", "SLURM_STEP_ID"} <= os.environ.keys() and not is_shell():
        return int(os.environ.get("SLURM_PROCID", 0)), int(os.environ["SLURM_NTASKS"])
    return 0, 1


def is_shell() -> bool:
    """Tells whether this process was typed into a shell that SLURM has opened, as Lightning tells it too."""
    return os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")


def refuse_missing_srun() -> None:
    """Raises ValueError where sbatch was asked for several tasks, and nobody has started them."""
    if "TORCHELASTIC_RUN_ID" in os.environ or is_shell() or "SLURM_STEP_ID" in os.environ:
        return
    number = int(os.environ.get("SLURM_NTASKS", "1"))
    if number > 1:
        raise ValueError(
            f"SLURM_NTASKS={number}: nothing started the {number} tasks that sbatch was asked for; srun"
            " before vitlab would, or --ntasks=1 for one process"
        )


def refuse_sweep() -> None:
    """Raises ValueError where each of several processes would run all jobs of a sweep."""
    number = rank_and_number()[1]
    if number > 1:
        raise ValueError(
            f"each of {number} processes would run the whole sweep; start it once: its jobs start their own"
            " processes"
        )


def share_folder(arguments: Sequence[str], config_name: str) -> list[str]:
    """Returns a process's arguments: one folder for all, in which only the first keeps Hydra's files, as
    Lightning has it. Raises ValueError where the folder has no name: each process would name it by its own
    clock."""
    rank, number = rank_and_number()
    if number > 1 and not any(argument.startswith("hydra.run.dir=") for argument in arguments):
        raise ValueError(
            f"hydra.run.dir=DIR is missing: {number} processes share one run, and each would give it a name"
            " of its own"
        )
    return (
        [*arguments, "hydra.output_subdir=null", f"hydra.job.name={config_name}_ddp_process_{rank}"]
        if rank
        else [*arguments]
    )
