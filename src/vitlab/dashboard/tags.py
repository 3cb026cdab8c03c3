"""What TensorBoard calls a metric or a picture: numbered sections, so that what matters comes first and
diagnostics come last.

Metrics keep their names everywhere else. A section's number is for the eye and for the order: charts are
sorted as a reader counts, so 10_result is last, while the HParams tab sorts character by character and shows
the first five columns, so 10_result is first there.
"""

SECTIONS = {"accuracy": "1_accuracy", "loss": "2_loss"}
"""Sections of the metrics that everybody looks at; training and validation are charts side by side in
them."""

OTHERS, TRAINING, RESULT = "3_other_metrics", "5_training", "10_result"

TRAINING_FACTS = ("lr", "gradient_norm", "images_per_second")

PICTURES = {
    "test/mistakes": "4_pictures/1_mistakes",
    "test/confusion": "4_pictures/2_confusion",
    "test/per_class": "4_pictures/3_accuracy_of_each_class",
    "attention/overview": "4_pictures/4_where_it_looks",
    "attention/evolution": "4_pictures/5_where_it_looked_over_time",
}

DIAGNOSTICS = {
    "attention": "6_attention",
    "features": "7_inside_the_model",
    "tokens": "7_inside_the_model",
    "weights": "7_inside_the_model",
}

DOTS = ("test/accuracy_of/", "cascade/")
"""Metrics that are measured once and stand in the text about the result: as charts they would be single
dots."""


def is_dot(name: str) -> bool:
    """Tells whether a metric is told in words alone."""
    return name.startswith(DOTS)


def tag_of(name: str) -> str:
    """Returns the tag of a metric or a picture; one that vitlab does not know keeps its name, which is sorted
    behind all sections.

    val/accuracy_top5: 1_accuracy/val_top5; train/lr: 5_training/lr; best/val/accuracy:
    10_result/best_val_accuracy.
    """
    if name in PICTURES:
        return PICTURES[name]
    split, _, metric = name.partition("/")
    if split in ("test", "best"):
        return f"{RESULT}/{name.replace('/', '_')}"
    if split in DIAGNOSTICS:
        return f"{DIAGNOSTICS[split]}/{metric if split == 'attention' else name.replace('/', '_')}"
    if split not in ("train", "val"):
        return name
    kind, _, detail = metric.partition("_")
    if kind in SECTIONS:
        return f"{SECTIONS[kind]}/{split}{f'_{detail}' if detail else ''}"
    return f"{TRAINING}/{metric}" if metric in TRAINING_FACTS else f"{OTHERS}/{metric}_{split}"


def layout(has_attention: bool) -> dict[str, dict[str, list]]:
    """Returns the charts of the Custom Scalars tab, as SummaryWriter.add_custom_scalars takes them: regular
    expressions for tags."""
    charts = {
        "Loss and accuracy": {
            "Loss, training and validation": ["Multiline", ["2_loss/train$", "2_loss/val$"]],
            "Accuracy, training and validation": ["Multiline", ["1_accuracy/train$", "1_accuracy/val$"]],
        },
        "Training": {
            "Learning rate": ["Multiline", ["5_training/lr$"]],
            "Norm of the gradients": ["Multiline", ["5_training/gradient_norm$"]],
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
