"""The house as docs and DESIGN describe it: imports point down the floors, and a command's door opens quickly."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "vitlab"

FLOORS = {
    "shapes": 0,
    "randomness": 0,
    "startup": 0,
    "pages": 0,
    "programs": 0,
    "words": 0,
    "uncertainty": 0,
    "models": 1,
    "data": 1,
    "optim": 1,
    "insight": 2,
    "gathering": 0,
    "objectives": 2,
    "training": 3,
    "fsdp": 2,
    "probe": 2,
    "checkpoint": 2,
    "predictor": 2,
    "weights": 2,
    "export": 2,
    "callbacks": 3,
    "loggers": 3,
    "runs": 3,
    "sweeps": 3,
    "report": 3,
    "commands": 4,
    "cli": 5,
    "__main__": 5,
}

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


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(SOURCE)) for file in FILES])
def test_imports_point_down_and_siblings_on_floor_1_do_not_know_each_other(file):
    room = room_of(file.relative_to(SOURCE).parts)
    if room == "__init__":
        return
    for module in imports_of(file):
        parts = module.split(".")
        if parts[0] in ("hydra", "omegaconf"):
            assert FLOORS[room] == 4, f"{file}: {module} belongs to floor 4"
        if parts[0] == "pytorch_lightning":
            assert room != "models", f"{file}: a model is plain torch"
        if parts[0] != "vitlab" or len(parts) == 1 or parts[1] == room:
            continue
        assert FLOORS[parts[1]] <= FLOORS[room], f"{file} imports upwards: {module}"
        if FLOORS[room] == 1:
            assert FLOORS[parts[1]] == 0, f"{file} imports its sibling {module}"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--cfg", "job"], ["train", "--help"]], ids=" ".join)
def test_asking_imports_neither_torch_nor_lightning(arguments):
    program = (
        f"import sys; sys.argv = ['vitlab', *{arguments}]\n"
        "from vitlab.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end\n"
        "heavy = {'torch', 'torchvision', 'pytorch_lightning', 'tensorboard', 'matplotlib'} & set(sys.modules)\n"
        "heavy |= {'hydra', 'asyncio'} & set(sys.modules) if sys.argv[1:] == ['--help'] else set()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)


def test_training_predicting_and_exporting_import_no_other_librarys_models():
    program = (
        "import sys; sys.argv = ['vitlab', 'test', 'checkpoint=none.ckpt']\n"
        "from vitlab.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 2, end\n"
        "assert 'torchmetrics' in sys.modules  # which imports transformers by itself where that is installed\n"
        "import vitlab.commands.fit, vitlab.commands.test, vitlab.commands.export, vitlab.predictor, vitlab.export.formats\n"
        "foreign = {'timm', 'transformers', 'onnx', 'onnxscript', 'onnxruntime', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not foreign, foreign"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
