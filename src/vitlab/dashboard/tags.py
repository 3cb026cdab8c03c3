"""What TensorBoard calls a metric, a picture or a text: numbered sections, so that what matters comes first
and diagnostics come last.

Metrics keep their names everywhere else. A section's number is for the eye and for the order: charts are
sorted as a reader counts, so 10_result is last, while the HParams tab sorts character by character and shows
the first five columns, so 10_result is first there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOSS = "loss"

OTHERS, PICTURES, TRAINING, RESULT = "3_other_metrics", "4_pictures", "5_training", "10_result"

TRAINING_FACTS = ("lr", "gradient_norm", "images_per_second")

ATTENTION = {
    "attention/overview": f"{PICTURES}/8_where_it_looks",
    "attention/evolution": f"{PICTURES}/9_where_it_looked_over_time",
}

DIAGNOSTICS = {
    "attention": "6_attention",
    "features": "7_inside_the_model",
    "tokens": "7_inside_the_model",
    "weights": "7_inside_the_model",
}

TEXTS = {"run": "1_run", "result": "2_result", "attention": "3_attention", "config": "4_config"}

DOTS = re.compile(r"test/\w+_(of|at)/|test/(nll|brier|ece|temperature)(_scaled)?(_by_chance)?$|cascade/")
"""Metrics that are measured once, such as `test/accuracy_of/cat`: told in the text, as charts single dots."""


def is_dot(name: str) -> bool:
    """Tells whether a metric is told in words alone."""
    return DOTS.match(name) is not None


@dataclass(frozen=True)
class Tags:
    """The tags of a run by what its objective looks at first, such as `accuracy`, and its test's pictures."""

    first: str = LOSS
    pictures: tuple[str, ...] = ()

    @classmethod
    def of_objective(cls, facts: Mapping[str, Any]) -> "Tags":
        """Takes an objective's first headline metric; one without any is judged by what it monitors."""
        first = [*facts["headline"], facts["monitor"].rpartition("/")[2]][0]
        return cls(first, tuple(facts["pictures"]))

    @property
    def sections(self) -> dict[str, str]:
        """Sections of the metrics that everybody looks at, training and validation side by side."""
        return {name: f"{place}_{name}" for place, name in enumerate(dict.fromkeys((self.first, LOSS)), 1)}

    def of_number(self, name: str) -> str:
        """Returns the tag of a metric; one that vitlab does not know keeps its name, which is sorted behind
        all sections. val/accuracy_top5: 1_accuracy/val_top5; train/lr: 5_training/lr; best/val/accuracy:
        10_result/best_val_accuracy."""
        split, _, metric = name.partition("/")
        if split in ("test", "best"):
            return f"{RESULT}/{name.replace('/', '_')}"
        if split in DIAGNOSTICS:
            return f"{DIAGNOSTICS[split]}/{metric if split == 'attention' else name.replace('/', '_')}"
        if split not in ("train", "val"):
            return name
        for kind, section in self.sections.items():
            if metric == kind or metric.startswith(f"{kind}_"):
                return f"{section}/{split}{metric.removeprefix(kind)}"
        return f"{TRAINING}/{metric}" if metric in TRAINING_FACTS else f"{OTHERS}/{metric}_{split}"

    def of_picture(self, name: str) -> str:
        """Returns the tag of a picture: `4_pictures/2_confusion` for `test/confusion`, the test's second."""
        split, _, picture = name.partition("/")
        if split != "test":
            return ATTENTION.get(name) or self.of_number(name)
        place = f"{self.pictures.index(picture) + 1}_" if picture in self.pictures else ""
        return f"{PICTURES}/{place}{picture}"

    def of_text(self, name: str) -> str:
        """Returns the tag of a page of text."""
        return TEXTS.get(name, name)

    def layout(self, has_attention: bool) -> dict[str, dict[str, list]]:
        """Returns the charts of the Custom Scalars tab as SummaryWriter takes them: tags as regexes."""
        looked_at = dict(reversed(self.sections.items()))  # the loss, then what an objective is judged by
        charts = {
            _title(" and ".join(looked_at)): {
                f"{_title(name)}, training and validation": [
                    "Multiline",
                    [f"{re.escape(section)}/train$", f"{re.escape(section)}/val$"],
                ]
                for name, section in looked_at.items()
            },
            "Training": {
                "Learning rate": ["Multiline", [f"{TRAINING}/lr$"]],
                "Norm of the gradients": ["Multiline", [f"{TRAINING}/gradient_norm$"]],
            },
        }
        if has_attention:
            charts["Attention (the Text tab says how to read it)"] = {
                "Do its maps beat a random order? Above 0: yes": [
                    "Multiline",
                    ["6_attention/[a-z_]+_deletion_gain$"],
                ],
                "Does it look everywhere (1) or at one place (0)?": ["Multiline", ["6_attention/entropy_"]],
            }
        return charts


def _title(words: str) -> str:
    return words[:1].upper() + words[1:]
