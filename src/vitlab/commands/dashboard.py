"""`vitlab dashboard`: TensorBoard on a folder of runs, its own charts first, every picture of a tag kept."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vitlab.words import plain


def main(arguments: Sequence[str]) -> None:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser("vitlab dashboard", description="Open TensorBoard on a folder of runs.")
    which = "a run, an experiment or all of outputs/ (the default)"
    parser.add_argument("folder", nargs="?", default="outputs", help=which)
    parser.add_argument("--port", type=int, default=6006)
    parser.add_argument("--host", default="localhost")
    options = parser.parse_args(arguments)
    if not Path(options.folder).is_dir():
        print(f"vitlab: {plain(options.folder)} is no folder; `vitlab train` makes outputs/", file=sys.stderr)
        sys.exit(2)
    flags = ["--logdir", str(Path(options.folder)), "--port", str(options.port), "--host", options.host]
    flags += ["--samples_per_plugin", "images=200,text=50", "--load_fast", "false"]
    sys.exit(serve(flags))


def serve(flags: Sequence[str]) -> int:
    """Runs TensorBoard with these flags, the Custom Scalars tab with loss and accuracy as the first one."""
    from tensorboard import default, program
    from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin

    plugins = default.get_plugins()
    # the order of the tabs; the first that has data is shown
    plugins.sort(key=lambda plugin: plugin is not CustomScalarsPlugin)
    tensorboard = program.TensorBoard(plugins=plugins)
    tensorboard.configure(["", *flags])
    try:
        return tensorboard.main()
    except KeyboardInterrupt:
        return 0
