"""The rows of a table, whatever it is written in: CSV, TSV, JSON lines or Parquet."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from vitlab.data.files.find import as_text
from vitlab.data.sources.layout import listed

Row = tuple[Any, ...]

SEPARATORS = {".csv": ",;\t|", ".tsv": "\t"}

csv.field_size_limit(1 << 24)  # other columns may hold long texts


def _check_columns(file: Path, columns: Sequence[tuple[str, str]], there: Sequence[str], where: str) -> None:
    """Raises ValueError for a column that is not there, naming those that are."""
    for key, name in columns:
        if name not in there:
            raise ValueError(f"{key}={name}: {as_text(file)} has no such {where}; it has {listed(there)}")
        if list(there).count(name) > 1:
            raise ValueError(
                f"{key}={name}: {as_text(file)} has {list(there).count(name)} columns of this name"
            )


def _separated(file: Path, columns: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Yields the fields of a CSV or TSV file; its first line names the columns."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        first = lines.readline()
        signs = SEPARATORS[file.suffix.lower()]
        wanted, line = columns[0][1], first.strip()
        separator = max(signs, key=lambda sign: (sign in first) * (wanted in line.split(sign)))
        header = next(csv.reader([first], delimiter=separator, strict=True), [])
        _check_columns(file, columns, [name.strip() for name in header], "column")
        places = [[name.strip() for name in header].index(name) for _, name in columns]
        reader = csv.reader(lines, delimiter=separator, strict=True)
        width, row = len(header), ()
        try:
            for row in reader:
                if len(row) == width:
                    yield tuple([row[place] for place in places])
                elif row:
                    raise ValueError(f"{len(row)} fields where the first line has {width}")
        except (csv.Error, ValueError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            raise ValueError(f"{as_text(file)}: line {reader.line_num + 1}: {error}") from None


def _json_lines(file: Path, columns: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Yields the values of a file with one JSON object a line."""
    names = [name for _, name in columns]
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                known = json.loads(line)
                yield tuple([known[name] for name in names])
            except json.JSONDecodeError as error:
                raise ValueError(f"{as_text(file)}: line {number} is no JSON ({error.msg})") from None
            except TypeError:
                what = "is no object with names and values"
                raise ValueError(f"{as_text(file)}: line {number} {what}") from None
            except KeyError:
                _check_columns(file, columns, list(known), f"name in line {number}")


def _parquet(file: Path, columns: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Yields the values of a Parquet file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError(
            f"data.file={as_text(file)}: Parquet needs pyarrow: pip install 'vitlab[parquet]', or a CSV file"
        ) from None
    try:
        with parquet.ParquetFile(file) as table:
            _check_columns(file, columns, table.schema_arrow.names, "column")
            names = [name for _, name in columns]
            for batch in table.iter_batches(columns=list(dict.fromkeys(names))):
                yield from zip(*(batch[name].to_pylist() for name in names), strict=True)
    except pyarrow.ArrowException as error:
        why = str(error).split(".")[0].splitlines()[0]
        raise ValueError(f"{as_text(file)}: no whole Parquet file ({why})") from None


READERS: dict[str, Callable[[Path, Sequence[tuple[str, str]]], Iterator[Row]]] = {
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}


def read_rows(file: Path, columns: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Yields of each row the values of these columns, which are named by the key that asks for them and their
    name. Raises ValueError in one line for a file that cannot be read, or lacks one of them."""
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise ValueError(f"data.file={as_text(file)}: a table's name ends with {' '.join(READERS)}")
    try:
        rows = reader(file, columns)
        yield from chain([next(rows)], rows)
    except StopIteration:
        raise ValueError(f"data.file={as_text(file)}: no row below the names of the columns") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{as_text(file)}: no UTF-8 text ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"data.file={as_text(file)}: {error.strerror or error}") from None
