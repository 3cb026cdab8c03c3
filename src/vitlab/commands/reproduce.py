"""`vitlab reproduce`: runs a recorded training again, and says whether it came out the same."""

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from vitlab.config.compose import EXIT_BAD_INPUT, complain
from vitlab.config.logs import PlainFormatter
from vitlab.runs.history import comparable, first_difference, history_hash, read_history
from vitlab.runs.status import status_of
from vitlab.startup import no_extras

log = logging.getLogger(__name__)

FACTS = ("python", "packages", "hardware", "numerics", "git", "pretrained", "data")
"""Parts of a record, beside the config, that decide how a run ends."""


def main(arguments: Sequence[str]) -> None:
    """Ends with status 0 where the run came out identical, 1 where it did not."""
    what = "Run a recorded training again and compare it, bit by bit."
    parser = argparse.ArgumentParser("vitlab reproduce", description=what)
    parser.add_argument("run", metavar="RUN_DIR", help="the run's folder; nothing in it is touched")
    which = "data.root=DIR: where the data lies now; run_dir=DIR: the new folder"
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=which)
    options = parser.parse_args(arguments)
    try:
        given = _settings(options.settings)
        new = Path(given.get("run_dir") or f"outputs/reproduce/{datetime.now():%Y-%m-%d_%H-%M-%S}").resolve()
        root = given.get("data.root")
        is_identical = reproduce(Path(options.run).resolve(), new, root and str(Path(root).resolve()))
    except ValueError as error:
        complain(error, "reproduce")
        sys.exit(EXIT_BAD_INPUT)
    if not is_identical:
        sys.exit(1)


def _settings(settings: Sequence[str]) -> dict[str, str]:
    given = {key: value for key, _, value in (setting.partition("=") for setting in settings)}
    for key, value in given.items():
        if key not in ("data.root", "run_dir") or not value:
            raise ValueError(
                f"{key}={value} is not for `vitlab reproduce`, which changes nothing; data.root=DIR and"
                " run_dir=DIR would work"
            )
    return given


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Sends messages to the terminal, and with time and origin to reproduce.log, as Hydra does elsewhere."""
    from pytorch_lightning.utilities import rank_zero_only

    root, handlers = logging.getLogger(), [logging.StreamHandler(sys.stdout)]
    handlers[0].setFormatter(PlainFormatter())
    if rank_zero_only.rank == 0:
        handlers.append(logging.FileHandler(folder / "reproduce.log", encoding="utf-8"))
        handlers[-1].setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = root.level, root.handlers
    root.setLevel(logging.INFO)
    root.handlers = list(handlers)
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.handlers = before[1]
        for handler in handlers:
            handler.close()


@contextmanager
def _threads(number: Any) -> Iterator[None]:
    """Computes with so many threads: how many there are decides in which order torch adds."""
    import torch

    now = torch.get_num_threads()
    torch.set_num_threads(number if type(number) is int and 0 < number <= 4096 else now)
    try:
        yield
    finally:
        torch.set_num_threads(now)


def reproduce(folder: Path, new: Path, data_root: str | None = None) -> bool:
    """Runs what `folder` records again in the folder `new`; returns and logs whether it came out the same.

    What was interrupted is compared as far as it went, and a failure is to happen again. Raises ValueError
    where the record cannot be run.
    """
    with no_extras():
        from pytorch_lightning.utilities import rank_zero_only

    from vitlab.config.from_record import config_from_record, told_to_nobody
    from vitlab.data.fingerprint import hashed_what
    from vitlab.runs.record import Run, discard_unstarted
    from vitlab.runs.surroundings import differences
    from vitlab.training.continuing import parent_kept_in
    from vitlab.training.fit import fit_and_test
    from vitlab.weights.sources import read_weights

    record = Run.open(folder).record
    file = folder / "run.json"
    is_taken = new.is_relative_to(folder) or new.is_file() or (new.exists() and any(new.iterdir()))
    if rank_zero_only.rank == 0 and is_taken:
        raise ValueError(
            f"run_dir={new} is not empty, or lies in the run that is to be reproduced; another folder would"
            " work"
        )
    parent = parent_kept_in(folder, record)
    config = config_from_record(told_to_nobody(record), file, new, data_root)
    config["resume"] = None
    status = status_of(folder)
    if status == "running":
        raise ValueError(
            f"{folder} is still running (process {record.get('process')} on {record.get('host')}); wait for"
            " its end"
        )
    before = read_history(folder)
    if status == "completed" and record["hashes"].get("history") != history_hash(before):
        raise ValueError(
            f"{folder}/metrics.jsonl is not what the run logged: its hash is another than that in run.json;"
            " another copy would work"
        )
    if status == "interrupted" and not comparable(before):
        raise ValueError(f"{folder} was interrupted before it logged anything that could be compared")

    def tell_facts(run: Run) -> None:
        known, now = ({key: of.get(key) for key in FACTS if key in record} for of in (record, run.record))
        lines = differences(known, now)
        log.info("recorded facts that differ now: %s", "; ".join(lines) if lines else "none")
        if "data" in record and record["data"] != run.record["data"]:
            prints = [facts.get("fingerprint", "") for facts in (record["data"], run.record["data"])]
            before, after = map(hashed_what, prints)
            line = "the data is not the data of the run that is to be reproduced; it cannot come out the same"
            if before != after:
                line = (
                    f"the run knew its data by {before}, this one by {after}: whether it is the same is open"
                )
            log.warning("%s", line)

    source = config["model"].get("weights")
    asked = {key: record[key] for key in ("overrides", "choices") if key in record}
    asked["reproduces"] = str(folder)
    directory = record.get("directory")  # relative paths in the config begin there
    here = directory if isinstance(directory, str) and Path(directory).is_dir() else "."
    new.mkdir(parents=True, exist_ok=True)
    # Lightning starts the other processes of several devices by the command line
    command = [str(Path(sys.argv[0]).absolute()), "reproduce", str(folder), f"run_dir={new}"]
    command += [f"data.root={data_root}"] if data_root else []
    threads = _threads(record["hardware"].get("torch_threads"))
    try:
        with _logged(new), threads, chdir(here), patch.object(sys, "argv", command):
            log.info("running %s again in %s", folder, new)
            weights = read_weights(source) if source and not parent else None
            try:
                fit_and_test(config, new, weights, asked, before_training=tell_facts, parent=parent)
            except OSError:  # this machine's, and nothing of the run
                raise
            except Exception as error:
                if not (new / "run.json").exists():
                    if isinstance(error, ValueError):
                        raise
                    why = f"{type(error).__name__}: {error}"
                    raise ValueError(f"{file}: its config cannot run ({why})") from error
                log.info("it failed: %s", error)
            return _verdict(folder, record, new)
    finally:
        discard_unstarted(new)


def _verdict(folder: Path, record: Mapping[str, Any], new: Path) -> bool:
    """Compares two run folders, of which the first may have ended early, and logs the first difference."""
    from pytorch_lightning.utilities import rank_zero_only

    from vitlab.runs.record import Run

    if rank_zero_only.rank != 0:
        return True  # the first process tells
    again = Run.open(new).record
    status, reason = status_of(folder), record.get("reason")
    status_again, reason_again = again["status"], again.get("reason")
    as_told = (reason_again or "").replace(str(new), record["config"]["run_dir"]) or None
    history, history_again = read_history(folder), read_history(new)
    is_whole = status != "interrupted"
    found = [first_difference(history, history_again, is_whole)]
    if is_whole and (status, reason) != (status_again, as_told):
        found.append(f"the run {status}{_because(reason)}; this one {status_again}{_because(reason_again)}")
    if status == status_again == "completed":
        names = {"final": "weights at the end of training", "tested": "weights that were tested"}
        differ = [key for key in names if record["hashes"].get(key) != again["hashes"][key]]
        found += [f"the {names[key]} differ" for key in differ]
    found = [line for line in found if line]
    values = f"{len(comparable(history))} logged values"
    if found:
        log.info("different: %s", "; ".join(found))
    elif status == "completed":
        log.info("identical: weights and %s, to the last bit", values)
    elif status == "failed":
        log.info("identical: it failed as before, after the same %s", values)
    else:
        log.info("identical as far as the run went before it was interrupted: %s, to the last bit", values)
    return not found


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""
