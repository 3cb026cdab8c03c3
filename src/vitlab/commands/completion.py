"""`vitlab completion bash|zsh`: what a shell evaluates to complete commands, options, keys and files."""

import sys
from collections.abc import Sequence

from vitlab.commands.help import COMMANDS, DOES
from vitlab.config.conf_files import conf_groups, options
from vitlab.config.suggest import TAKES_GROUPS, known_keys

BASH = """\
_vitlab() {
    local IFS=$'\\n' word="${COMP_WORDS[COMP_CWORD]}" words
    words="${COMP_LINE:0:COMP_POINT}"
    word="${words##* }"
    COMPREPLY=($(vitlab completion words "${words% *} " "$word" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -eq 0 && "$word" == *=* ]]; then  # a key whose value is a file
        COMPREPLY=($(compgen -f -- "${word#*=}"))
        compopt -o filenames 2>/dev/null
    fi
    [[ "${COMPREPLY[0]}" == *= || "${COMPREPLY[0]}" == *. ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _vitlab vitlab
"""
SHELLS = {"bash": BASH, "zsh": "autoload -U +X bashcompinit && bashcompinit\n" + BASH}


def completions(before: str, word: str) -> list[str]:
    """Returns what may stand for the `word` that is typed after the words `before`: after the last `=`."""
    given = before.split()[1:]
    if not given:
        return [command for command in COMMANDS if command.startswith(word)]
    command = given[0]
    if command not in DOES:
        return []
    groups = conf_groups() if command in TAKES_GROUPS else []
    key, equals, value = word.partition("=")
    if equals:
        return [option for option in options(key) if option.startswith(value)] if key in groups else []
    return sorted(f"{name}=" for name in known_keys(command) if name.startswith(word))


def main(arguments: Sequence[str]) -> None:
    if len(arguments) == 3 and arguments[0] == "words":
        print("\n".join(completions(*arguments[1:])))
    elif len(arguments) == 1 and arguments[0] in SHELLS:
        print(SHELLS[arguments[0]], end="")
    else:
        print('vitlab: completion takes a shell: eval "$(vitlab completion bash)", or zsh', file=sys.stderr)
        sys.exit(2)
