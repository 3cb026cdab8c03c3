"""What a result depends on besides its config: code, installed packages, machine, and its arithmetic."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from vitlab.machine import nvidia_smi, processor_name
from vitlab.programs import ask

CODE = ("src", "conf")
"""Folders of a checkout whose untracked files belong to the recorded diff; others may hold data."""


def surroundings() -> dict[str, Any]:
    """Returns code, packages, machine and arithmetic as plain data."""
    return {
        "python": platform.python_version(),
        "packages": packages(),
        "hardware": hardware(),
        "numerics": numerics(),
        "git": git_state(),
    }


def packages() -> dict[str, str]:
    """Returns the version of every installed distribution, as `pip freeze` would name them."""
    # Whoever imports setuptools gets its private copies of other packages at the end of sys.path: nobody
    # installed those.
    places = [place for place in sys.path if Path(place).name != "_vendor"]
    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=places):
        # "": an .egg-info that is a file
        text = next(filter(None, map(distribution.read_text, ("METADATA", "PKG-INFO", ""))), "")
        # distribution.metadata would parse the whole README with it
        facts = HeaderParser().parsestr(text.partition("\n\n")[0])
        if facts["Name"]:  # not in what a broken uninstall has left behind
            found.setdefault(facts["Name"].lower().replace("_", "-"), facts["Version"])
    return dict(sorted(found.items()))


def hardware() -> dict[str, Any]:
    """Returns the processor, threads and accelerators of this machine, with the versions of their drivers."""
    facts: dict[str, Any] = {
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }
    if facts["gpus"]:
        facts |= {
            "driver": next(iter(nvidia_smi("driver_version")), None),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return facts


def numerics() -> dict[str, Any]:
    """Returns the switches of torch that decide between fast and repeatable arithmetic."""
    return {
        "torch": torch.__version__,  # with the build, such as +cpu
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
    }


def git_state(source: Path = Path(__file__).parent) -> dict[str, Any] | None:
    """Returns commit and uncommitted diff of the code in `source`, or None where it is no git checkout (an
    installed package). The diff has new files too where they lie in `CODE`. Not in it: ignored files, new
    files elsewhere, and code outside the checkout."""

    def git(*arguments: str, **environment: str) -> str:
        # which would be a program's name
        return ask(["git", "-c", "core.fsmonitor=false", *arguments], cwd=source, **environment)

    try:
        git("ls-files", "--error-unmatch", ".")
        root = Path(git("rev-parse", "--show-toplevel").strip())
        with tempfile.TemporaryDirectory() as scratch:
            # a copy of the index that knows of the new files; their content stays where it is
            index = Path(scratch) / "index"
            shutil.copyfile(git("rev-parse", "--path-format=absolute", "--git-path", "index").strip(), index)
            new = [str(root / folder) for folder in CODE if (root / folder).is_dir()]
            if new:
                git("add", "--intent-to-add", "--", *new, GIT_INDEX_FILE=str(index))
            return {
                "commit": git("rev-parse", "HEAD").strip(),
                "diff": git("diff", "HEAD", "--no-color", "--no-ext-diff", GIT_INDEX_FILE=str(index)),
            }
    except (OSError, subprocess.SubprocessError):
        return None


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """Returns a line for each fact that has changed, with dotted keys; of long texts just that."""
    lines: list[str] = []
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        here = f"{path}.{key}" if path else str(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, here)
        elif old != new:
            is_long = max(len(str(old)), len(str(new))) > 80
            lines.append(f"{here} differs" if is_long else f"{here} was {_word(old)}, is {_word(new)}")
    return lines


def _word(value: Any) -> str:
    return "absent" if value is None else str(value) if value != "" else "empty"
