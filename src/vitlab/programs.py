"""Other programs (git, nvidia-smi): never of the present folder, steered by these variables alone."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

KEPT = (
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
)
"""Variables of the environment that a program needs to find its files and to name them."""

TIMEOUT_SECONDS = 20


def clean_environment() -> dict[str, str]:
    """Returns the environment of a program: what is kept, and of PATH the absolute folders."""
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"PATH": os.pathsep.join(place for place in places if Path(place).is_absolute())}


def ask(command: Sequence[str], cwd: Path | None = None, **environment: str) -> str:
    """Returns what a program prints. Raises OSError or SubprocessError where it is not there or fails."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
        timeout=TIMEOUT_SECONDS,
    ).stdout
