"""What docs/extending.md has a reader write and type works as it stands there, shortened to a few steps."""

import json
import re
import shlex
from io import BytesIO
from pathlib import Path

from PIL import Image

from vitlab.runs.record import load_record

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
CODE = "\n".join(line[4:] for line in PAGE.splitlines() if line.startswith("    ") or not line)

SHORT = ("trainer.fast_dev_run=true", "hardware=cpu")


def test_the_files_and_commands_of_the_page_on_extending_work_as_they_stand(vitlab, tmp_path, monkeypatch):
    for name, content in re.findall(r"cat > (\S+) <<'END'\n(.*?)\nEND\n", CODE, re.DOTALL):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")
    monkeypatch.syspath_prepend(tmp_path / "mynets")
    monkeypatch.setenv("VITLAB_TARGETS", re.findall(r"VITLAB_TARGETS=(\S+)", CODE)[-1])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "mynets"))  # for a sweep's jobs
    own = [
        shlex.split(line)[1:] for line in CODE.splitlines() if line.startswith("vitlab train --config-dir")
    ]
    assert len(own) == 7
    *own, sweep = own
    for number, (command, *arguments) in enumerate(own):
        kept = [
            argument
            for argument in arguments
            if not argument.startswith(("trainer.max_epochs=", "hydra.run.dir="))
        ]
        ended = vitlab(command, *kept, *SHORT, f"hydra.run.dir={number}")
        assert ended.status == 0, ended.err
    configs = [load_record(tmp_path / str(number))["config"] for number in range(6)]
    assert configs[0]["model"]["_target_"] == "mynets.SmallCNN"
    assert configs[1]["objective"]["criterion"]["_target_"] == "timm.loss.BinaryCrossEntropy"
    assert (tmp_path / "2" / "lightning_logs" / "version_0" / "metrics.csv").is_file()
    assert configs[3]["objective"]["monitor"] == "val/mae"
    entries = [json.loads(line) for line in (tmp_path / "4" / "diary.jsonl").read_text().splitlines()]
    assert entries[0]["chosen"]["seed"] == 0 and entries[-1] == {"ended": "completed"}
    assert any("val/loss" in entry for entry in entries)
    shown = [(tmp_path / "4" / entry["picture"]).read_bytes() for entry in entries if "picture" in entry]
    assert shown and all(Image.open(BytesIO(content)).width for content in shown)
    assert (tmp_path / "5" / "figures" / "head_weights.png").is_file()
    assert configs[5]["augment"]["_target_"] == "fade.Fade"
    one = [argument.replace("seed=0,1", "seed=0") for argument in sweep[1:]]
    ran = vitlab(sweep[0], *one, *SHORT, "callbacks=[default]")
    assert ran.status == 0 and "job 0 runs by sh -c" in ran.out, ran
    tested = vitlab("test", "checkpoint=0", "hydra.run.dir=tested")
    assert tested.status == 0, tested.err
