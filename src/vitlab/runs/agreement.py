"""Checks that a run's record and its checkpoint belong together: only then does the run go on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitlab.runs.record import Run, moved
from vitlab.runs.surroundings import differences

NAMED = 3
"""Differences that are named; the others are counted."""


def check_config(path: Path, trained: dict[str, Any], config: Mapping[str, Any]) -> None:
    """Raises ValueError naming the difference to a checkpoint's config; the folder may be another."""
    trained = moved(trained, str(trained.get("run_dir")), str(config["run_dir"]))
    try:
        # a nan is no other nan
        before, now = (json.loads(json.dumps(each), parse_constant=str) for each in (trained, config))
    except (TypeError, ValueError):
        raise ValueError(
            f"{path}: its config is not what `vitlab train` writes; another copy would work"
        ) from None
    lines = differences(before, now)
    if not lines:
        return
    more = f", and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    raise ValueError(
        f"{path} was trained with another config than run.json says now: {'; '.join(lines[:NAMED])}{more}; "
        "with the run.json that it was trained with it could go on"
    )


def check_agreement(run: Run, config: Mapping[str, Any], checkpoint: tuple[Path, dict[str, Any]]) -> None:
    """Raises ValueError where a checkpoint was trained with another config, or belongs to another run.
    `config` is the run's, with its present folder."""
    path, content = checkpoint
    trained: dict[str, Any] = content["card"].config
    folder, began_in = str(run.folder), trained.get("run_dir")
    resumes = run.record.get("resumes", [])
    # old records do not tell the latter
    places = [
        run.record["config"]["run_dir"],
        *(each.get("run_dir") for each in resumes),
    ]
    if began_in is not None and began_in not in places and None not in places:
        raise ValueError(
            f"{path} is of the run in {began_in}, and not of the one in {folder}; without it, it would go on"
            " from what else lies there"
        )
    check_config(path, trained, config)
