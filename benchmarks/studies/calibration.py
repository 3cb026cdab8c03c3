"""Whether probabilities mean what they say: calibration error before and after scaling, and how often sets of
classes hold the truth, on a checkpoint's test split.

    python -m benchmarks.studies.calibration RUN [RUN ...] [--data DIR] [--page FILE]

The goals: an expected calibration error of at most 2 % after scaling, and sets that hold the truth within 2
points of the 80, 90 and 95 % that they promise.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import where
from vitlab.objectives.calibration import COVERAGES

MOST_ERROR = 0.02
MOST_OFF = 0.02


def tested(run: str, data: str | None, folder: Path) -> dict[str, float]:
    """Returns what `vitlab test` measures of a checkpoint, and on how many images."""
    command = [sys.executable, "-m", "vitlab", "test", f"checkpoint={Path(run).resolve()}"]
    command += [f"data.root={Path(data).resolve()}"] if data else []
    subprocess.run([*command, f"hydra.run.dir={folder}"], check=True, cwd=folder.parent)
    record = json.loads((folder / "run.json").read_text())
    return record["metrics"] | {"images": record["data"]["splits"]["test"]["images"]}


def row(name: str, numbers: dict[str, float]) -> str:
    """Returns a line of the table, with what misses a goal in bold."""
    if "test/temperature" not in numbers:
        raise SystemExit(f"{name}: its checkpoint was never validated, so there is no temperature")
    scaled = numbers["test/ece_scaled"]
    cells = [f"{int(numbers['images']):,}", f"{100 * numbers['test/accuracy']:.1f} %"]
    cells += [f"{numbers['test/temperature']:.2f}", f"{100 * numbers['test/ece']:.1f} %"]
    cells.append(f"{100 * scaled:.1f} %" if scaled <= MOST_ERROR else f"**{100 * scaled:.1f} %**")
    cells.append(f"{100 * numbers['test/ece_scaled_by_chance']:.1f} %")
    for coverage in COVERAGES:
        held = numbers[f"test/coverage_at/{coverage}"]
        told = f"{100 * held:.1f} %" if abs(held - coverage) <= MOST_OFF else f"**{100 * held:.1f} %**"
        cells.append(f"{told}, {numbers[f'test/set_size_at/{coverage}']:.1f}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="folders of runs, or checkpoints")
    parser.add_argument("--data", help="where the images lie now")
    parser.add_argument(
        "--page", type=Path, help="where to write the table, for example results/calibration.md"
    )
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for number, run in enumerate(options.runs):
            rows.append(row(Path(run).name, tested(run, options.data, Path(temporary) / str(number))))
    sets = " | ".join(f"sets at {coverage:.0%}: held, size" for coverage in COVERAGES)
    command = " ".join(["python -m benchmarks.studies.calibration", *sys.argv[1:]])
    lines = ["# Probabilities that mean what they say", "", f"`{command}`: {where()}.", ""]
    lines += [f"| run | images | accuracy | temperature | ECE | ECE, scaled | by chance alone | {sets} |"]
    lines += [f"|---|{'--:|' * (6 + len(COVERAGES))}", *rows, ""]
    lines += [
        "Temperature and sets were fitted on the validation split alone. In bold: what misses its goal.",
        "",
    ]
    print("\n".join(lines))
    if options.page:
        options.page.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
