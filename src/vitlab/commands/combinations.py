"""What of a config does not go together, although each value alone is right."""

import inspect
from collections.abc import Mapping
from typing import Any

from vitlab.commands.targets import resolve_target


def _check_strategy(strategy: str, plain: Mapping[str, Any]) -> None:
    """Raises ValueError for what cannot work with parts of a model, or with processes that are no fresh ones."""
    if strategy not in ("auto", "fsdp", "ddp", "ddp_find_unused_parameters_true"):
        raise ValueError(f"trainer.strategy={strategy} has not been shown to resume and evaluate exactly; auto, ddp and fsdp have")
    if strategy != "fsdp":
        return
    whole = {"vitlab.callbacks.ema.EMA": "average", "vitlab.callbacks.attention.AttentionPictures": "look into"}
    for name, node in plain["callbacks"].items():
        if node and node["_target_"] in whole:
            raise ValueError(
                f"callbacks.{name}: under fsdp no process holds a whole model to {whole[node['_target_']]}; callbacks=[default] would work"
            )
    refused = {
        "compile=true": plain["compile"],
        "features": plain["features"],
        "optimizer=muon": plain["optimizer"]["_target_"].endswith(".muon"),
    }
    for key, is_asked in refused.items():
        if is_asked:
            raise ValueError(f"trainer.strategy=fsdp does not go with {key}; without it, or with trainer.strategy=ddp, it would work")


def _check_sizes(trained: Any, shown: Any, patch: int | None) -> None:
    """Raises ValueError for sizes that are none, and where patches divide images of training but not of evaluation."""
    for key, size in (("image_size", trained), ("eval_size", shown)):
        if isinstance(size, list) and len(size) != 2:
            raise ValueError(f"data.{key}={size}: give a side in pixels, or [height, width]")
    for side, larger in zip(*([size, size] if isinstance(size, int) else size for size in (trained, shown)), strict=True):
        if patch and side % patch == 0 and larger % patch:
            below = larger // patch * patch
            raise ValueError(
                f"data.eval_size={shown}: patch_size={patch} does not divide {larger} px; {below} or {below + patch} would work"
            )


def check_combinations(plain: Mapping[str, Any]) -> None:
    """Raises ValueError with one line for the first thing that does not fit to another, in a config as plain data."""
    trainer, warmup_epochs = plain["trainer"], plain["schedule"].get("warmup_epochs", 0)
    for key in ("max_epochs", "accumulate_grad_batches", "check_val_every_n_epoch", "log_every_n_steps"):
        if trainer[key] is not None and trainer[key] < 1:
            raise ValueError(f"trainer.{key}={trainer[key]} must be at least 1")
    if not trainer["limit_train_batches"]:
        raise ValueError(
            f"trainer.limit_train_batches={trainer['limit_train_batches']} trains nothing; 1.0 takes all batches, 10 that many"
        )
    if trainer.get("overfit_batches"):
        raise ValueError("trainer.overfit_batches puts its own order in the place of ours; trainer.limit_train_batches=N would work")
    if trainer["max_steps"] == -1 and not 0 <= warmup_epochs < trainer["max_epochs"]:
        raise ValueError(
            f"schedule.warmup_epochs={warmup_epochs} does not fit in trainer.max_epochs={trainer['max_epochs']}; "
            f"0 to below {trainer['max_epochs']} would work"
        )
    _check_sizes(plain["data"]["image_size"], plain["data"]["eval_size"], plain["patch_embed"].get("patch_size"))
    if plain["features"] is not None:
        off = inspect.signature(resolve_target(plain["augment"]["_target_"], "augment")).parameters
        changed = [key for key, value in plain["augment"].items() if key in off and value != off[key].default]
        if changed:
            raise ValueError(
                f"augment.{changed[0]}={plain['augment'][changed[0]]}: kept features know one view of an image; augment=none would work"
            )
        if plain["classifier"]["_target_"] == "vitlab.classifier.ImageClassifier":
            raise ValueError(
                "features: only the head can learn from them; classifier._target_=vitlab.probe.linear_probe.LinearProbe would work"
            )
    _check_strategy(str(trainer["strategy"]), plain)
    if str(trainer["precision"]).startswith("16") and trainer["gradient_clip_val"]:
        raise ValueError(f"trainer.precision={trainer['precision']} cannot clip scaled gradients; trainer.precision=bf16-mixed would work")
