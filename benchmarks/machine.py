"""Where and how a benchmark ran: what the command line chose, and the lines that say on what it was
measured."""

import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from benchmarks.timing import Clock
from vitlab.machine import num_cores, processor_facts, processor_name


@dataclass(frozen=True)
class Setting:
    """What the command line chose; where it chose nothing, a part has its own number."""

    quick: bool = False
    rounds: int | None = None
    threads: int | None = None
    device: str = "cpu"
    clock: str = "wall"  # or cpu: this process's seconds of work, the fairer where other processes are busy

    def rounds_or(self, usual: int) -> int:
        return self.rounds or (2 if self.quick else usual)

    def use_threads(self, usual: int | None = None) -> int:
        """Sets the number of threads for what follows (all cores where neither the user nor the part says)
        and returns it."""
        threads = self.threads or usual or num_cores()
        torch.set_num_threads(threads)
        return threads

    @property
    def rate_unit(self) -> str:
        return "images per CPU second" if self.clock == "cpu" else "images/s"

    def ticks(self) -> Clock:
        """Returns the clock to time by; on a GPU it waits for the work in flight."""
        if self.device == "cuda":
            return _synchronised
        return time.process_time if self.clock == "cpu" else time.perf_counter


def _synchronised() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def cpu_name() -> str:
    flags = set(processor_facts().get("flags", "").split())
    told = flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
    return f"{processor_name()} ({', '.join(sorted(told))})"


def hardware(device: str = "cpu") -> str:
    """Returns the processor, its number of cores that this process may use, and the GPU if it is one that is
    measured."""
    gpu = f"{torch.cuda.get_device_name()}, " if device == "cuda" else ""
    return f"{gpu}{num_cores()} cores of {cpu_name()}"


def versions(libraries: Iterable[str] = ()) -> str:
    """Returns Python's version, torch's, and those of other installed packages."""
    return ", ".join(
        [
            f"Python {platform.python_version()}",
            *(f"{name} {version(name)}" for name in ("torch", *libraries)),
        ]
    )


def missing(libraries: Iterable[str]) -> list[str]:
    """Returns which of these packages are not installed."""
    absent = []
    for name in libraries:
        try:
            version(name)
        except PackageNotFoundError:
            absent.append(name)
    return absent


def where() -> str:
    """Returns the line that stands beside a number: processor, threads, versions."""
    return f"{hardware()}, {torch.get_num_threads()} thread(s); {versions()}"


def load() -> float:
    """Returns how many processes wanted to run in the last minute, on average."""
    return os.getloadavg()[0]


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table whose columns line up in a terminal too; numbers stand right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "| "
        + " | ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = (
        "|"
        + "|".join(
            "-" * (width + 1) + ":" if column else "-" * (width + 2) for column, width in enumerate(widths)
        )
        + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])
