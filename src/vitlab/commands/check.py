"""One check of a whole config before any data is touched: what it names exists, and every value is of the kind it is used as."""

import difflib
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vitlab.commands.targets import check_keys, find_targets, resolve_target

GIVEN_BY_CODE = {
    "datamodule": set[str](),
    "features": {"data", "model"},
    "classifier": {"model", "optimizer", "schedule"},
    "trainer": {"callbacks", "logger"},
    "optimizer": {"named_parameters"},
    "schedule": {"optimizer", "total_steps", "steps_per_epoch"},
}
"""Arguments that no config can hold, by node."""

TAKEN_BY_CODE = {"model": {"weights": str | None}}
"""Keys of a node that are no arguments of what it builds, with their types."""

HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def check_config(config: DictConfig, reference: DictConfig) -> dict[str, Any]:
    """Returns the config as plain data with every interpolation resolved.

    `reference` is the same choice of groups without any value changed: in nodes that build nothing it knows the keys. Raises ValueError
    with one line that names the key, the value and what would work.
    """
    plain = resolve(config)
    _check_plain_keys(plain, OmegaConf.to_container(reference, resolve=False), "")
    for path, node in find_targets(plain):
        _check_arguments(config, path, node)
    _check_combinations(plain)
    return plain


def resolve(config: DictConfig) -> dict[str, Any]:
    """Returns plain data. Raises ValueError naming the key that is missing or whose interpolation leads nowhere."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        if "Missing mandatory value" in reason:
            key = _origin(config, str(error.full_key))
            raise ValueError(f"{key} has no value; give one: {key}=...") from None
        raise ValueError(f"{error.full_key} cannot be resolved: {reason}") from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def from_environment(node: Any, path: str = "") -> list[str]:
    """Returns the keys of an unresolved config whose values are taken from environment variables."""
    if isinstance(node, dict):
        return [key for name, value in node.items() for key in from_environment(value, f"{path}.{name}" if path else str(name))]
    if isinstance(node, list):
        return [key for value in node for key in from_environment(value, path)]
    return [path] if isinstance(node, str) and "${oc.env:" in node else []


def _check_plain_keys(node: Any, reference: Any, path: str) -> None:
    if not isinstance(node, dict) or not isinstance(reference, dict) or "_target_" in node:
        return
    for key, value in node.items():
        here = f"{path}.{key}" if path else str(key)
        holds_parts = path in ("callbacks", "logger") and isinstance(value, dict) and "_target_" in value
        if key not in reference and path in ("callbacks", "logger") and isinstance(value, dict) and not holds_parts:
            ways = f"add {key} there, or leave the values out with ~{here}"
            raise ValueError(f"{here} has values, but {path}=[...] does not choose it; {ways}")
        if key not in reference and not holds_parts:
            raise ValueError(f"unknown key {here}={_short(value)}; {_suggest(key, reference)}")
        _check_plain_keys(value, reference.get(key), here)


def _check_arguments(config: DictConfig, path: str, node: Mapping[str, Any]) -> None:
    check_keys(node, path)
    target = resolve_target(node["_target_"], path)
    signature = inspect.signature(target)
    taken = TAKEN_BY_CODE.get(path, {})
    hints = _hints(target) | taken
    given = {str(key): value for key, value in node.items() if key not in HYDRA_KEYS}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for key, value in given.items():
        if key not in signature.parameters and key not in taken and not takes_any:
            raise ValueError(f"unknown key {path}.{key}={_short(value)}; {_suggest(key, [*signature.parameters, *taken])}")
        if not _fits(value, hints.get(key, Any)):
            raise ValueError(f"{_origin(config, f'{path}.{key}')}={_short(value)} is of the wrong kind; {_describe(hints[key])} would work")
    for name, parameter in signature.parameters.items():
        required = parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if required and name not in given and name not in GIVEN_BY_CODE.get(path, set()):
            raise ValueError(f"{path}.{name} is missing; {node['_target_']} needs it")


def _check_combinations(plain: Mapping[str, Any]) -> None:
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
    _check_eval_size(plain["data"]["image_size"], plain["data"]["eval_size"], plain["patch_embed"].get("patch_size"))
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


def _check_eval_size(trained: Any, shown: Any, patch: int | None) -> None:
    """Raises ValueError where patches divide the images of training (else the model says so) and not those of evaluation."""
    for side, larger in zip(*([size, size] if isinstance(size, int) else size for size in (trained, shown)), strict=False):
        if patch and side % patch == 0 and larger % patch:
            below = larger // patch * patch
            raise ValueError(
                f"data.eval_size={shown}: patch_size={patch} does not divide {larger} px; {below} or {below + patch} would work"
            )


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except NameError:  # a library's annotation that exists for type checkers only
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Tells whether plain data can be an argument of this type; types that plain data cannot be are no concern of a config."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if origin in (list, tuple, Sequence):
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        return isinstance(value, list) and all(any(_fits(item, part) for part in parts) for item in value)
    return isinstance(value, dict) or not _is_plain(hint)


def _is_plain(hint: Any) -> bool:
    return hint in (int, float, str, bool) or get_origin(hint) in (list, tuple)


def _describe(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_describe(part) for part in get_args(hint)))
    if get_origin(hint) is Literal:
        return " or ".join(str(value) for value in get_args(hint))
    if get_origin(hint) in (list, tuple):
        return "a list of " + " and ".join(dict.fromkeys(_describe(part) for part in get_args(hint) if part is not Ellipsis))
    names = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", type(None): "null"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _origin(config: DictConfig, path: str) -> str:
    """Returns the key that a user would change: where the value is only a reference, the key it refers to."""
    parent, _, key = path.rpartition(".")
    node = OmegaConf.select(config, parent)
    raw = OmegaConf.to_container(node, resolve=False).get(key) if isinstance(node, DictConfig) else None  # type: ignore[union-attr]
    if isinstance(raw, str) and raw.startswith("${") and raw.endswith("}") and ":" not in raw:
        return _origin(config, raw[2:-1])
    return path


def _suggest(key: str, known: Any) -> str:
    names = [str(name) for name in known if name != "self" and name not in HYDRA_KEYS]
    close = difflib.get_close_matches(str(key), names, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(names[:20])}"


def _short(value: Any) -> str:
    return str(value)[:60]
