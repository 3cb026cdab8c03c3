"""The Tab key completes commands, keys, options of groups, and leaves files to the shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent

TYPED = {
    "vitlab tr": ["train"],
    "vitlab train hardw": ["hardware="],
    "vitlab train hardware=mul": ["multi_gpu"],
    "vitlab train trainer.max_e": ["trainer.max_epochs="],
    "vitlab train data=digits optimizer=m": ["muon"],
    "vitlab check data=fol": ["folder"],
    "vitlab check num_": ["num_shown="],
    "vitlab predict check": ["checkpoint="],
    "vitlab predict images=note": ["notes.txt"],
    "vitlab list a": [],
}


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize("line", TYPED)
def test_bash_completes_what_is_typed(line, tmp_path):
    (tmp_path / "notes.txt").touch()
    script = (
        'eval "$(vitlab completion bash)"; COMP_LINE="$1"; COMP_POINT=${#1}; COMP_WORDS=($1);'
        " COMP_CWORD=$((${#COMP_WORDS[@]}-1))\n"
    )
    script += '_vitlab 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}"'
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", line], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.stdout.split() == TYPED[line], done.stderr


def test_a_shell_that_is_none_is_refused(vitlab):
    assert vitlab("completion", "tcsh").status == 2
