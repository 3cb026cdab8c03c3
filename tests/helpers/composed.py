"""Has Hydra compose each choice of options of vitlab's own files once: they do not change while tests run.

A command composes twice, what was asked and the same options without its values; of 700 commands most choose
the same options.
"""

from copy import deepcopy
from functools import cache

import hydra
from hydra.core.global_hydra import GlobalHydra

from vitlab.config import compose
from vitlab.config.conf_files import conf_dir


@cache
def known(config_name, overrides):
    return hydra.compose(config_name, list(overrides))


def compose_once(config_name, overrides):
    """Stands for hydra.compose where vitlab.config.compose asks for it."""
    sources = [source.path for source in GlobalHydra.instance().config_loader().get_sources()]
    own = {f"file://{conf_dir()}"}
    reads_others = own != {path for path in sources if path.startswith("file://")}
    if reads_others or any(override.startswith("hydra.") for override in overrides):
        return hydra.compose(config_name, overrides)
    return deepcopy(known(config_name, tuple(overrides)))


compose.compose = compose_once
