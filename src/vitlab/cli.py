"""`vitlab COMMAND ...`: a command's module is imported only when it is asked for."""

import os
import select
import signal
import sys
from importlib import import_module

from vitlab.startup import no_garbage

COMMANDS = {
    "train": "train a model, then test its best checkpoint       vitlab train experiment=digits_vit",
    "test": "test a checkpoint on its data's test split         vitlab test checkpoint=RUN/checkpoints/best.ckpt",
    "predict": "classify images with a checkpoint                  vitlab predict checkpoint=FILE images=PHOTO_OR_FOLDER",
    "inspect": "a page on where a checkpoint's model looks         vitlab inspect checkpoint=FILE",
    "export": "write a checkpoint for timm, transformers, ONNX    vitlab export checkpoint=FILE format=timm|hf|onnx|torch_export",
    "list": "show the runs in a folder                          vitlab list [FOLDER] [--json]",
    "reproduce": "run a recorded training again, compare bit by bit  vitlab reproduce RUN_DIR",
    "report": "compare the runs of a sweep, or several          vitlab report outputs/digits_vit/SWEEP [DIR ...]",
    "dashboard": "open TensorBoard on a folder of runs               vitlab dashboard [FOLDER] [--port N]",
}

USAGE = """usage: vitlab COMMAND [KEY=VALUE ...]

{commands}

vitlab train --help lists the options of every config group; --cfg job prints the composed config instead of running it;
-m runs every combination of comma-separated values, each in its own process; sweep=tpe searches; --config-dir DIR adds your own configs."""


def run(command: str, arguments: list[str]) -> None:
    """Runs a command; what it prints is written out when it ends, however that is."""
    try:
        with no_garbage():
            module = import_module(f"vitlab.commands.{command}")
        module.main(arguments)
    finally:
        sys.stdout.flush()


def reader_is_gone() -> bool:
    """Tells whether whoever reads what is printed has stopped, as in `vitlab list | head`."""
    output = select.poll()
    output.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def main() -> None:
    """Runs the command named by the first argument with the rest of them."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())))
    elif arguments[0] == "--version":
        from vitlab import __version__

        print(f"vitlab {__version__}")
    elif arguments[0] not in COMMANDS:
        print(f"vitlab: unknown command {arguments[0]}; known: {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    else:
        try:
            run(arguments[0], arguments[1:])
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            if not reader_is_gone():  # another pipe, such as one to a data loader's worker
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at its end
            sys.exit(128 + signal.SIGPIPE)
        except (OSError, MemoryError) as error:
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            from vitlab.commands.trouble import one_line

            print(f"vitlab: {one_line(error)}", file=sys.stderr)
            sys.exit(getattr(error, "exit_status", 1))


if __name__ == "__main__":
    main()
