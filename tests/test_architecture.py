"""The house as docs and DESIGN describe it: imports point down the floors, and a command's door opens
quickly."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "vitlab"

FLOORS = [
    {
        "shapes": "",
        "randomness": "",
        "words": "",
        "uncertainty": "",
        "startup": "",
        "programs": "",
        "command_line": "",
        "ranks": "",
        "gathering": "",
        "quirks": "",
        "foreign": "",
    },
    {
        "machine": "programs",
        "slurm": "programs ranks",
        "trouble": "words",
    },
    {"files": "machine"},
    {
        "models": "machine shapes",
        "data": "files machine randomness shapes",
        "optim": "",
        "pictures": "shapes words",
    },
    {
        "construct": "data foreign randomness",
        "checkpoint": "data files quirks",
        "insight": "models quirks randomness shapes",
        "objectives": "data gathering pictures shapes uncertainty words",
        "dashboard": "command_line uncertainty words",
    },
    {
        "weights": "checkpoint data models words",
        "evaluation": "checkpoint data files objectives uncertainty",
        "corruptions": "randomness",
        "predictor": "data objectives shapes",
        "runs": "checkpoint construct data files machine models objectives programs slurm",
        "gallery": "data insight models pictures shapes words",
    },
    {
        "export": "checkpoint command_line data models shapes uncertainty weights words",
        "loggers": "dashboard files runs words",
        "sweeps": "files machine quirks runs",
    },
    {
        "callbacks": ("data evaluation files gallery gathering insight loggers objectives pictures quirks"),
        "config": "construct files foreign objectives ranks runs startup sweeps trouble weights words",
        "comparison": "command_line construct evaluation files objectives pictures runs sweeps words",
    },
    {
        "training": (
            "callbacks checkpoint config construct corruptions dashboard data evaluation files foreign"
            " gathering loggers models objectives optim pictures quirks randomness ranks runs slurm sweeps"
            " uncertainty weights"
        ),
    },
    {
        "commands": (
            "callbacks comparison config construct data evaluation export files gallery insight models"
            " pictures predictor randomness ranks runs slurm startup sweeps training weights words"
        ),
    },
    {"cli": "commands startup trouble words"},
    {"lab": "config construct data insight models objectives predictor runs shapes training"},
    {"__main__": "cli", "__init__": "data insight lab loggers models objectives training"},
]
"""The rooms by floor, and which others each one may know."""

FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}
MAY_KNOW = {room: set(known.split()) for floor in FLOORS for room, known in floor.items()}

FILES = sorted(SOURCE.rglob("*.py"))


def imports_of(file):
    """Modules that a file imports, also those inside its functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def room_of(module_parts):
    return module_parts[0].removesuffix(".py")


def test_what_a_room_may_know_lies_on_a_lower_floor_and_no_permission_is_idle():
    known = {room: set() for room in MAY_KNOW}
    for file in FILES:
        known[room_of(file.relative_to(SOURCE).parts)] |= {
            module.split(".")[1] for module in imports_of(file) if module.startswith("vitlab.")
        }
    for room, rooms in MAY_KNOW.items():
        assert all(FLOOR_OF[other] < FLOOR_OF[room] for other in rooms), room
        assert rooms <= known[room], f"{room} does not know {rooms - known[room]}"


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(SOURCE)) for file in FILES])
def test_a_file_imports_only_the_rooms_that_its_own_may_know(file):
    room = room_of(file.relative_to(SOURCE).parts)
    for module in imports_of(file):
        parts = module.split(".")
        if parts[0] in ("hydra", "omegaconf"):
            assert room == "config", f"{file}: only config/ knows Hydra"
        if parts[0] == "pytorch_lightning":
            assert room != "models", f"{file}: a model is plain torch"
        if parts[0] == "vitlab" and len(parts) > 1 and parts[1] != room:
            assert parts[1] in MAY_KNOW[room], f"{file} imports {module}, which {room} is not to know"


def test_the_tree_in_the_docs_names_every_room_and_no_other():
    page = (
        (SOURCE.parents[1] / "docs" / "extending.md")
        .read_text()
        .partition("src/vitlab/\n")[2]
        .partition("    tests/")[0]
    )
    named = {
        name
        for line in page.splitlines()
        for name in re.findall(r"(\w+)(?:/|\.py)(?=\s|$)", line[:36])
        if line[6:7] != " "
    }
    assert named == set(MAY_KNOW) - {"__init__"}


def private_names(file):
    """Yields the names with one leading underscore that a file takes from objects of other libraries."""
    tree = ast.parse(file.read_text())
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("vitlab"):
            yield from (alias.name for alias in node.names if re.match(r"_[^_]", alias.name))
        if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr) and node.attr not in defined:
            yield node.attr


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(SOURCE)) for file in FILES])
def test_private_names_of_other_libraries_stand_in_quirks_alone(file):
    public = {"_replace", "_asdict", "_fields", "_target_", "_exit"}
    # a door: what Hydra composes is looked at there before it acts
    doors = {
        "hydra_node.py": {"_compose_config_from_defaults_list", "_embed_result_config"},
        "sweep_check.py": {"_apply_overrides_to_config"},
    }.get(file.name, set())
    if file.name != "quirks.py":
        assert set(private_names(file)) <= public | doors


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--cfg", "job"], ["train", "--help"]], ids=" ".join
)
def test_asking_imports_neither_torch_nor_lightning(arguments):
    program = (
        f"import sys; sys.argv = ['vitlab', *{arguments}]\nfrom vitlab.cli import main\ntry: main()\nexcept"
        " SystemExit as end: assert not end.code, end\nheavy = {'torch', 'torchvision',"
        " 'pytorch_lightning', 'tensorboard', 'matplotlib'} & set(sys.modules)\nheavy |= {'hydra',"
        " 'asyncio'} & set(sys.modules) if sys.argv[1:] == ['--help'] else set()\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)


FOREIGN = "'timm', 'transformers', 'onnx', 'onnxscript', 'onnxruntime', 'huggingface_hub'"
LOOK_THEN_TRAIN = f"""
import sys, torch
from vitlab.insight.attention.maps import attention_maps
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

attention_maps(VisionTransformer(LinearPatchEmbed(8, 3, 32), 32, 5, 32, 2, 2), torch.randn(1, 3, 32, 32))
foreign = {{{FOREIGN}, 'pytorch_lightning', 'hydra'}} & set(sys.modules)
assert not foreign, foreign

sys.argv = ['vitlab', 'test', 'checkpoint=none.ckpt']
from vitlab.cli import main
try: main()
except SystemExit as end: assert end.code == 2, end
assert 'torchmetrics' in sys.modules  # which imports transformers and scipy by itself where they are
assert 'scipy' not in sys.modules
import vitlab.training.fit, vitlab.commands.test, vitlab.commands.export, vitlab.predictor
import vitlab.export.formats
foreign = {{{FOREIGN}}} & set(sys.modules)
assert not foreign, foreign
"""


def test_looking_training_predicting_and_exporting_import_no_other_librarys_models():
    """Looking into a model, which comes first in the process, imports neither Lightning nor Hydra, too."""
    subprocess.run([sys.executable, "-c", LOOK_THEN_TRAIN], check=True, capture_output=True, text=True)
