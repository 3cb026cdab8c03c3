"""What a step of `vitlab train` spends its time on, seen from a callback: the host's parts, the GPU's busy
share, memory."""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.profiler import ProfilerActivity, profile

PROFILED = 20
"""Steps whose kernels are counted, after as many others whose time is taken."""


def busy_seconds(kernels: list[tuple[float, float]]) -> float:
    """Returns how long at least one of the intervals lasted, in seconds; they are given in microseconds."""
    busy, until = 0.0, float("-inf")
    for start, end in sorted(kernels):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy / 1e6


class Watch(pl.Callback):
    """Writes to `file` what the steps after `skip` cost: milliseconds of the host's time by part, the share
    in which the GPU works."""

    def __init__(self, file: str, skip: int):
        self.file = Path(file)
        self.skip = skip
        self.steps: list[tuple[float, float, bool]] = []  # input, step, whether it logged
        self.ended: float | None = None
        self.began = 0.0
        self.opened = 0.0
        self.profiler: Any = None
        self.facts: dict[str, float] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.began = time.perf_counter()
        number = trainer.global_step - self.skip
        if number == 0:
            self._wait()
            self.opened, self.steps = time.perf_counter(), []
        elif number == PROFILED:
            self._wait()
            self.facts["step, ms"] = 1000 * (time.perf_counter() - self.opened) / PROFILED
            self._tell_host()
            self.profiler = profile(
                activities=[
                    ProfilerActivity.CPU,
                    *([ProfilerActivity.CUDA] if torch.cuda.is_available() else []),
                ]
            )
            self.profiler.__enter__()
        elif number == 2 * PROFILED and self.profiler is not None:
            self._wait()
            self.profiler.__exit__(None, None, None)
            self._tell_gpu()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self.ended is not None:
            self.steps.append((self.began - self.ended, now - self.began, pl_module.is_logging_step()))
        self.ended = now

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.ended = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.ended = None

    def _wait(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def _tell_host(self) -> None:
        plain = [step for _, step, logs in self.steps if not logs]
        logging = [step for _, step, logs in self.steps if logs]
        self.facts["host, to the next batch, ms"] = 1000 * statistics.median(
            wait for wait, _, _ in self.steps
        )
        self.facts["host, a step, ms"] = 1000 * statistics.median(plain)
        if logging:
            self.facts["host, a step that logs, ms"] = 1000 * statistics.median(logging)

    def _tell_gpu(self) -> None:
        kernels = [
            (event.time_range.start, event.time_range.end)
            for event in self.profiler.events()
            if event.device_type == torch.autograd.DeviceType.CUDA
        ]
        self.profiler = None
        if kernels:
            busy = 1000 * busy_seconds(kernels) / PROFILED
            self.facts |= {"GPU at work, ms a step": busy, "kernels a step": len(kernels) / PROFILED}
            self.facts["GPU idle, share"] = max(0.0, 1 - busy / self.facts["step, ms"])
            self.facts["peak memory, GiB"] = torch.cuda.max_memory_allocated() / 2**30
        self.file.write_text(json.dumps(self.facts))
