"""Fitting weights into a model: every tensor is accounted for, or nothing is loaded."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from vitlab.models.positions import resize_positions
from vitlab.models.vit import VisionTransformer
from vitlab.weights.account import Account, listed
from vitlab.weights.facts import Pretrained, describe, find_positions
from vitlab.weights.options import TRUNK, options_for_trunk, options_that_fit

HEAD = ("head.weight", "head.bias")

DISTILLATION = "the head of the distillation token, whose logits its library averages with the others"

IGNORABLE = {
    "of_objective.": "only what was learned before needed it",
    "pooler.": "a layer for other tasks",
    "embeddings.mask_token": "only pre-training masks patches",
    "mask_token": "only pre-training masks patches",
    "distillation_classifier.": DISTILLATION,
    "head_dist.": DISTILLATION,
    "pre_logits.": "a layer before the old head",
}
"""Tensors without a place here, by the start of their names, and why they are not needed."""

BEHIND_THE_CUT = ("layer2", "layer3", "layer4", "fc")
"""Parts of a ResNet that a trunk may lack."""


class Fitted(NamedTuple):
    """A tensor of the file as the model takes it."""

    value: Tensor
    status: str
    reason: str


def _fit_positions(model: VisionTransformer, weights: Pretrained, table: Tensor) -> Fitted | None:
    """Returns the positions on the model's grid; None for other prefix tokens or widths."""
    theirs = weights.architecture
    num_prefix = 0 if theirs["no_embed_class"] else int(theirs["class_token"]) + theirs["reg_tokens"]
    sizes = (theirs.get("image_size"), theirs.get("patch_size"))
    old, _ = find_positions(table.shape[1] - num_prefix, 0, *sizes)
    own_prefix = model.num_prefix_tokens if model.positions_on_prefix else 0
    if old is None or table.shape[2] != model.embed_dim or num_prefix != own_prefix:
        return None
    if old == model.grid:
        return Fitted(table, "loaded", "")
    how = f"{old[0]} x {old[1]} to {model.grid[0]} x {model.grid[1]} patches"
    return Fitted(resize_positions(table.float(), old, model.grid, num_prefix), "resized", how)


def _fit_channels(value: Tensor, target: Tensor) -> Fitted | None:
    """Returns filters for another number of input channels: summed to one, or repeated and scaled so that
    their sum stays about what it was, as timm's `adapt_input_conv` does; None where more differs."""
    if value.ndim != 4 or value.shape[0] != target.shape[0] or value.shape[2:] != target.shape[2:]:
        return None
    there, here = value.shape[1], target.shape[1]
    if here == 1:
        return Fitted(value.float().sum(dim=1, keepdim=True), "adapted", f"{there} channels summed to 1")
    if there == here:
        return None
    repeated = value.float().repeat(1, -(-here // there), 1, 1)[:, :here] * (there / here)
    how = "1 channel shared out" if there == 1 else f"{there} channels repeated and rescaled"
    return Fitted(repeated, "adapted", f"{how} to {here}")


def _fit(model: nn.Module, weights: Pretrained, name: str, value: Tensor, target: Tensor) -> Fitted | None:
    if name == "pos_embed" and isinstance(model, VisionTransformer) and weights.architecture:
        return _fit_positions(model, weights, value)
    return Fitted(value, "loaded", "") if value.shape == target.shape else _fit_channels(value, target)


def _why_head_is_replaced(weights: Pretrained, num_classes: int, class_names: Sequence[str] | None) -> str:
    if weights.unusable_head:
        return weights.unusable_head
    theirs = len(weights.state["head.weight"])
    if theirs != num_classes:
        return f"{theirs} classes in the file, {num_classes} here"
    names = weights.class_names
    if names is not None and class_names is not None and names != tuple(class_names):
        return f"other classes: {listed(names)} in the file, {listed(list(class_names))} here"
    return ""


def _why_ignored(name: str, ours: Mapping[str, Tensor], trunk_only: bool) -> str:
    if trunk_only and name.startswith(TRUNK):
        part = name.removeprefix(TRUNK).partition(".")[0]
        is_here = any(own.startswith(f"{TRUNK}{part}.") for own in ours)
        return "stages behind the cut" if part in BEHIND_THE_CUT and not is_here else ""
    return next((reason for start, reason in IGNORABLE.items() if name.startswith(start)), "")


def _refuse(model: nn.Module, weights: Pretrained, mismatches: list[str]) -> None:
    if weights.trunk_only:
        options = options_for_trunk(model.state_dict(), weights.state)
    else:
        options = options_that_fit(model, weights, " ".join(mismatches))
    fitting = f"{' '.join(options)} would fit" if options else "no option of the config would fit"
    if options and not weights.trunk_only:
        fitting += ", and model=pretrained takes all of it from the weights"
    why = f"{listed(mismatches, '; ')}; {fitting}"
    raise ValueError(f"model.weights={weights.source} does not fit the model: {why}")


def _missing(names: Iterable[str], weights: Pretrained, account: Account) -> list[str]:
    """Accounts for the model's tensors that the file has none for; returns those that it should have."""
    missing = []
    for name in names:
        if weights.trunk_only and not name.startswith(TRUNK):
            account.add("fresh", name, "not in a ResNet")
        elif name in HEAD:
            account.add("fresh", name, "the file has none")
        elif name.endswith(".num_batches_tracked"):
            account.add("fresh", name, "a count that old files lack")
        else:
            missing.append(f"{name} is missing in the file")
    return missing


def _differences_without_tensors(
    model: VisionTransformer, weights: Pretrained, account: Account
) -> list[str]:
    """Returns what makes the model another function although all tensors may fit; notes the rest."""
    ours, theirs, found = describe(model), weights.architecture, []
    for key in ("num_heads", "pos_embed"):
        if key in theirs and ours[key] != theirs[key]:
            if key in weights.guessed:
                usual = f"the file does not tell, {theirs[key]} would be usual"
                account.notes.append(f"{key}={ours[key]} here; {usual}")
            elif key != "pos_embed" or "learn" not in (ours[key], theirs[key]):
                found.append(f"{key} is {theirs[key]} in the file, {ours[key]} here")
    patch_embed = weights.patch_embed or {}
    if "trunk_size" in patch_embed:
        there = patch_embed["trunk_size"] or patch_embed["patch_size"]
        here = getattr(model.patch_embed, "trunk_size", None) or model.patch_embed.patch_size
        if there != here:
            found.append(f"patch_embed.trunk_size is {there} in the file, {here} here")
    if ours["norm_eps"] != theirs.get("norm_eps", ours["norm_eps"]):
        account.notes.append(f"model.norm_eps={ours['norm_eps']} here, {theirs['norm_eps']} in the file")
    return found


def load_pretrained(
    model: nn.Module, weights: Pretrained, class_names: Sequence[str] | None = None
) -> Account:
    """Loads weights into a model that is to tell `class_names` apart, and returns what became of each tensor.
    Positions are resized to the model's grid, input filters adapted to its channels; the head stays as it is
    where the classes differ. Raises ValueError, and loads nothing, where anything else differs."""
    ours, account = model.state_dict(), Account(weights.source)
    if weights.trunk_only and not any(name.startswith(TRUNK) for name in ours):
        _refuse(model, weights, ["a ResNet's tensors, and a patch embedding without a ResNet"])
    account.notes += weights.notes
    replaced = ""
    has_head = "head.weight" in weights.state and weights.state["head.weight"].ndim
    if "head.weight" in ours and has_head and not weights.trunk_only:
        replaced = _why_head_is_replaced(weights, len(ours["head.weight"]), class_names)
        if not replaced and weights.class_names is None:
            why = "the file does not name its classes, their order is taken to be the same"
            account.notes.append(f"head kept: {why}")
    filled: dict[str, Tensor] = {}
    mismatches: list[str] = []
    for name, value in weights.state.items():
        target = ours.get(name)
        if name in HEAD and replaced:
            account.add("replaced", name, replaced)
        elif ignored := _why_ignored(name, ours, weights.trunk_only):
            account.add("ignored", name, ignored)
        elif target is None and name == "pos_embed":
            mismatches.append("pos_embed is learned in the file, and fixed or none here")
        elif target is None:
            mismatches.append(f"{name} is in the file only")
        elif (fitted := _fit(model, weights, name, value, target)) is None:
            mismatches.append(f"{name} is {list(value.shape)} in the file, {list(target.shape)} here")
        else:
            filled[name] = fitted.value
            account.add(fitted.status, name, fitted.reason)
    answered = filled.keys() | set(account.names("replaced"))
    mismatches += _missing([name for name in ours if name not in answered], weights, account)
    if isinstance(model, VisionTransformer) and weights.architecture:
        mismatches += _differences_without_tensors(model, weights, account)
    if mismatches:
        _refuse(model, weights, mismatches)
    model.load_state_dict(filled, strict=False)
    return account
