"""What does not change while the tests run is found out once in each process: how the options of vitlab's
own files compose, the installed packages, the state of this checkout.

A command composes twice, what was asked and the same options without its values; of 700 commands most choose
the same options. Packages and checkout take a tenth of a short training.
"""

import sys
from copy import deepcopy
from functools import cache

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra

# libyaml's reader, where it is there, is the faster one
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

from vitlab.config import compose  # noqa: E402
from vitlab.config.conf_files import conf_dir  # noqa: E402
from vitlab.runs import surroundings  # noqa: E402


@cache
def composed(config_name, overrides):
    return hydra.compose(config_name, list(overrides))


def compose_once(config_name, overrides):
    """Stands for hydra.compose where vitlab.config.compose asks for it."""
    sources = [source.full_path() for source in GlobalHydra.instance().config_loader().get_sources()]
    reads_others = {f"file://{conf_dir()}"} != {path for path in sources if path.startswith("file://")}
    if reads_others or any(override.startswith("hydra.") for override in overrides):
        return hydra.compose(config_name, overrides)
    return deepcopy(composed(config_name, tuple(overrides)))


find_packages, find_git_state = surroundings.packages, surroundings.git_state


@cache
def packages_in(places):
    return find_packages()


@cache
def git_state_here():
    return find_git_state()


compose.compose = compose_once
surroundings.packages = lambda: packages_in(tuple(sys.path))
surroundings.git_state = lambda *source: find_git_state(*source) if source else git_state_here()
