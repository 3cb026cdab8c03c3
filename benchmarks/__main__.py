"""Times vitlab and its peers, and writes a page of tables for each part.

    python -m benchmarks                        # all parts; about 15 minutes on two quiet cores
    python -m benchmarks training input --quick # some parts, small, for a look
    python -m benchmarks training --device cuda # on a machine with a GPU; `make gpu` asks more of it

A page is `benchmarks/results/PART.md` (with --quick: `outputs/benchmarks/PART.md`), ready to be pasted:
tables, hardware, versions, command.
"""

import argparse
import importlib
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.machine import Setting, hardware, load, missing, versions

PARTS = {
    "inference": "speed of a forward pass, beside timm, torchvision, transformers and vit-pytorch",
    "training": "speed of a training step, beside timm, torchvision, transformers and vit-pytorch",
    "input": "speed of CIFAR-like batches, beside torchvision's loader",
    "photographs": "speed from JPEG files to batches at 224 px, beside torchvision's loader",
    "on_demand": "speed from JPEG files to batches without a cache, beside four loaders and decoding alone",
    "overhead": "time that a training step takes beyond its arithmetic",
    "metrics": "what metrics cost, the default ones and all that an objective knows",
    "trust": "a whole fit beside a plain Lightning one",
    "startup": "time from `vitlab train` to its first step, beside the time of its imports",
    "attention": "time to get all attention maps, beside other libraries",
    "attention_callback": "time that pictures of attention take, as a share of an epoch",
    "memory": "peak memory of a training step, each library alone",
    "growth": "memory of all processes over three epochs of pictures that are decoded at each visit",
    "scaling": "what several devices send each other, and which model fits (arithmetic)",
    "accuracy": "accuracy by training time, beside the usual template",
}


ON_A_GPU = {"inference", "training"}


def number_from_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 up")
    return int(text)


def run_part(name: str, setting: Setting, folder: Path) -> None:
    """Prints a part's tables as they come, and writes them as a page."""
    part = importlib.import_module(f"benchmarks.{name}")
    began, load_before = time.perf_counter(), load()
    blocks = [f"## {name}: {PARTS[name]}"]
    print(f"\n{blocks[0]}", flush=True)
    for block in part.measure(setting):
        print(f"\n{block}", flush=True)
        blocks.append(block)
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    seconds = time.perf_counter() - began
    where = f"{hardware(setting.device)}; {versions(part.LIBRARIES)}"
    busy = f"load average {load_before:.1f} before, {load():.1f} after"
    blocks.append(f"`{command}`, {time.strftime('%Y-%m-%d')}, {seconds:.0f} s; {where}; {busy}.")
    print(f"\n{blocks[-1]}")
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.md"
    page.write_text("\n\n".join(blocks) + "\n")
    print(f"\nwrote {page}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    listing = "\n".join(f"  {name:20} {what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=f"{__doc__}\nparts:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds, nothing compiled")
    parser.add_argument("--rounds", type=number_from_one, help="default: each part's own")
    parser.add_argument(
        "--threads",
        type=number_from_one,
        help="default: all cores, but one where a model is too small for more",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of inference and training")
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: this process's seconds of work, for a busy machine",
    )
    options = vars(parser.parse_args(arguments))
    parts = options.pop("parts") or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if options["device"] == "cuda":
        if others := set(parts) - ON_A_GPU:
            parser.error(
                f"--device cuda is for {', '.join(sorted(ON_A_GPU))}, not for {', '.join(sorted(others))}"
            )
        if options["clock"] == "cpu":
            parser.error("--clock cpu does not see a GPU's work; --clock wall would work")
        if not torch.cuda.is_available():
            parser.error("--device cuda: torch finds no GPU here")
    for name in parts:  # before the first of them takes its minutes
        if absent := missing(importlib.import_module(f"benchmarks.{name}").LIBRARIES):
            parser.error(
                f"{name} needs {', '.join(absent)}, not installed here; make setup, or pip install"
                f" {' '.join(absent)}, would do"
            )
    warnings.filterwarnings("ignore")  # the libraries' own; a benchmark's page is its answer
    setting = Setting(**options)
    folder = Path("outputs", "benchmarks") if setting.quick else Path(__file__).parent / "results"
    for name in parts:
        run_part(name, setting, folder)


if __name__ == "__main__":
    main()
