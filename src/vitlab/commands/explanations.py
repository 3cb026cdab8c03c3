"""The pages of `vitlab predict explain=METHODS`: one a photograph, and for a folder an index of them."""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from vitlab.files.atomic import writing
from vitlab.gallery.explained_photograph import PhotographLook, as_data, as_sheet, look_at_photograph
from vitlab.gallery.folder_index import Entry, folder_index
from vitlab.gallery.photograph import photograph_page
from vitlab.insight.honesty.faithfulness import Activation
from vitlab.pictures.drawing import png
from vitlab.predictor import Predictor
from vitlab.words import plain

log = logging.getLogger(__name__)


def file_name(words: str) -> str:
    """Returns a label's name as a part of a file's."""
    return re.sub(r"[^\w.-]+", "_", words)[:60]


class Explanations:
    """Explains photographs of `source`, a file or folder, one after the other; all is written to `folder`."""

    def __init__(
        self,
        predictor: Predictor,
        source: Path,
        folder: Path,
        methods: Sequence[str],
        checkpoint: str,
        activation: Activation = "softmax",
    ):
        self.predictor = predictor
        self.source = source
        self.folder = folder
        self.methods = methods
        self.checkpoint = checkpoint
        self.activation: Activation = activation
        self.entries: list[Entry] = []

    def add(self, path: Path, answer: Sequence[tuple[str, float]], asked: str | None = None) -> None:
        """Writes the photograph's name with .png, .json and .html; for a class or label that is `asked` for,
        that name with the label's before these. Raises OSError where it cannot."""
        target = None
        if asked is not None:
            target = self.predictor.class_names.index(asked)
            answer = sorted(answer, key=lambda each: each[0] != asked)  # the page is on the first
        # TensorBoard reads all names
        name = plain(path.relative_to(self.source) if self.source.is_dir() else path.name)
        if asked is not None:
            name = f"{name}.{target}_{file_name(plain(asked))}"
        predictor = self.predictor
        seen = (predictor.prepare([predictor.read(path)]), predictor.preprocessing)
        asked_of = (answer, self.methods, predictor.max_megapixels, target, self.activation)
        look = look_at_photograph(predictor.model, path, plain(path.name), *seen, *asked_of)
        self._write(look, name)
        self.entries.append(Entry.of(look, name, f"explained/{name}.html"))

    def _write(self, look: PhotographLook, name: str) -> None:
        target = self.folder / "explained" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        index = "../" * len(Path(name).parts) + "index.html" if self.source.is_dir() else ""
        for suffix, content in {
            ".png": png(as_sheet(look)),
            ".json": json.dumps(as_data(look) | {"checkpoint": self.checkpoint}, indent=1).encode(),
            ".html": photograph_page(look, self.checkpoint, index).encode(),
        }.items():
            target.with_name(target.name + suffix).write_bytes(content)

    def finish(self, unread: Sequence[str]) -> None:
        """Writes a folder's index, with a line for each file without a page, and says where everything is."""
        if not self.entries:
            return
        what = "a .html to open in a browser, a .png and a .json"
        log.info("for each picture %s: %s", what, self.folder / "explained")
        if self.source.is_dir():
            index = self.folder / "index.html"
            with writing(index):
                page = folder_index(plain(self.source.resolve().name), self.checkpoint, self.entries, unread)
                index.write_text(page, encoding="utf-8")
            log.info("to see all of them with their answers, open in a browser: %s", index)
