"""Which of some runs is better on the same test images, and how surely."""

from collections.abc import Sequence

from vitlab.comparison.entries import Comparison, Entry
from vitlab.comparison.groups import group
from vitlab.construct import build
from vitlab.evaluation.answers import Answers, weighted_metrics
from vitlab.evaluation.kept import Kept, read_answers
from vitlab.evaluation.paired import conclusion, differences, mcnemar
from vitlab.objectives.objective import Objective

MOST = 5
"""Runs that the best one is compared with."""

LEVEL, SEED = 0.95, 0


def _in_order(comparison: Comparison) -> list[Entry]:
    """Returns the best run of each configuration, the best first; of one configuration alone all its runs."""
    sign = -1.0 if comparison.direction == "maximize" else 1.0
    of_groups = [
        sorted(
            (entry for entry in member.entries if comparison.reached(entry) is not None),
            key=lambda entry: sign * entry.metrics[comparison.metric],
        )
        for member in group(comparison)
    ]
    of_groups = [entries for entries in of_groups if entries]
    return of_groups[0] if len(of_groups) == 1 else [entries[0] for entries in of_groups]


def _judged(entry: Entry, kept: Kept) -> Objective:
    objective: Objective = build(entry.config["objective"])
    objective.take_up(kept.learned)
    return objective


def _why_not(first: Entry, second: Entry, kept: Sequence[Kept | None]) -> str | None:
    """Returns why two runs are not compared, or None where they can be."""
    for entry, each in zip((first, second), kept, strict=True):
        if each is None:
            return f"run {entry.label} keeps no answers to its test images"
    mine, other = (each for each in kept if each)
    if mine.images != other.images:
        return "they were tested on other images"
    names = [entry.config["objective"]["_target_"] for entry in (first, second)]
    same = mine.answers.outputs.shape == other.answers.outputs.shape and names[0] == names[1]
    return None if same else "they learned other things"


def _told(first: Entry, second: Entry, kept: tuple[Kept, Kept], level: float) -> list[str]:
    objectives = [_judged(entry, each) for entry, each in zip((first, second), kept, strict=True)]
    answers: list[Answers] = [each.answers for each in kept]
    metrics, others = (
        weighted_metrics(objective, each) for objective, each in zip(objectives, answers, strict=True)
    )
    wanted = {*objectives[0].headline[:1], *objectives[0].rights} or {"loss"}
    mine, other = ({name: each[0][name] for name in each[0] if name in wanted} for each in (metrics, others))
    found = differences(mine, other, metrics[1], len(answers[0].labels), level, SEED)
    names = (f"run {first.label}", f"run {second.label}")
    lines = []
    for name, each in found.items():
        is_right = objectives[0].rights.get(name)
        test = mcnemar(*(is_right(said.outputs, said.labels) for said in answers)) if is_right else None
        lines.append(conclusion(name, each, level, test, len(answers[0].labels), names))
    return lines


def paired_lines(comparison: Comparison) -> list[str]:
    """Returns which is better of the best run and the best one of each other configuration, on the same test
    images, or why that cannot be told; nothing where there is but one run."""
    first, *others = [*_in_order(comparison), None]
    if first is None or not others[:-1]:
        return []
    compared = [entry for entry in others[:MOST] if entry is not None]
    level = 1 - (1 - LEVEL) / len(compared)
    lines, reasons = [], {}
    for entry in compared:
        try:
            kept = [read_answers(each.folder) for each in (first, entry)]
            why = _why_not(first, entry, kept)
            if why is None:
                lines += _told(first, entry, (kept[0], kept[1]), level)  # type: ignore[arg-type]
        except (ValueError, LookupError) as error:
            why = str(error)
        if why is not None:
            reasons.setdefault(why, []).append(entry.label)
    for why, labels in reasons.items():
        lines.append(f"Run {first.label} is not compared image by image with {', '.join(labels)}: {why}.")
    if len(compared) > 1 and len(reasons) < len(compared):
        lines.append(
            f"Each of the {len(compared)} comparisons is held to {level:.0%}, so that all are right in"
            f" {LEVEL:.0%} of cases (Bonferroni)."
        )
    left_out = len(others) - 1 - len(compared)
    return lines + ([f"{left_out} more configuration(s) were not compared so."] if left_out else [])
