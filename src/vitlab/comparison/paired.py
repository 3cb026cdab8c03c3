"""Which of some runs is better on the same test images, and how surely."""

from collections.abc import Sequence
from typing import Any

from vitlab.comparison.entries import Comparison, Entry
from vitlab.comparison.groups import group
from vitlab.evaluation import TEST_ANSWERS

MOST = 5
"""Runs that the best one is compared with."""

LEVEL, SEED = 0.95, 0


def _in_order(comparison: Comparison) -> list[Entry]:
    """Returns the best run of each configuration, the best first; of one configuration alone all its runs."""
    sign = -1.0 if comparison.direction == "maximize" else 1.0
    reached = [
        [entry for entry in member.entries if comparison.reached(entry) is not None]
        for member in group(comparison)
    ]
    of_groups = [
        sorted(entries, key=lambda entry: sign * entry.metrics[comparison.metric])
        for entries in filter(None, reached)
    ]
    return of_groups[0] if len(of_groups) == 1 else [entries[0] for entries in of_groups]


def _without_answers(entries: Sequence[Entry]) -> str | None:
    """Returns why runs are not compared where one keeps no answers, or None where all do."""
    for entry in entries:
        if not (entry.folder / TEST_ANSWERS).is_file():
            return f"run {entry.label} keeps no answers to its test images"
    return None


def _why_not(first: Entry, second: Entry, mine: Any, other: Any) -> str | None:
    """Returns why answers are not compared, or None where they can be."""
    names = [entry.config["objective"]["_target_"] for entry in (first, second)]
    if mine.answers.outputs.shape[1] != other.answers.outputs.shape[1] or names[0] != names[1]:
        return "they learned other things"
    return None if mine.images == other.images else "they were tested on other images"


def _compared(first: Entry, second: Entry, level: float) -> tuple[list[str], str | None]:
    """Returns lines on which of two runs is better, or why that cannot be told. Torch is imported here."""
    from vitlab.construct import build
    from vitlab.evaluation.answers import weighted_metrics
    from vitlab.evaluation.kept import read_answers
    from vitlab.evaluation.paired import conclusion, differences, mcnemar
    from vitlab.objectives.objective import Objective

    read = [read_answers(entry.folder) for entry in (first, second)]
    kept = [each for each in read if each is not None]
    if why := _why_not(first, second, *kept):
        return [], why
    objectives: list[Objective] = [build(entry.config["objective"]) for entry in (first, second)]
    for objective, each in zip(objectives, kept, strict=True):
        objective.take_up(each.learned)
    answers = [each.answers for each in kept]
    metrics, others = map(weighted_metrics, objectives, answers)
    rights = objectives[0].rights
    wanted = {*objectives[0].headline[:1], *rights} or {"loss"}
    mine, other = ({name: each[0][name] for name in each[0] if name in wanted} for each in (metrics, others))
    found = differences(mine, other, metrics[1], len(answers[0].labels), level, SEED)
    labels = [first.label, second.label]
    if labels[0] == labels[1]:  # of single runs below several folders
        labels = [str(first.folder), str(second.folder)]
    names = (f"run {labels[0]}", f"run {labels[1]}")
    lines = []
    for name, each in found.items():
        is_right = rights.get(name)
        test = mcnemar(*(is_right(said.outputs, said.labels) for said in answers)) if is_right else None
        lines.append(conclusion(name, each, level, test, len(answers[0].labels), names))
    return lines, None


def paired_lines(comparison: Comparison) -> list[str]:
    """Returns which is better of the best run and the best one of each other configuration, on the same test
    images, or why that cannot be told; nothing where there is but one run."""
    ordered = _in_order(comparison)
    if len(ordered) < 2:
        return []
    first, compared = ordered[0], ordered[1 : MOST + 1]
    level = 1 - (1 - LEVEL) / len(compared)
    lines: list[str] = []
    reasons: dict[str, list[str]] = {}
    for entry in compared:
        if not (why := _without_answers((first, entry))):
            try:
                told, why = _compared(first, entry, level)
                lines += told
            except (ValueError, LookupError) as error:
                why = str(error)
        if why is not None:
            reasons.setdefault(why, []).append(entry.label)
    for why, labels in reasons.items():
        lines.append(f"Run {first.label} is not compared image by image with {', '.join(labels)}: {why}.")
    if len(compared) > 1 and sum(map(len, reasons.values())) < len(compared):
        lines.append(
            f"Each of the {len(compared)} comparisons is held to {100 * level:.3g}%, so that all are right in"
            f" {LEVEL:.0%} of cases (Bonferroni)."
        )
    left_out = len(ordered) - 1 - len(compared)
    return lines + ([f"{left_out} more configuration(s) were not compared so."] if left_out else [])
