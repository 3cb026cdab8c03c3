"""What a part of the GPU's minutes found: kept in a JSON file that is whole after each finding, and shown as
a page."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import table

PASSED, FAILED, SKIPPED, CUT = "passed", "FAILED", "skipped", "cut short"


@dataclass
class Finding:
    """One claim or measurement: how it ended, its numbers by name, and the traceback or the reason where it
    has one."""

    name: str
    status: str
    seconds: float
    numbers: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


class Findings:
    """The findings of one part, in a file that another process can read at any moment."""

    def __init__(self, file: Path):
        self.file = file
        self.all: list[Finding] = []

    def add(self, finding: Finding) -> None:
        self.all.append(finding)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps([asdict(each) for each in self.all], indent=1))
        part.replace(self.file)


def read_findings(file: Path) -> list[Finding]:
    """Returns what a part has found so far; nothing where it did not come to write."""
    return [Finding(**each) for each in json.loads(file.read_text())] if file.exists() else []


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def grouped(findings: list[Finding]) -> list[tuple[str, ...]]:
    """Returns a row for each claim: how many of its cases ended how, their seconds, and of each number the
    largest or all values."""
    rows = []
    for name in dict.fromkeys(each.name.partition("[")[0] for each in findings):
        cases = [each for each in findings if each.name.partition("[")[0] == name]
        statuses = [case.status for case in cases]
        ended = (
            ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
            if len(cases) > 1
            else statuses[0]
        )
        numbers = []
        for key in dict.fromkeys(key for case in cases for key in case.numbers):
            values = [case.numbers[key] for case in cases if key in case.numbers]
            several = len(values) > 1 and isinstance(values[0], float)
            numbers.append(
                f"{key} at most {shown(max(values))}"
                if several
                else f"{key} {', '.join(dict.fromkeys(map(shown, values)))}"
            )
        rows.append((name, ended, f"{sum(case.seconds for case in cases):.1f}", "; ".join(numbers)))
    return rows


def page(title: str, note: str, findings: list[Finding]) -> str:
    """Returns a part's page: a line on how it ended, and a table of all it found."""
    counts = {
        status: sum(each.status == status for each in findings) for status in (PASSED, FAILED, SKIPPED, CUT)
    }
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing found"
    return (
        f"## {title}\n\n{told}."
        f" {note}\n\n{table(('', 'how it ended', 'seconds', 'numbers'), grouped(findings))}\n"
    )


def left_over(findings: dict[str, list[Finding]]) -> str:
    """Returns the page of what failed or did not end, each with its traceback."""
    lines = []
    for part, found in findings.items():
        for each in found:
            if each.status in (FAILED, CUT):
                lines.append(
                    f"### {part}: {each.name},"
                    f" {each.status}\n\n```\n{each.reason.strip() or 'no traceback'}\n```\n"
                )
    return "## What is left\n\n" + ("\n".join(lines) or "Nothing failed.\n")
