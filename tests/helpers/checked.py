"""What the tests' import hook puts around each function of vitlab: types and shapes are checked in every
call.

jaxtyping's own decorator binds the arguments of every call and checks them twice; this one does so once, and
keeps book of sizes (`batch` is one number in all of a signature) only where the signature has shapes.
"""

import functools
import typing

import jaxtyping
from beartype import BeartypeConf, beartype

# a whole number is a number, as Python's typing has it; what is wrong is a TypeError, as jaxtyping's own is
check_types = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeError))
jaxtyped = jaxtyping.jaxtyped


def shapes_in(hint):
    """Yields the shapes that an annotation names, also in a part of it, as in `list[Images] | None`."""
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        yield hint.dim_str
    for part in typing.get_args(hint):
        yield from shapes_in(part)


def checked(function=None, *, typechecker=None):
    """Stands for jaxtyping.jaxtyped. It leaves to that what is no plain function, annotations in quotes,
    whose names need not be there when the tests run, and sizes in braces, which refer to arguments."""
    if function is None:
        return functools.partial(checked, typechecker=typechecker)
    hints = getattr(function, "__annotations__", {}).values()
    shapes = [shape for hint in hints for shape in shapes_in(hint)]
    is_plain = hasattr(function, "__code__") and not any(isinstance(hint, str) for hint in hints)
    if not is_plain or any("{" in shape for shape in shapes):
        return jaxtyped(function, typechecker=check_types)
    with_types = check_types(function)

    @functools.wraps(function)
    def call(*arguments, **named):
        if jaxtyping.config.jaxtyping_disable:
            return function(*arguments, **named)
        if not shapes:
            return with_types(*arguments, **named)
        with jaxtyped("context"):
            return with_types(*arguments, **named)

    return call
