"""`vitlab COMMAND ...`: a command's module is imported only when it is asked for."""

import argparse
import io
import os
import select
import signal
import sys
from importlib import import_module
from typing import NoReturn

from vitlab.commands import help
from vitlab.commands.help import COMMANDS
from vitlab.startup import no_garbage
from vitlab.words import plain

USAGE = """usage: vitlab COMMAND [KEY=VALUE ...]

{commands}

vitlab COMMAND --help says what a command does, and its keys; vitlab train --help GROUP what a group's
options are. --cfg job prints the composed config instead of running it; -m runs every combination of
comma-separated values, each in its own process; sweep=tpe searches; --config-dir DIR adds your own."""


def refuse(self: argparse.ArgumentParser, message: str) -> NoReturn:
    """Ends with a line where argparse, ours or that of Hydra, would print the whole usage before it."""
    print(f"vitlab: {plain(message)}; `{self.prog} --help` tells more", file=sys.stderr)
    sys.exit(2)


def run(command: str, arguments: list[str]) -> None:
    """Runs a command; what it prints is written out when it ends, however that is."""
    os.environ["PYTHONSAFEPATH"] = (
        "1"  # no Python that a command starts imports from the present folder, as `python -m` would
    )
    usual, argparse.ArgumentParser.error = argparse.ArgumentParser.error, refuse
    try:
        if help.asks_for_help(command, arguments):
            help.main(command, arguments)
            return
        with no_garbage():
            module = import_module(f"vitlab.commands.{command}")
        module.main(arguments)
    finally:
        argparse.ArgumentParser.error = usual
        sys.stdout.flush()


def reader_is_gone() -> bool:
    """Tells whether whoever reads what is printed has stopped, as in `vitlab list | head`."""
    output = select.poll()
    output.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def main() -> None:
    """Runs the command named by the first argument with the rest of them."""
    for stream in (sys.stdout, sys.stderr):
        # names of classes and files need not be of the terminal's letters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())))
    elif arguments[0] == "--version":
        from vitlab import __version__

        print(f"vitlab {__version__}")
    elif arguments[0] not in COMMANDS:
        from difflib import get_close_matches

        close = get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(COMMANDS)}"
        print(f"vitlab: unknown command {arguments[0]}; {hint}", file=sys.stderr)
        sys.exit(2)
    else:
        try:
            run(arguments[0], arguments[1:])
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            if not reader_is_gone():  # another pipe, such as one to a data loader's worker
                raise
            # or Python would complain at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except (OSError, MemoryError) as error:
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            from vitlab.trouble import one_line

            print(f"vitlab: {one_line(error)}", file=sys.stderr)
            sys.exit(getattr(error, "exit_status", 1))


if __name__ == "__main__":
    main()
