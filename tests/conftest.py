"""Shapes and types are checked while the tests run: the hook wraps every function of vitlab that is imported after it."""

import sys
import types

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# the hook takes the checker by name; a whole number is a number, as Python's typing has it
checker = types.ModuleType("vitlab_typechecker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules[checker.__name__] = checker
install_import_hook("vitlab", "vitlab_typechecker.check")
