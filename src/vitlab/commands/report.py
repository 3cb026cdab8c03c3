"""`vitlab report`: sweeps and runs side by side, as tables, pictures and one page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vitlab.config.compose import EXIT_BAD_INPUT, complain
from vitlab.config.from_record import refuse_links
from vitlab.words import plain


def main(arguments: Sequence[str]) -> None:
    """Prints the configurations, the best first, and writes the whole report."""
    what = "Compare the runs of sweeps, experiments or single run folders."
    parser, place = (
        argparse.ArgumentParser("vitlab report", description=what),
        {"type": Path, "metavar": "DIR"},
    )
    parser.add_argument("folders", nargs="+", help="a sweep, a run, or a folder of those", **place)
    by = "what to compare by; a sweep's own, or the one that chose the best checkpoints"
    parser.add_argument("--metric", help=by)
    way = "a sweep's own; else a loss is minimized"
    parser.add_argument("--direction", choices=("maximize", "minimize"), help=way)
    parser.add_argument("--out", help="where the files go (report/ in the first folder)", **place)
    options = parser.parse_args(arguments)

    from vitlab.comparison.collect import collect
    from vitlab.comparison.paired import paired_lines
    from vitlab.comparison.tables import as_text, failure_rows, group_rows
    from vitlab.comparison.write import summary_lines, write_report

    target = options.out or options.folders[0] / "report"
    try:
        if not options.out and not target.resolve().is_relative_to(options.folders[0].resolve()):
            raise ValueError(
                f"{target} leads to {target.resolve()}, and the report would be written there; --out DIR says"
                " where"
            )
        refuse_links(target)
        comparison = collect(options.folders, options.metric, options.direction)
    except ValueError as error:
        complain(error, "report")
        sys.exit(EXIT_BAD_INPUT)
    for note in comparison.notes:
        print(f"vitlab: {plain(note)}", file=sys.stderr)
    print(as_text(*group_rows(comparison)))
    header, failures = failure_rows(comparison)
    if failures:
        print("\nnot completed:\n" + as_text(header, failures))
    print("\n" + "\n".join(summary_lines(comparison)))
    paired = paired_lines(comparison)
    if paired:
        print("\non the same test images:\n" + "\n".join(map(plain, paired)))
    first, *_ = write_report(comparison, target, paired)
    print(f"the whole report: {plain(first)}")
