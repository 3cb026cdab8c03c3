"""What does not change while the tests run is found out once in each process: how the options of vitlab's
own files compose, the installed packages, the state of this checkout.

A command composes twice, what was asked and the same options without its values; of 700 commands most choose
the same options. Hydra's list of the files that a choice of options leads to, and what these files hold
together, are two fifths of what a command costs that is refused. Packages and checkout take a tenth of a
short training.
"""

import sys
from copy import deepcopy
from dataclasses import replace
from functools import cache

import hydra
import yaml
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra

# libyaml's reader, where it is there, is the faster one
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

from vitlab.config import compose  # noqa: E402
from vitlab.config.conf_files import conf_dir  # noqa: E402
from vitlab.runs import surroundings  # noqa: E402


def reads_only_ours(loader):
    """Tells whether what composes configs, or its repository of them, reads files of vitlab's own alone."""
    sources = [source.full_path() for source in loader.get_sources()]
    return {path for path in sources if path.startswith("file://")} == {f"file://{conf_dir()}"}


@cache
def composed(config_name, overrides):
    return hydra.compose(config_name, list(overrides))


def compose_once(config_name, overrides):
    """Stands for hydra.compose where vitlab.config.compose asks for it."""
    loader = GlobalHydra.instance().config_loader()
    if not reads_only_ours(loader) or any(override.startswith("hydra.") for override in overrides):
        return hydra.compose(config_name, overrides)
    return deepcopy(composed(config_name, tuple(overrides)))


list_files, join_files = (
    config_loader_impl.create_defaults_list,
    ConfigLoaderImpl._compose_config_from_defaults_list,
)
listed, joined = {}, {}


def list_once(repo, config_name, overrides_list, **options):
    """Stands for Hydra's function that lists the files of the chosen options, whatever values are given."""
    if not reads_only_ours(repo):
        return list_files(repo, config_name, overrides_list, **options)
    is_choice = {each.input_line: repo.group_exists(each.key_or_group) for each in overrides_list}
    chosen = [each for each in overrides_list if is_choice[each.input_line]]
    key = (config_name, *(each.input_line for each in chosen), *options.values())
    if key not in listed:
        listed[key] = list_files(repo, config_name, chosen, **options)
    files = listed[key]
    nodes = {each.input_line for each in files.config_overrides}  # values for a whole group's node
    values = [
        each
        for each in overrides_list
        if each.input_line in nodes or not (is_choice[each.input_line] or each.is_sweep_override())
    ]
    return replace(files, config_overrides=values)


def join_once(self, defaults, repo):
    """Stands for Hydra's method that merges these files."""
    known = [each.defaults for each in listed.values()]
    if not any(defaults is each for each in known):
        return join_files(self, defaults, repo)
    if id(defaults) not in joined:
        joined[id(defaults)] = join_files(self, defaults, repo)
    return deepcopy(joined[id(defaults)])


find_packages, find_git_state = surroundings.packages, surroundings.git_state


@cache
def packages_in(places):
    return find_packages()


@cache
def git_state_here():
    return find_git_state()


compose.compose = compose_once
config_loader_impl.create_defaults_list = list_once
ConfigLoaderImpl._compose_config_from_defaults_list = join_once
surroundings.packages = lambda: packages_in(tuple(sys.path))
surroundings.git_state = lambda *source: find_git_state(*source) if source else git_state_here()
