"""`vitlab check`: looks at data as a training would see it, and trains nothing."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vitlab.config.compose import reference_config, run_with_hydra

log = logging.getLogger(__name__)

TABLE_ROWS = 40
"""Classes in the table at the terminal; the page has all."""


@contextmanager
def notes_of(name: str) -> Iterator[list[str]]:
    """Collects what is logged as a warning below a logger while the block runs."""
    notes: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: notes.append(record.getMessage())
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield notes
    finally:
        logger.removeHandler(handler)


def _to_look_at(node: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the datamodule's node with a source that opens each picture once and goes on at bad ones."""
    usual = {"on_bad_image": "skip", "store": "none"}
    source = node["source"] | {key: value for key, value in usual.items() if key in node["source"]}
    statistics = {key: node[key] or [0.5] * node["in_channels"] for key in ("mean", "std")}
    return dict(node) | {"source": source} | statistics


def summary_of(facts: Mapping[str, Any], source: str) -> list[str]:
    """Returns what the data is and how it is split, a line each."""
    split = facts["split"]
    sizes = ", ".join(f"{part['images']:,} {name}" for name, part in facts["splits"].items())
    how, cut = [f"seed {split['seed']}"], {"val", "test"} - set(split["own_parts"])
    if split["num_folds"] is not None:
        how.append(f"fold {split['fold']} of {split['num_folds']}")
        cut -= {"val" if "test" in split["own_parts"] else "test"}
    how += [f"{name}_fraction {split[f'{name}_fraction']:g}" for name in sorted(cut)]
    how += [f"{name} is the data's own" for name in split["own_parts"]]
    lines = [
        f"{source}: {facts['images']:,} images of {len(facts['classes']):,} classes",
        f"split: {sizes} ({', '.join(how)})",
    ]
    if groups := facts["groups"]:
        lines.append("groups: " + ", ".join(f"{number:,} in {name}" for name, number in groups.items()))
    if weights := facts["weights"]:
        line = f"weights of training images: from {weights['least']:g} to {weights['most']:g}"
        lines.append(line + f"; {weights['zero']:,} of 0 teach nothing" * (weights["zero"] > 0))
    return lines


def _count_rows(facts: Mapping[str, Any]) -> list[list[str]]:
    counts, names = facts["counts"], facts["classes"]
    totals = [sum(numbers) for numbers in zip(*counts.values(), strict=True)]
    shown = range(len(names))
    if len(names) > TABLE_ROWS:
        shown = sorted(sorted(shown, key=totals.__getitem__)[:TABLE_ROWS])
    columns = [*counts.values(), totals]
    return [[names[label], *(f"{numbers[label]:,}" for numbers in columns)] for label in shown]


def _shown_classes(totals: Sequence[int], most: int) -> list[int]:
    """Returns the classes that are drawn: all, or of too many the smallest and the largest."""
    if len(totals) <= most:
        return list(range(len(totals)))
    by_size = sorted(range(len(totals)), key=totals.__getitem__)
    return sorted([*by_size[: most - most // 2], *by_size[len(totals) - most // 2 :]])


def check_data(config: dict[str, Any], folder: Path) -> None:
    """Looks at every picture, and writes what was found: sentences, tables, check.json, a page and sheets."""
    from vitlab.comparison.tables import as_text
    from vitlab.construct import build
    from vitlab.data.findings import findings
    from vitlab.data.image_data import ImageData
    from vitlab.data.look_over import facts_of, look_over
    from vitlab.files.atomic import writing
    from vitlab.gallery.data_page import contact_sheets, data_page, pictures_by_class, size_rows
    from vitlab.pictures.drawing import png
    from vitlab.words import plain

    data: ImageData = build(_to_look_at(config["datamodule"]))
    with notes_of("vitlab.data") as notes:
        data.check()
        data.prepare_data()
        data.setup()
    looks = {name: look_over(split, f"{name}") for name, split in data.splits.items() if len(split)}
    facts = facts_of(data, looks, notes)
    found = list(findings(facts))
    kind, root = type(data.source).__name__, getattr(data.source, "root", None)
    where = getattr(data.source, "origin", f"data.root={root}").partition("=")[2]  # of a table its own file
    source = kind if root is None else f"{kind} {where}"
    summary = summary_of(facts, source)
    totals = [sum(numbers) for numbers in zip(*facts["counts"].values(), strict=True)]
    chosen = _shown_classes(totals, config["max_classes"])
    how = (config["num_shown"], data.split_seed, data.bands_for_people)
    classes = pictures_by_class(data.splits, data.class_names, chosen, *how)
    title = Path(where).name if isinstance(root, Path) else kind
    contents = {
        "check.json": json.dumps(facts | {"findings": found}, indent=1).encode(),
        "check.html": data_page(title, facts, found, summary, classes).encode(),
    }
    sheets = [png(each) for each in contact_sheets(classes, f"{title}: some pictures of each class")]
    contents |= {f"sheet_{number}.png" if number else "sheet.png": each for number, each in enumerate(sheets)}
    for name, content in contents.items():
        with writing(folder / name):
            (folder / name).write_bytes(content)
    rows = _count_rows(facts)
    print(as_text(["class", *facts["counts"], "all"], rows))
    if left := len(facts["classes"]) - len(rows):
        print(f"and {left:,} larger classes")
    for line in ["", *summary, *(f"{what}: {told}" for what, told in size_rows(facts)), ""]:
        print(plain(line))
    for line in found or ["nothing looks odd"]:
        print(plain(f"- {line}"))
    print(f"\nto look at it, open in a browser: {plain(folder / 'check.html')}")


def main(arguments: Sequence[str]) -> None:
    def check(config: Any) -> None:
        from vitlab.config.resolve import Asked, resolve_training
        from vitlab.runs.record import discard_unstarted

        asked = Asked.of_this_job(config)
        try:
            given = {"overrides": asked.overrides, "choices": asked.choices}
            checked, _ = resolve_training(config, reference_config("check"), **given)
            for key, least in (("num_shown", 1), ("max_classes", 2)):
                if type(checked[key]) is not int or checked[key] < least:
                    raise ValueError(f"{key}={checked[key]} must be a whole number from {least} up")
            check_data(checked, asked.folder)
        finally:
            discard_unstarted(asked.folder)

    run_with_hydra(check, "check", arguments)
