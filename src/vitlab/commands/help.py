"""`vitlab COMMAND --help`: what a command does, its groups and its keys, read from the comments of conf/."""

import difflib
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from vitlab.config.conf_files import Key, conf_dir, conf_groups, defaults, description, keys, options
from vitlab.config.suggest import TAKES_GROUPS

COMMANDS = {
    "train": "train a model, then test its best checkpoint       vitlab train experiment=digits_vit",
    "check": "look at data before training on it                 vitlab check data=folder data.root=PHOTOS",
    "test": (
        "test a checkpoint on its data's test split         vitlab test checkpoint=RUN/checkpoints/best.ckpt"
    ),
    "predict": (
        "classify images with a checkpoint                  vitlab predict checkpoint=FILE"
        " images=PHOTO_OR_FOLDER"
    ),
    "inspect": "a page on where a checkpoint's model looks         vitlab inspect checkpoint=FILE",
    "export": (
        "write a checkpoint for timm, transformers, ONNX    vitlab export checkpoint=FILE"
        " format=timm|hf|onnx|torch_export"
    ),
    "list": "show the runs in a folder                          vitlab list [FOLDER] [--json]",
    "reproduce": "run a recorded training again, compare bit by bit  vitlab reproduce RUN_DIR",
    "report": (
        "compare the runs of a sweep, or several          vitlab report outputs/digits_vit/SWEEP [DIR ...]"
    ),
    "completion": 'complete by the Tab key                            eval "$(vitlab completion bash)"',
    "dashboard": "open TensorBoard on a folder of runs               vitlab dashboard [FOLDER] [--port N]",
}
"""The commands, with what each is for in a line."""

EXAMPLES = {
    "train": (
        "vitlab train experiment=digits_vit",
        "vitlab train data=folder data.root=PHOTOS model=vit_tiny trainer.max_epochs=30",
        "vitlab train model=vit_tiny data=cifar10 optimizer=muon hardware=gpu data.root=DIR",
        "vitlab train -m model=vit_micro,vit_tiny seed=0,1,2",
        "vitlab train resume=RUN",
    ),
    "check": (
        "vitlab check data=folder data.root=PHOTOS",
        "vitlab check experiment=flowers_vit data.root=PHOTOS data.split_seed=1",
    ),
    "test": (
        "vitlab test checkpoint=RUN/checkpoints/best.ckpt",
        "vitlab test checkpoint=RUN/checkpoints/best.ckpt data.root=DIR",
    ),
    "predict": (
        "vitlab predict checkpoint=RUN/checkpoints/best.ckpt images=photo.jpg",
        "vitlab predict checkpoint=RUN/checkpoints/best.ckpt images=FOLDER explain=rollout,relevance",
    ),
    "inspect": (
        "vitlab inspect checkpoint=RUN/checkpoints/best.ckpt",
        "vitlab inspect checkpoint=... split=val num_images=128",
    ),
    "export": (
        "vitlab export checkpoint=RUN/checkpoints/best.ckpt format=timm",
        "vitlab export checkpoint=... format=onnx opset=18",
    ),
}
DOES = {
    "train": (
        "Trains a model, then tests its best checkpoint. The run's folder, outputs/NAME/DATE_TIME, keeps all"
        " that happened."
    ),
    "check": (
        "Looks at data as a training would see it, and trains nothing. A folder, outputs/check/DATE_TIME,"
        " gets a page and sheets."
    ),
    "test": (
        "Tests a checkpoint on the test split of its data. Everything comes from the checkpoint; what you"
        " give replaces it."
    ),
    "predict": (
        "Classifies pictures with a checkpoint: a table, predictions.csv, and with `explain` a page for each"
        " picture."
    ),
    "inspect": (
        "Writes one page on where a checkpoint's model looks, and how far each picture of that can be"
        " trusted."
    ),
    "export": (
        "Writes a checkpoint as a folder that another library opens, with a model card. It checks that the"
        " logits are the same."
    ),
}
OPTIONS = (
    ("--cfg job", "print the composed config and run nothing"),
    ("--config-dir DIR", "a folder of your own configs"),
    ("-m", "(train) run every combination of comma-separated values, each in a process of its own"),
)


def asks_for_help(command: str, arguments: Sequence[str]) -> bool:
    """Tells whether a command is asked for its page."""
    return command in DOES and not {"-h", "--help"}.isdisjoint(arguments)


def _columns(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Yields two columns, the second wrapped; a first that is too long stands on a line of its own."""
    rows = list(rows)
    left = min(max((len(first) for first, _ in rows), default=0), 38) + 2
    for first, second in rows:
        lines = textwrap.wrap(second, max(width - left - 2, 30)) or [""]
        if len(first) > left - 2:
            yield f"  {first}"
        else:
            yield f"  {first.ljust(left)}{lines.pop(0)}".rstrip()
        yield from (f"  {' ' * left}{line}" for line in lines)


def _as_rows(found: Iterable[Key]) -> Iterator[tuple[str, str]]:
    for key in found:
        yield (f"{key.name}=..." if key.default == "???" else f"{key.name}={key.default}"), key.comment


def page(command: str, width: int) -> list[str]:
    """Returns the page of a command as lines of at most `width` columns, as far as its words allow."""
    chosen = defaults(command)
    lines = [DOES[command], "", "examples", *(f"  {example}" for example in EXAMPLES[command])]
    if command == "train":
        usual = {group: option.strip("[]").split(", ") for group, option in chosen.items()}
        rows = []
        for group in conf_groups():
            marked = [f"{name}{'*' * (name in usual.get(group, ()))}" for name in options(group)]
            rows.append((group, ", ".join(marked)))
        rows = [row for row in rows if row[0] != "sweep"]
        way = "`vitlab train --help GROUP` says what each is, and shows its keys"
        lines += ["", f"groups: GROUP=OPTION; * is the default; {way}", *_columns(rows, width)]
    elif command in TAKES_GROUPS:
        way = f"`vitlab {command} --help data` shows those of data"
        lines += ["", f"groups and keys: those of `vitlab train`; {way}"]
    elif chosen:
        rows = [(group, ", ".join(options(group))) for group in chosen]
        lines += ["", "groups: GROUP=OPTION", *_columns(rows, width)]
    lines += ["", "keys: KEY=VALUE, with their defaults; ... must be given"]
    lines += _columns(_as_rows(keys(conf_dir() / f"{command}.yaml")), width)
    return [*lines, "", "options", *_columns(OPTIONS if command == "train" else OPTIONS[:2], width)]


def _shared(group: str) -> Iterator[Key]:
    """Yields the keys of all options of a group, each once; where defaults differ, with each option's own."""
    found: dict[str, dict[str, Key]] = {}
    for option in options(group):
        for key in keys(conf_dir() / group / f"{option}.yaml"):
            found.setdefault(key.name, {})[option] = key
    for name, by_option in found.items():
        values = {key.default for key in by_option.values()}
        comment = next((key.comment for key in by_option.values() if key.comment), "")
        if len(values) == 1:
            yield Key(name, values.pop(), comment)
        else:
            each = ", ".join(f"{option} {key.default}" for option, key in by_option.items())
            yield Key(name, "VALUE", f"{comment} ({each})".strip())


def group_page(group: str, width: int) -> list[str]:
    """Returns a group's options, and the keys that any of them has. Raises ValueError where there is none."""
    groups = conf_groups()
    if group not in groups:
        close = difflib.get_close_matches(group, groups, n=1)
        way = f"did you mean {close[0]}?" if close else f"there are {', '.join(groups)}"
        raise ValueError(f"--help {group}: no such group; {way}")
    rows = [(option, description(group, option)) for option in options(group)]
    lines = [f"{group}=OPTION", *_columns(rows, width)]
    if group != "experiment":  # whose files change other groups' keys
        lines += ["", "keys, with their defaults", *_columns(_as_rows(_shared(group)), width)]
    return lines


def main(command: str, arguments: Sequence[str]) -> None:
    """Prints the page of a command, or of the group that stands behind --help."""
    width = min(shutil.get_terminal_size((110, 24)).columns, 130)
    topics = [argument for argument in arguments if not argument.startswith("-") and "=" not in argument]
    try:
        of_group = topics and command in TAKES_GROUPS
        print("\n".join(group_page(topics[0], width) if of_group else page(command, width)))
    except ValueError as error:
        print(f"vitlab: {error}", file=sys.stderr)
        sys.exit(2)
