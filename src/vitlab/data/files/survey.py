"""Picture files that are never kept decoded: looked at once, remembered by what went in, and decoded at each
visit."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vitlab.data.files.decode import SetFacts
from vitlab.data.files.decoded import DecodedFiles, Decoding, decoded, kept_labels
from vitlab.data.files.store import Stored, cache_root, numbers_of, read_store, store_key, writing_below
from vitlab.data.fingerprint import ImageHash
from vitlab.files.atomic import replace_text
from vitlab.files.digests import digests_of


class _Found(NamedTuple):
    """What a look at all files told; the fields are those of `Stored`."""

    content: str
    skipped: list[tuple[int, str]]
    facts: SetFacts
    hashed: str


def _survey(files: Sequence[Path], labels: Sequence[int], decoding: Decoding) -> _Found:
    """Decodes every file once and keeps no pixel."""
    content, skipped, facts = ImageHash(), [], SetFacts()
    for index, result in enumerate(decoded(files, decoding, "looking at")):
        if isinstance(result, str):
            skipped.append((index, result))
        else:
            content.update(result[0])
            facts = facts.joined(result[1])
    kept = kept_labels(files, labels, skipped)
    hashed = content.finish(kept, (len(kept), decoding.channels, *decoding.size))
    return _Found(hashed, skipped, facts, datetime.now(UTC).isoformat(timespec="seconds"))


def _recall(memory: Path) -> _Found | None:
    """Returns what an earlier look told: None, where there was none or its note cannot be read."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        skipped = [(index, reason) for index, reason in known["skipped"]]
        return _Found(known["content"], skipped, SetFacts(*known["facts"]), known["hashed"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_files(
    files: Sequence[Path], labels: Sequence[int], decoding: Decoding, cache_dir: str | None
) -> Stored:
    """Returns the files, to be decoded each time that they are fetched: the same pixels as `open_store`
    keeps.

    All of them are looked at once; what was found (bad files, the range of 16-bit values, the hash of the
    pixels) is remembered under `cache_dir`. Raises ValueError for a bad file (unless they are skipped) and
    for a folder that cannot be written.
    """
    root = cache_root(cache_dir)
    digests = digests_of(files, root)
    key = store_key(digests, labels, decoding)
    memory = root / "surveys" / f"{key}.json"
    found = read_store(root / key) or _recall(memory)
    if found is None:
        found = _survey(files, labels, decoding)
        with writing_below(root):
            memory.parent.mkdir(parents=True, exist_ok=True)
            known = {
                "content": found.content,
                "skipped": found.skipped,
                "facts": found.facts,
                "hashed": found.hashed,
            }
            replace_text(memory, json.dumps(known))
    kept = np.delete(np.arange(len(files)), [index for index, _ in found.skipped])
    of_kept = torch.from_numpy(kept_labels(files, labels, found.skipped))
    data = DecodedFiles(
        [files[index] for index in kept.tolist()], of_kept, decoding, numbers_of(digests, found.skipped)
    )
    return Stored(data, found.content, found.skipped, found.facts, found.hashed)
