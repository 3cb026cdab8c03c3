"""`vitlab dashboard` opens on loss and accuracy."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import closing

from vitlab.loggers.run_logger import RunFacts
from vitlab.loggers.tensorboard import TensorBoard
from vitlab.objectives.classification import Classification


def test_the_first_tab_is_the_layout_of_charts(tmp_path):
    objective = Classification(10, 0.0, "val/accuracy", "max").facts()
    dashboard = TensorBoard(tmp_path / "run")
    dashboard.begin(RunFacts(tmp_path / "run", 0, {"callbacks": {}}, objective, {"seed": 0}, {}))
    dashboard.numbers({"val/accuracy": 0.5}, 1)
    dashboard.end("completed")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "vitlab.cli",
        "dashboard",
        str(tmp_path),
        "--port",
        "0",
        "--host",
        "127.0.0.1",
    ]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as process:
        try:
            url = next(
                found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+/", line))
            )
            for _ in range(100):  # the runs are read beside the server
                with closing(urllib.request.urlopen(f"{url}data/plugins_listing")) as answer:
                    tabs = [name for name, facts in json.load(answer).items() if facts["enabled"]]
                if tabs:
                    break
        finally:
            process.terminate()
    assert tabs[:2] == ["custom_scalars", "timeseries"]
