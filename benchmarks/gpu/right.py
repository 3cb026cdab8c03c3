"""Is it right? The checks of tests/gpu on the device, several at once."""

import os
import sys

from benchmarks.child import ROOT
from benchmarks.gpu.collect import FILE
from benchmarks.gpu.plan import Plan


def command(plan: Plan) -> tuple[list[str], dict[str, str]]:
    """Returns how the checks are started, and their environment."""
    several = [] if plan.device == "cpu" else ["-n", "8", "--dist", "worksteal"]
    options = [
        "-o",
        "addopts=--import-mode=importlib",
        "-o",
        "filterwarnings=default",
        "-p",
        "benchmarks.gpu.collect",
        "-p",
        "no:cacheprovider",
    ]
    arguments = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        *several,
        *options,
        *plan.chosen,
        "tests/gpu",
    ]
    threads = {"OMP_NUM_THREADS": "1" if plan.device == "cpu" else "2", "TORCHINDUCTOR_COMPILE_THREADS": "2"}
    paths = os.pathsep.join(filter(None, (str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH"))))
    return arguments, {
        "CHECK_DEVICE": plan.device,
        FILE: str(plan.json_file("right")),
        "PYTHONPATH": paths,
        **threads,
    }


def main(plan: Plan) -> None:
    arguments, environment = command(plan)
    os.chdir(ROOT)
    around = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }  # of tests that rehearse this
    os.execve(arguments[0], arguments, around | environment)


if __name__ == "__main__":
    main(Plan.from_environment())
