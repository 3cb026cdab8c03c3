"""`vitlab COMMAND ...`: a command's module is imported only when it is asked for."""

import sys
from importlib import import_module

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
            import_module(f"vitlab.commands.{arguments[0]}").main(arguments[1:])
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
