"""A table of all numbers, for spreadsheets, with every picture beside it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitlab.files.atomic import replaced, writing
from vitlab.loggers.picture_files import file_name, write_picture
from vitlab.loggers.run_logger import RunLogger
from vitlab.words import in_cell

FILE, PICTURES, STEP = "metrics.csv", "pictures", "step"


class Table(RunLogger):
    """Writes `metrics.csv` into `run_dir`, a row for each set of numbers, and `pictures/NAME/STEP.png`.

    A column that comes later is empty in the rows before it.
    """

    def __init__(self, run_dir: str | Path):
        super().__init__()
        self.folder = Path(run_dir)
        self.file = self.folder / FILE
        self.columns: list[str] = []
        self.num_rows = 0

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        row = {STEP: step} | {in_cell(name): value for name, value in values.items()}
        if new := [name for name in row if name not in self.columns]:
            self._write([*self.columns, *new], self._rows())
        with writing(self.file), self.file.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)
        self.num_rows += 1

    def _rows(self) -> list[dict[str, Any]]:
        """Returns the rows there are, but for one that a kill has left unfinished."""
        if not self.file.is_file():
            return []
        lines = self.file.read_text(errors="replace").splitlines(keepends=True)
        return list(csv.DictReader(line for line in lines if line.endswith("\n")))

    def _write(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the table at one stroke."""
        self.columns, self.num_rows = list(columns), len(rows)
        with writing(self.file):
            self.folder.mkdir(parents=True, exist_ok=True)
            with replaced(self.file) as part, part.open("w", newline="") as file:
                writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)

    def picture(self, name: str, content: bytes, step: int) -> None:
        folder, _, suffix = file_name(name, content).rpartition(".")
        write_picture(self.folder / PICTURES / folder / f"{step:08d}.{suffix}", content)

    def state(self) -> dict[str, Any]:
        return {"columns": self.columns, "rows": self.num_rows}

    def lost(self, state: Mapping[str, Any]) -> list[str]:
        if not state.get("columns"):
            return []
        if not self.file.is_file():
            return [f"{FILE} is gone"]
        rows = len(self._rows())
        return [f"{FILE} has {rows} rows, and had {state['rows']}"] if rows < state["rows"] else []

    def go_back(self, step: int, state: Mapping[str, Any]) -> None:
        if state.get("columns"):
            self._write(state["columns"], self._rows()[: state["rows"]])
        else:
            self.file.unlink(missing_ok=True)
        for file in (self.folder / PICTURES).glob("*/*"):
            if file.stem.isdigit() and int(file.stem) > step:
                file.unlink()
