"""`vitlab dashboard`: TensorBoard on a folder of runs, with every picture of a tag kept."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vitlab.words import plain


def main(arguments: Sequence[str]) -> None:
    """Replaces this process by TensorBoard."""
    parser = argparse.ArgumentParser("vitlab dashboard", description="Open TensorBoard on a folder of runs.")
    parser.add_argument("folder", nargs="?", default="outputs", help="a run, an experiment or all of outputs/ (the default)")
    parser.add_argument("--port", type=int, default=6006)
    parser.add_argument("--host", default="localhost")
    options = parser.parse_args(arguments)
    if not Path(options.folder).is_dir():
        print(f"vitlab: {plain(options.folder)} is no folder; `vitlab train` makes outputs/", file=sys.stderr)
        sys.exit(2)
    flags = ["--logdir", str(Path(options.folder)), "--port", str(options.port), "--host", options.host]
    flags += ["--samples_per_plugin", "images=200,text=50", "--load_fast", "false"]
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *flags])
