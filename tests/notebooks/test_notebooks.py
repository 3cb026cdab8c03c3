"""The notebooks are committed bare, run from the first cell to the last without a word on stderr, and reach
what they say."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
RENDERED = FOLDER.parent / "docs" / "notebooks"
FILES = sorted(FOLDER.glob("*.ipynb"))


def read(file):
    return nbformat.read(file, as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Runs a notebook once, in an empty folder; returns what each of its cells printed, by cell and stream.

    All run in one process, which imports torch once, but each begins without a name.
    """
    folder = tmp_path_factory.mktemp("notebooks")
    known, kernel = {}, KernelManager()

    def run(name):
        if name not in known:
            notebook = read(FOLDER / name)
            notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
            place = {"metadata": {"path": str(folder)}}
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("IPYTHONDIR", str(folder / "ipython"))
                client = NotebookClient(notebook, km=kernel, timeout=300, resources=place)
                client.execute()
            client.kc.stop_channels()
            known[name] = {
                (cell.id, stream): "".join(
                    output.text for output in cell.outputs if output.get("name") == stream
                )
                for cell in code_of(notebook)
                for stream in ("stdout", "stderr")
            }
        return known[name]

    yield run
    if kernel.has_kernel:
        kernel.shutdown_kernel(now=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_notebook_is_committed_bare_and_leaves_the_work_to_vitlab(file):
    notebook = read(file)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id) and not cell.metadata, cell.id
    for cell in code_of(notebook):
        assert cell.outputs == [] and cell.execution_count is None, cell.id
        defined = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        assert not defined, f"{cell.id} defines {defined[0].name}: it belongs into the package"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_rendered_copy_is_of_this_notebook_and_has_what_each_cell_gave(file):
    notebook, rendered = read(file), read(RENDERED / file.name)
    nbformat.validate(rendered)
    told = [[(cell.id, cell.cell_type, cell.source) for cell in each.cells] for each in (notebook, rendered)]
    assert told[0] == told[1], "make notebooks renders it anew"
    assert [cell.execution_count for cell in code_of(rendered)] == list(range(1, len(code_of(rendered)) + 1))
    outputs = [output for cell in code_of(rendered) for output in cell.outputs]
    assert outputs and not [
        output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert not re.search(
        r"/(home|tmp|root|work|Users)/", "".join(output.get("text", "") for output in outputs)
    )


def test_the_rendered_copies_are_small_and_no_others_are_there():
    copies = sorted(RENDERED.iterdir())
    assert [copy.name for copy in copies] == [file.name for file in FILES]
    assert sum(copy.stat().st_size for copy in copies) < 1_000_000


@pytest.mark.parametrize("name", [file.name for file in FILES])
def test_a_notebook_runs_from_start_to_end_and_warns_of_nothing(printed, name):
    complaints = {cell: text for (cell, stream), text in printed(name).items() if stream == "stderr" and text}
    assert not complaints


def test_the_vit_built_step_by_step_learns_to_read_nine_digits_in_ten(printed):
    said = printed("01_vit_step_by_step.ipynb")["training", "stdout"]
    assert float(re.search(r"([\d.]+)% of 359 test digits right", said)[1]) > 90.0


def test_looking_inside_finds_what_was_planted_and_that_random_is_no_method(printed):
    printed_by = printed("02_look_inside.ipynb")
    hits = dict(re.findall(r"(\w+) +points at the pattern in +(\d+)%", printed_by["truth", "stdout"]))
    assert int(hits["rollout"]) >= 85 and int(hits["random"]) <= 15
    no_better_than_random = printed_by["deletion", "stdout"].splitlines()[0].partition(":")[2].split()
    assert "random" in no_better_than_random and "rollout" not in no_better_than_random
