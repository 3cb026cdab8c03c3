"""Reads what W&B has kept of a run in a file: LevelDB's format of a log, with W&B's records in it.

wandb 0.31 has no reader of its own any more: its core, a program in Go, is what sends these files.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, START = 32768, 7
"""Bytes of a block, and of what stands before the first record."""

WHOLE, FIRST, LAST = 1, 2, 4
"""Which part of a record a piece is; 3: one in the middle."""


def _records(content: bytes) -> Iterator[bytes]:
    """Yields records up to the first that a kill has cut short."""
    place, record = START, b""
    while place + 7 <= len(content):
        if (room := BLOCK - place % BLOCK) < 7:  # too little for a piece: it is left empty
            place += room
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        piece = content[place + 7 : place + 7 + size]
        if len(piece) < size or not WHOLE <= kind <= LAST:
            return
        place += 7 + size
        record = piece if kind in (WHOLE, FIRST) else record + piece
        if kind in (WHOLE, LAST):
            yield record


def records_of(file: Path) -> Iterator[Any]:
    """Yields all that a `run-ID.wandb` holds, as W&B's own `Record`."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    return map(Record.FromString, _records(file.read_bytes()))


def rows_of(file: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a run's history in a `run-ID.wandb`, in the order in which they were told; of a
    picture what W&B says of its file, as a dict."""
    for record in records_of(file):
        if not record.HasField("history"):
            continue
        row: dict[str, Any] = {}
        for item in record.history.item:
            name, *inner = item.nested_key or [item.key]
            value = json.loads(item.value_json)
            row[name] = row.get(name, {}) | {"/".join(inner): value} if inner else value
        yield row
