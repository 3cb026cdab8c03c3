"""What this machine is: processor, cores, and the GPUs of NVIDIA's driver, without torch."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from vitlab.programs import ask


def num_cores() -> int:
    """Returns how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def processor_facts() -> dict[str, str]:
    """Returns what Linux says of the first core, such as `vendor_id` and `flags`; else nothing."""
    source = Path("/proc/cpuinfo")
    lines = source.read_text().partition("\n\n")[0].splitlines() if source.is_file() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def processor_name() -> str:
    """Returns the processor's name, such as `AMD EPYC`."""
    return processor_facts().get("model name") or platform.processor()


def processor_maker() -> str:
    """Returns the processor's maker, such as `AuthenticAMD`, or what the platform knows."""
    return processor_facts().get("vendor_id") or platform.processor()


def nvidia_smi(field: str) -> list[str]:
    """Returns what NVIDIA's driver says of each GPU, such as its `index`; empty without one."""
    try:
        return ask(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]).split()
    except (OSError, subprocess.SubprocessError):
        return []
