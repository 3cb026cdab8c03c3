"""README.md of an exported model: what it is, how it came about, how it is used, as far as known."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from vitlab import __version__
from vitlab.checkpoint.card import Card
from vitlab.command_line import train_words, without_places
from vitlab.export.labels import are_numbers, task_of, thresholds_of
from vitlab.export.preprocessing import in_words, resize_and_crop
from vitlab.models.vit import VisionTransformer
from vitlab.uncertainty import likely_range
from vitlab.words import in_markdown, plain

SHOWN_CLASSES = 40

MODEL_FACTS = ("name", "embed_dim", "depth", "num_heads", "ffn", "global_pool", "pos_embed")

PATCH_EMBED_FACTS = ("patch_size", "resnet", "stages", "stem", "norm")

PACKAGES = ("vitlab", "torch", "pytorch-lightning", "numpy", "pillow")
"""Whose versions a result depends on first; run.json has all."""

LEAST_RECOGNISED = 5

THEIR_OWN = {"timm": "timm's create_transform", "hf": "transformers' AutoImageProcessor"}
"""What prepares pictures in libraries that do so themselves, by one scaling and one cut."""


def run_record(checkpoint: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of run.json of the run that wrote RUN/checkpoints/X.ckpt; nothing where none or
    another run's lies there. Raises ValueError where the file is damaged."""
    file = checkpoint.absolute().parent.parent / "run.json"
    if not file.is_file():
        return {}
    try:
        record = json.loads(file.read_text())
        is_of_this_run = record["config"] == json.loads(json.dumps(config))
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        raise ValueError(
            f"{file} cannot be read; without it the export would leave out what it tells"
        ) from None
    return record if is_of_this_run else {}


def own_metrics(record: Mapping[str, Any], checkpoint: Path) -> dict[str, float]:
    """Returns what was measured with these weights, by split and metric: validation for the best checkpoint
    and the last, the test with the best one, if any."""
    metrics = record.get("metrics", {})
    has_best = any(name.startswith("best/") for name in metrics)
    kept = {}
    for name, value in metrics.items():
        split = name.partition("/")[0]
        of_best = split == "best" or (split == "test" and has_best)
        of_last = split in ("val", "test") and not of_best
        if "_of/" not in name and (
            (checkpoint.stem == "best" and of_best) or (checkpoint.stem == "last" and of_last)
        ):
            kept[name.removeprefix("best/")] = value
    return kept


def _front_matter(model: nn.Module, card: Card, format_name: str, library: str) -> str:
    kind = ["vision-transformer"] if isinstance(model, VisionTransformer) else []
    # the hub has no word for numbers of images
    task, tag = ("other", "regression") if are_numbers(card) else ("image-classification",) * 2
    tags = list(dict.fromkeys([tag, *kind, "vitlab", format_name, library]))
    return yaml.safe_dump({"library_name": library, "pipeline_tag": task, "tags": tags}, sort_keys=False)


def _listed(arguments: Mapping[str, Any], told: Sequence[str]) -> str:
    facts = ", ".join(f"{name} {in_markdown(arguments[name])}" for name in told if name in arguments)
    return f" ({facts})" if facts else ""


def _what_it_is(model: nn.Module, card: Card) -> Iterator[str]:
    names, facts = card.class_names, card.preprocessing
    arguments = card.config["model"]
    yield f"- Model: {type(model).__name__}{_listed(arguments, MODEL_FACTS)}"
    if isinstance(arguments.get("patch_embed"), dict):
        patch_embed = arguments["patch_embed"]
        name = in_markdown(patch_embed["_target_"].rpartition(".")[2])
        yield f"- Patch embedding: {name}{_listed(patch_embed, PATCH_EMBED_FACTS)}"
    if arguments.get("weights"):
        yield f"- Trained on from the weights {in_markdown(without_places(str(arguments['weights'])))}"
    yield f"- Parameters: {sum(parameter.numel() for parameter in model.parameters()):,}"
    yield (
        f"- Input: {facts.in_channels} x {facts.image_size[0]} x {facts.image_size[1]} (channels,"
        " height, width)"
    )
    more = f", ... ({len(names)} in all, see preprocessing.json)" if len(names) > SHOWN_CLASSES else ""
    thresholds = thresholds_of(card)
    if thresholds is None:
        what = "Numbers, in the units of the data" if are_numbers(card) else "Classes"
        yield f"- {what}, {len(names)}: {', '.join(map(in_markdown, names[:SHOWN_CLASSES]))}{more}"
        return
    told = [f"{in_markdown(name)} {least:.3f}" for name, least in zip(names, thresholds, strict=True)]
    yield (
        f"- Labels, {len(names)}, any number of them an image; each score's sigmoid is a probability, and the"
        " image has the label from this one on (fitted on the validation split):"
        f" {', '.join(told[:SHOWN_CLASSES])}{more}"
    )


def _data(card: Card, record: Mapping[str, Any]) -> Iterator[str]:
    if "datamodule" in card.config:
        named = f"data={record['choices']['data']}, " if record.get("choices", {}).get("data") else ""
        yield f"- Source: {in_markdown(named + str(card.config['datamodule']['source']['_target_']))}"
    if "data" in record:
        when = (
            f", as hashed on {in_markdown(record['data_hashed'])} and not written to since"
            if record.get("data_hashed")
            else ""
        )
        yield f"- Fingerprint of its content: {in_markdown(record['data']['fingerprint'])}{when}"
        splits = record["data"]["splits"].items()
        yield "- Images: " + ", ".join(f"{split['images']:,} {in_markdown(name)}" for name, split in splits)


def _training(checkpoint: Path, record: Mapping[str, Any]) -> Iterator[str]:
    if "overrides" in record:
        yield f"    {plain(shlex.join(map(without_places, train_words(record))))}\n"
    yield f"- Checkpoint: {in_markdown(checkpoint.name)}"
    if "status" in record and record["status"] != "completed":
        yield f"- The run had not completed: {in_markdown(record['status'])}"
    for name, key in (
        ("Seed", "seed"),
        ("Steps", "steps"),
        ("Began", "started"),
        ("Seconds, with its test", "seconds"),
    ):
        if key in record:
            yield f"- {name}: {in_markdown(record[key])}"
    if "hardware" in record:
        hardware = record["hardware"]
        yield (
            f"- Hardware: {in_markdown(', '.join(hardware['gpus']) or hardware['processor'])},"
            f" {in_markdown(hardware['cores'])} cores"
        )
    if "packages" in record:
        known = {name: record["packages"][name] for name in PACKAGES if name in record["packages"]}
        packages = ", ".join(f"{name} {in_markdown(version)}" for name, version in known.items())
        yield f"- Versions: Python {in_markdown(record['python'])}, {packages}"
    if record.get("git"):
        changed = " with uncommitted changes" if record["git"]["diff"] else ""
        yield f"- Code: commit {in_markdown(record['git']['commit'])}{changed}"
    yield f"- Exported with vitlab {__version__}, torch {torch.__version__}"


def _results(metrics: Mapping[str, float], record: Mapping[str, Any]) -> Iterator[str]:
    yield "| split | metric | value | 95 % interval | images |"
    yield "|---|---|---|---|---|"
    for name, value in metrics.items():
        split, _, metric = name.partition("/")
        count = record.get({"val": "num_validated", "test": "num_tested"}[split])
        is_share = metric in record.get("objective", {}).get("shares", ())
        likely = "{:.1%} to {:.1%}".format(*likely_range(value, count)) if is_share and count else ""
        shown, images = f"{value:.2%}" if is_share else f"{value:.4f}", f"{count:,}" if count else ""
        yield f"| {in_markdown(split)} | {in_markdown(metric)} | {shown} | {likely} | {images} |"
    has_test = any(name.startswith("test/") for name in metrics)
    if has_test:
        yield from _least_recognised(record["metrics"])
    is_chosen = any(name.startswith("best/") for name in record["metrics"]) and has_test
    chosen = (
        " The checkpoint was chosen by its validation, so that number is a little too good."
        if is_chosen
        else ""
    )
    yield (
        "\nThe interval (Wilson 1927) says what the choice of the images leaves open; pictures of another"
        f" kind may differ more.{chosen}"
    )


def _least_recognised(metrics: Mapping[str, float]) -> Iterator[str]:
    of_classes = {
        name.partition("_of/")[2]: value
        for name, value in metrics.items()
        if name.startswith("test/accuracy_of/")
    }
    if len(of_classes) > 2:
        least = sorted(of_classes.items(), key=lambda item: item[1])[:LEAST_RECOGNISED]
        yield "\nRecognised least in the test: " + ", ".join(
            f"{in_markdown(name)} {value:.1%}" for name, value in least
        )


def _preprocessing(card: Card, format_name: str) -> Iterator[str]:
    for number, step in enumerate(in_words(card.preprocessing), start=1):
        yield f"{number}. {step}"
    if format_name in THEIR_OWN:
        facts = card.preprocessing
        near = (
            "is near to them for opaque pictures of 8 bits"
            if resize_and_crop(facts).same
            else "cuts out another part"
        )
        if facts.in_channels not in (1, 3):
            near = "reads no such bands"
        elif facts.fit == "pad":
            near = {"timm": "pads with the mean colour instead", "hf": "does not pad"}[format_name]
        yield (
            f"\nThe program above takes these steps. {THEIR_OWN[format_name]} does not: it {near}, and the"
            " results were not measured so."
        )


def _use(card: Card, checkpoint: Path, snippet: str) -> Iterator[str]:
    yield "From the command line, with vitlab and the checkpoint that this was exported from:\n"
    command = ["vitlab", "predict", f"checkpoint={checkpoint.name}", "images=picture.jpg"]
    yield f"    {plain(shlex.join(command))}\n"
    yield "From Python, in this folder, without vitlab:\n"
    yield f"```python\n{snippet}\n```"
    if (temperature := card.learned.get("temperature", 1.0)) != 1.0:
        yield (
            f"\nThe probability of each class is `softmax(logits / {temperature:.6g})`: the temperature was"
            " fitted on the validation split (Guo et al. 2017), and `vitlab predict` uses it."
        )


def model_card(
    model: nn.Module,
    card: Card,
    record: Mapping[str, Any],
    checkpoint: Path,
    format_name: str,
    library: str,
    snippet: str,
) -> str:
    """Returns the page as Markdown under the front matter that the Hugging Face hub reads."""
    name = in_markdown(card.config.get("name", checkpoint.stem))
    metrics = own_metrics(record, checkpoint)
    sections = {
        "What it is": _what_it_is(model, card),
        "Results": _results(metrics, record) if metrics else (),
        "Data": _data(card, record),
        "Use": _use(card, checkpoint, snippet),
        "Preprocessing": _preprocessing(card, format_name),
        "Training": _training(checkpoint, record),
    }
    page = f"---\n{_front_matter(model, card, format_name, library)}---\n\n# {name}: {task_of(card)}\n"
    for title, lines in sections.items():
        text = "\n".join(lines)
        page += f"\n## {title}\n\n{text}\n" if text else ""
    return page
