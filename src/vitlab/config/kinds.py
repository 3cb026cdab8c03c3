"""Whether a value of a config is of the kind that a parameter's type asks for, and that kind in words."""

import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def _constructors(target: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Returns a class's constructor, and those of its bases that it passes `**options` on to; of a function
    itself. The word is a promise: whoever names the rest `options` adds nothing and takes nothing away."""
    if not inspect.isclass(target):
        return [target]
    found = []
    for each in target.__mro__:
        if "__init__" in vars(each):
            found.append(each.__init__)
            if "options" not in inspect.signature(each.__init__).parameters:
                break
    return found


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the parameters of a class or a function by name, those of its bases with them."""
    further = _constructors(target)[1:]
    found = dict(inspect.signature(target).parameters)
    for each in further:
        found.pop("options", None)
        found = {**inspect.signature(each).parameters, **found}
        found.pop("self", None)
    return found


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Returns the types of a callable's arguments; none where they are written for type checkers only."""
    try:
        return {
            name: hint
            for each in reversed(_constructors(target))
            for name, hint in get_type_hints(each).items()
        }
    except NameError:
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Tells whether plain data can be an argument of this type; other types do not concern a config."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is None or hint is type(None):
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    if origin in (list, tuple, Sequence):
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        return isinstance(value, list) and all(any(fits(item, part) for part in parts) for item in value)
    return isinstance(value, dict) or not _is_plain(hint)


def _is_plain(hint: Any) -> bool:
    return hint in (int, float, str, bool) or get_origin(hint) in (list, tuple)


def describe(hint: Any) -> str:
    """Returns what would fit, in words."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(part) for part in get_args(hint)))
    if get_origin(hint) is Literal:
        return " or ".join(str(value) for value in get_args(hint))
    if get_origin(hint) in (list, tuple):
        parts = dict.fromkeys(describe(part) for part in get_args(hint) if part is not Ellipsis)
        return f"a list of {' and '.join(parts)}"
    names = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
    names[type(None)] = "null"
    return names.get(hint, getattr(hint, "__name__", str(hint)))
