"""`vitlab inspect`: an HTML page on where a checkpoint's model looks, and how far to trust each picture."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitlab.commands.predict import chosen_methods
from vitlab.config.arguments import as_list
from vitlab.config.compose import run_in_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vitlab.data.splits import Split
    from vitlab.gallery.inspection import Inspection, MosaicSample, Sample
    from vitlab.insight.honesty.faithfulness import Activation
    from vitlab.predictor import Predictor

log = logging.getLogger(__name__)

KINDS: dict[str, Any] = {
    "checkpoint": str,
    "data.root": str | None,
    "data.max_megapixels": int | None,
    "methods": str | list[str] | None,
    "device": str,
}
"""Types of the config's own values."""

NUM_MOSAICS_SHOWN = 6
"""Mosaics that the inspection draws, each with every method's map."""


def _check(config: Mapping[str, Any]) -> None:
    if config["split"] not in ("train", "val", "test"):
        raise ValueError(f"split={config['split']} is none of train, val, test")
    least_of = {"num_images": 2, "num_shown": 1, "num_mistakes": 0, "num_mosaics": 0, "batch_size": 1}
    for key, least in least_of.items():
        if not isinstance(config[key], int) or config[key] < least:
            raise ValueError(f"{key}={config[key]} must be a whole number from {least} up")


def answers_of(predictor: "Predictor", split: "Split", batch_size: int, activation: "Activation") -> "Tensor":
    """Returns each image's probabilities of classes or labels, on the CPU."""
    import torch

    from vitlab.insight.honesty.faithfulness import probabilities_of

    parts = []
    with torch.inference_mode():
        for places in split.indices.split(batch_size):
            logits = predictor.model(predictor.prepare(list(split.samples.fetch(places))))
            parts.append(probabilities_of(logits, activation).cpu())
    return torch.cat(parts)


def scores_of(probabilities: "Tensor", labels: "Tensor") -> dict[str, float]:
    """Returns how many images there are, which share is wholly right, and the loss."""
    from torch.nn.functional import binary_cross_entropy

    if labels.ndim == 2:
        right = ((probabilities >= 0.5) == (labels == 1)).all(dim=1)
        loss, name = binary_cross_entropy(probabilities, labels.float()), "exact_match"
    else:
        right, name = probabilities.argmax(dim=1) == labels, "accuracy"
        loss = -probabilities.gather(1, labels[:, None].long()).clamp_min(1e-30).log().mean()
    return {"num_images": len(labels), name: right.double().mean().item(), "loss": loss.item()}


def right_first(probabilities: "Tensor", labels: "Tensor") -> "Tensor":
    """Tells for each image whether the most probable class is its own, or one of its labels."""
    first = probabilities.argmax(dim=1)
    return first == labels if labels.ndim == 1 else labels.gather(1, first[:, None])[:, 0] == 1


def sample_of(predictor: "Predictor", split: "Split", places: "Tensor", num_shown: int) -> "Sample":
    """Returns images of a split, the first `num_shown` also as photographs."""
    from vitlab.gallery.inspection import Sample
    from vitlab.pictures.drawing import photograph

    images = predictor.prepare(list(split.samples.fetch(split.indices[places])))
    facts, bands = predictor.preprocessing, predictor.preprocessing.bands_for_people()
    shown = [photograph(image, facts.mean, facts.std, bands) for image in images[:num_shown]]
    return Sample(images, split.labels[places], shown)


def mosaics_of(
    predictor: "Predictor", split: "Split", known: "Tensor", count: int, seed: int
) -> "MosaicSample | str":
    """Returns mosaics of images that the model recognises, or a line that says why there are none."""
    from vitlab.data.fair_order import class_balanced
    from vitlab.gallery.inspection import MosaicSample
    from vitlab.insight.honesty.ground_truth import mosaics
    from vitlab.pictures.drawing import photograph
    from vitlab.randomness import generator_at

    labels = split.labels[known]
    if not count:
        return "num_mosaics=0"
    if labels.ndim == 2:
        return "a mosaic needs images of one class each, and these have several labels"
    if (number := len(labels.unique())) < 2:
        return f"the model recognises images of {number} class(es) of this split, and a mosaic needs two"
    places = known[class_balanced(labels, count, generator_at(seed, "mosaics"))]
    sample = sample_of(predictor, split, places, 0)
    try:
        made = mosaics(sample.images, sample.labels, seed)
    except ValueError as error:
        return str(error)
    facts, bands = predictor.preprocessing, predictor.preprocessing.bands_for_people()
    shown = made.images[:NUM_MOSAICS_SHOWN]
    return MosaicSample(made, [photograph(image, facts.mean, facts.std, bands) for image in shown])


def _share(scores: Mapping[str, float], digits: int = 2) -> str:
    """Returns in words which share of the images is right."""
    name = "accuracy" if "accuracy" in scores else "exact_match"
    return f"{name.replace('_', ' ')} {scores[name]:.{digits}%}"


def facts_of(
    config: Mapping[str, Any], trained: Mapping[str, Any], model: "nn.Module", scores: Mapping[str, float]
) -> dict[str, str]:
    """Returns in words what was looked at."""
    parts, source = trained["model"], trained["datamodule"]["source"]
    sizes = [key for key in ("embed_dim", "depth", "num_heads", "global_pool") if key in parts]
    shape = ", ".join(f"{key} {parts[key]}" for key in sizes)
    told = [shape] if shape else []
    if isinstance(parts.get("patch_embed"), dict):
        told.append(f"patches by {parts['patch_embed']['_target_'].rpartition('.')[2]}")
    count = sum(parameter.numel() for parameter in model.parameters())
    epochs, rate = trained["trainer"].get("max_epochs"), trained["optimizer"].get("lr")
    told_of = f"{scores['num_images']:,.0f} images, {_share(scores)}, loss {scores['loss']:.4f}"
    source_name = source["_target_"].rpartition(".")[2]
    return {
        "checkpoint": str(config["checkpoint"]),
        "model": f"{type(model).__name__}, {'; '.join([f'{count:,} parameters', *told])}",
        "training": f"epochs {epochs}, learning rate {rate}, seed {trained['seed']}",
        "data": f"{source_name}: {source['root']}" if source.get("root") else source_name,
        f"{config['split']} split": told_of,
    }


def numbers_of(inspection: "Inspection") -> dict[str, Any]:
    """Returns the inspection's numbers as plain data."""
    from vitlab.gallery.conclusion import conclude

    stats = {name: values.tolist() for name, values in inspection.stats._asdict().items()}
    del stats["token_norms"]
    trust = {name: each.faithfulness._asdict() | each._asdict() for name, each in inspection.trust.items()}
    for each in trust.values():
        del each["faithfulness"]
    game: dict[str, Any] = {"left_out": inspection.game}
    if not isinstance(inspection.game, str):
        pointing = {name: score._asdict() for name, score in inspection.game.scores.items()}
        game = {"num_mosaics": inspection.game.num_mosaics, "recognised": inspection.game.recognised}
        game["methods"] = pointing
    conclusion = conclude(inspection.trust)
    said = {"sentence": conclusion.sentence, "reasons": list(conclusion.reasons)}
    return {
        "conclusion": said,
        "num_scored": inspection.num_scored,
        "methods": trust,
        "mosaics": game,
        "layers_x_heads": stats,
        "alarms": list(inspection.warnings),
    }


def write_inspection(config: dict[str, Any], folder: Path) -> None:
    """Measures the checkpoint on the split, looks into it, and writes the page and its numbers."""
    from vitlab.construct import build_model
    from vitlab.data.fair_order import class_balanced
    from vitlab.files.atomic import writing
    from vitlab.gallery.conclusion import conclude
    from vitlab.gallery.inspection import look_through
    from vitlab.gallery.inspection_page import inspection_page
    from vitlab.insight.explain import METHODS
    from vitlab.insight.views.view_of import view_of
    from vitlab.predictor import Predictor
    from vitlab.randomness import generator_at
    from vitlab.runs.load import check_classes, data_of, load_model, objective_of
    from vitlab.runs.record import Run, recorded
    from vitlab.runs.sizes import trained_config

    _check(config)
    methods = chosen_methods("methods", config["methods"]) or list(METHODS)
    model, card = load_model(config["checkpoint"])
    objective = objective_of(card, config["checkpoint"])
    objective.require_classes("inspect")
    view_of(model)
    trained = trained_config(card, config["checkpoint"])
    data = data_of(card, config["split"], **config["data"])
    with recorded(Run.start(folder, {"seed": trained["seed"]} | config)) as run:
        data.prepare_data()
        data.setup()
        run.update(data=data.facts())
        names, split = card.class_names, data.splits[config["split"]]
        check_classes(data, card)
        predictor = Predictor(model, names, card.preprocessing, config["device"])
        log.info("%s split: the answers to %s images first", config["split"], f"{len(split):,}")
        probabilities = answers_of(predictor, split, config["batch_size"], objective.activation)
        surely, right = probabilities.amax(dim=1), right_first(probabilities, split.labels)
        scores = scores_of(probabilities, split.labels)

        draws = generator_at(trained["seed"], "inspected images")
        chosen = class_balanced(split.labels, config["num_images"], draws)
        wrong = (~right).nonzero().flatten()
        worst = wrong[surely[wrong].argsort(descending=True)[: config["num_mistakes"]]]
        mistakes = sample_of(predictor, split, worst, len(worst)) if len(worst) else None
        sample = sample_of(predictor, split, chosen, config["num_shown"])
        known = right.nonzero().flatten()
        mosaics = mosaics_of(predictor, split, known, config["num_mosaics"], trained["seed"])
        pictures = f"{len(chosen)} images"
        if isinstance(mosaics, str):
            log.info("the pointing game on mosaics is left out: %s", mosaics)
        else:
            pictures += f" and {len(mosaics.mosaics.targets)} mosaics"
        log.info("looking at %s by %d methods", pictures, len(methods))
        untrained = build_model(trained).eval().to(predictor.device)
        given = (sample, mistakes, mosaics, names, methods, f"{config['split']} split", log.info)
        inspection = look_through(predictor.model, untrained, *given)
        run.update(metrics=scores)
        with writing(folder / "inspection.json"):
            (folder / "inspection.json").write_text(json.dumps(scores | numbers_of(inspection), indent=1))
        title = f"{trained['name']}: {_share(scores, 1)} on the {config['split']} split"
        page = inspection_page(inspection, title, facts_of(config, trained, model, scores))
        with writing(folder / "inspection.html"):
            (folder / "inspection.html").write_text(page, encoding="utf-8")
    log.info("%s %s, loss %.4f", config["split"], _share(scores), scores["loss"])
    log.info("%s", conclude(inspection.trust).sentence)
    log.info("to look at it, open in a browser: %s", folder / "inspection.html")


def main(arguments: Sequence[str]) -> None:
    run_in_folder(write_inspection, "inspect", KINDS, as_list("methods", arguments))
