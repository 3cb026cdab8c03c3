"""What of a config does not go together, although each value alone is right."""

import difflib
import inspect
import math
from collections.abc import Mapping
from typing import Any

from vitlab.construct import resolve_target


def _check_strategy(strategy: str, plain: Mapping[str, Any]) -> None:
    """Raises ValueError for what cannot work with a split model, or with processes that are not fresh."""
    if strategy not in ("auto", "fsdp", "ddp", "ddp_find_unused_parameters_true"):
        raise ValueError(
            f"trainer.strategy={strategy} has not been shown to resume and evaluate exactly; auto, ddp and"
            " fsdp have"
        )
    if strategy != "fsdp":
        return
    whole = {
        "vitlab.callbacks.ema.EMA": "average",
        "vitlab.callbacks.attention.AttentionPictures": "look into",
    }
    for name, node in plain["callbacks"].items():
        if node and node["_target_"] in whole:
            raise ValueError(
                f"callbacks.{name}: under fsdp no process holds a whole model to {whole[node['_target_']]};"
                " callbacks=[default] would work"
            )
    refused = {
        "compile=true": plain["compile"],
        "features": plain["features"],
        "optimizer=muon": plain["optimizer"]["_target_"].endswith(".muon"),
    }
    for key, is_asked in refused.items():
        if is_asked:
            raise ValueError(
                f"trainer.strategy=fsdp does not go with {key}; without it, or with trainer.strategy=ddp, it"
                " would work"
            )


def _check_sizes(trained: Any, shown: Any, patch: int | None) -> None:
    """Raises ValueError for impossible sizes, and where patches divide images of training alone."""
    both = [size if isinstance(size, list) else [size, size] for size in (trained, shown)]
    for key, size, sides in zip(("image_size", "eval_size"), (trained, shown), both, strict=True):
        if len(sides) != 2 or min(sides) < 1:
            raise ValueError(f"data.{key}={size}: give a side in pixels, or [height, width]")
    for side, larger in zip(*both, strict=True):
        if patch and side % patch == 0 and larger % patch:
            below = larger // patch * patch
            raise ValueError(
                f"data.eval_size={shown}: patch_size={patch} does not divide {larger} px; {below} or"
                f" {below + patch} would work"
            )


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    for key in ("callbacks", "logger", "plugins", "enable_progress_bar"):
        if key in trainer:
            raise ValueError(
                f"trainer.{key} is vitlab's to give; callbacks=[...] and logger=... choose what it gives"
            )
    if trainer["max_epochs"] is None:
        raise ValueError(
            "trainer.max_epochs=null never ends, and the schedule has to know when; a whole number would work"
        )
    for key in ("max_epochs", "accumulate_grad_batches", "check_val_every_n_epoch", "log_every_n_steps"):
        if trainer[key] is not None and trainer[key] < 1:
            raise ValueError(f"trainer.{key}={trainer[key]} must be at least 1")
    if trainer["max_steps"] != -1 and trainer["max_steps"] < 1:
        raise ValueError(f"trainer.max_steps={trainer['max_steps']} must be at least 1, or -1 for all epochs")
    if not trainer["limit_train_batches"]:
        raise ValueError(
            f"trainer.limit_train_batches={trainer['limit_train_batches']} trains nothing; 1.0 takes all"
            " batches, 10 that many"
        )
    for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
        limit = trainer[key]
        if limit is not None and not 0 <= limit <= (1.0 if isinstance(limit, float) else math.inf):
            raise ValueError(f"trainer.{key}={limit}: a share from 0.0 to 1.0 or a whole number would work")
    if isinstance(interval := trainer.get("val_check_interval"), str | dict):
        raise ValueError(
            f"trainer.val_check_interval={interval}: validations by the clock differ from run to run; "
            "a share of an epoch or batches would work"
        )
    if trainer.get("profiler") not in (None, "simple", "advanced", "pytorch"):
        raise ValueError(
            f"trainer.profiler={trainer['profiler']}: simple, advanced or pytorch would work, or null"
        )
    if trainer.get("overfit_batches"):
        raise ValueError(
            "trainer.overfit_batches puts its own order in the place of ours; trainer.limit_train_batches=N"
            " would work"
        )
    precision, clip = str(trainer["precision"]), trainer["gradient_clip_val"]
    if precision.endswith("-true") and precision != "32-true":
        raise ValueError(
            f"trainer.precision={precision}: images come in float32; 32-true, bf16-mixed or 16-mixed would"
            " work"
        )
    if clip is not None and not clip >= 0:
        raise ValueError(f"trainer.gradient_clip_val={clip} must be 0 or more, or null")


def never_validates(trainer: Mapping[str, Any]) -> str | None:
    """Returns why a run would validate nothing; else it does so at the end of its last epoch at least."""
    return "trainer.limit_val_batches=0 validates nothing" if trainer.get("limit_val_batches") == 0 else None


OWN = ("vitlab.", "pytorch_lightning.")
"""Where classes lie whose every metric is known."""


def _check_monitors(callbacks: Mapping[str, Any], objective: Any) -> None:
    """Raises ValueError for a negative patience, and for the misspelt name of a number to monitor."""
    all_known = all(node["_target_"].startswith(OWN) for node in callbacks.values() if node)
    known = ["val/loss", *(f"val/{name}" for name in objective.metrics())]
    if not objective.monitor.startswith("val/"):
        raise ValueError(
            f"monitor={objective.monitor}: the best is chosen by what a validation logs; known:"
            f" {', '.join(known)}"
        )
    for name, node in callbacks.items():
        patience, given = ((node or {}).get(key) for key in ("patience", "monitor"))
        if isinstance(patience, int) and patience < 0:
            raise ValueError(f"callbacks.{name}.patience={patience} must be 0 or more")
        if not isinstance(given, str) or given in known:
            continue
        here, metric = f"callbacks.{name}.monitor={given}", given.removeprefix("val/")
        if metric in objective.choices:
            raise ValueError(f"{here}: this run does not measure it; metrics=[..., {metric}] would")
        if close := difflib.get_close_matches(given, known, n=1, cutoff=0.7):
            raise ValueError(f"{here}: no validation logs that; did you mean {close[0]}?")
        if given.startswith("val/") and all_known:
            raise ValueError(f"{here}: no validation logs that; known: {', '.join(known)}")


def check_combinations(plain: Mapping[str, Any]) -> None:
    """Raises ValueError in one line for the first thing in a plain config that does not fit to another."""
    from vitlab.construct import build

    trainer, warmup_epochs = plain["trainer"], plain["schedule"].get("warmup_epochs")
    _check_trainer(trainer)
    if plain.get("peer_timeout_seconds", 1) < 1:  # a record of before has none
        raise ValueError(
            f"peer_timeout_seconds={plain['peer_timeout_seconds']} must be at least 1; 1800 is half an hour"
        )
    objective = build(plain["objective"])
    _check_monitors(plain["callbacks"], objective)
    if column := plain["data"].get("weight_column"):
        objective.require_weights(f"data.weight_column={column}")
    for key in ("mixup", "cutmix"):
        if plain["augment"].get(key):
            objective.require_mixing(f"augment.{key}={plain['augment'][key]}")
    for name, node in plain["callbacks"].items():
        if (why := never_validates(trainer)) and (node or {}).get("_target_", "").endswith(".EarlyStopping"):
            raise ValueError(f"callbacks.{name} stops by what is validated, and {why}; 1.0 would work")
    most, by_epochs = trainer["max_epochs"], trainer["max_steps"] == -1
    if warmup_epochs is not None and by_epochs and not 0 <= warmup_epochs < most:
        raise ValueError(
            f"schedule.warmup_epochs={warmup_epochs} does not fit in trainer.max_epochs={most}; 0 to below"
            f" {most} would work"
        )
    patch = (plain["patch_embed"] or {}).get("patch_size")
    _check_sizes(plain["data"]["image_size"], plain["data"]["eval_size"], patch)
    if plain["features"] is not None:
        off = inspect.signature(resolve_target(plain["augment"]["_target_"], "augment")).parameters
        changed = [key for key, value in plain["augment"].items() if key in off and value != off[key].default]
        if changed:
            raise ValueError(
                f"augment.{changed[0]}={plain['augment'][changed[0]]}: kept features know one view of an"
                " image; augment=none would work"
            )
        if not resolve_target(plain["objective"]["_target_"], "objective").takes_features:
            raise ValueError("features: only the head can learn from them; objective=linear_probe would work")
    _check_strategy(str(trainer["strategy"]), plain)
