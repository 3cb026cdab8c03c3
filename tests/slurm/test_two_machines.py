"""Two machines, each a network namespace with a name of its own, train by torchrun, lose each other, and go
on to the bits of a run that nothing happened to."""

import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

SPEC = spec_from_file_location("cluster", Path(__file__).parent / "cluster.py")
SPEC.loader.exec_module(clusters := module_from_spec(SPEC))

TRAIN = [
    *("-m", "vitlab", "train", "hardware=cpu", "trainer.strategy=ddp", "trainer.num_nodes=2"),
    *("model.depth=1", "model.embed_dim=16", "model.num_heads=2", "data.batch_size=32"),
    *("trainer.max_epochs=4", "trainer.log_every_n_steps=5", "callbacks=[default]", "logger=csv"),
    *("callbacks.evaluation=null", "+callbacks.slow._target_=slow.Slow", "resume=auto"),
]


class Machines:
    """Two machines, va and vb, joined by a wire."""

    def __init__(self, place):
        self.place = place
        self.names = {name: f"{name}{os.getpid()}" for name in ("va", "vb")}
        self.started = []

    def ip(self, *command):
        subprocess.run(["ip", *command], check=True, capture_output=True, timeout=20)

    def build(self):
        for name in self.names.values():
            self.ip("netns", "add", name)
        a, b = self.names.values()
        self.ip("link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire", "netns", b)
        for number, name in enumerate(self.names.values(), start=1):
            self.ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "wire")
            self.ip("-n", name, "link", "set", "lo", "up")
            self.ip("-n", name, "link", "set", "wire", "up")
        (self.place / "hosts").write_text("127.0.0.1 localhost\n10.77.0.1 va\n10.77.0.2 vb\n")

    def remove(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
        for name in self.names.values():
            listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            for pid in listed.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def start(self, folder, slow="0"):
        """Starts torchrun on both machines, as one would at each of them; returns both."""
        become = 'hostname "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"'
        meet = ["--rdzv-backend=c10d", "--rdzv-endpoint=va:29400", f"--rdzv-id={folder.name}"]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", *meet]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parent),
            "VITLAB_TARGETS": "slow",
            "SLOW": f"{slow} 0",
        }
        both = []
        for name, space in self.names.items():
            here = ["ip", "netns", "exec", space, "unshare", "--uts", "--mount", "bash", "-c", become, "-"]
            command = [*here, name, str(self.place / "hosts"), *torchrun, *TRAIN, f"hydra.run.dir={folder}"]
            with (self.place / f"{folder.name}.{name}.log").open("ab") as log:
                both.append(
                    subprocess.Popen(command, cwd=self.place, env=environment, stdout=log, stderr=log)
                )
        self.started += both
        return both

    def trains_on(self, name, folder):
        """Returns the number of the process that trains on a machine."""
        listed = subprocess.run(["ip", "netns", "pids", self.names[name]], capture_output=True, text=True)
        for pid in listed.stdout.split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if "torch.distributed.run" not in command and str(f"hydra.run.dir={folder}") in command:
                return int(pid)
        return None

    def said(self, folder, name="va"):
        return (self.place / f"{folder.name}.{name}.log").read_text()


@pytest.fixture
def machines(tmp_path):
    """Skips where nobody may make network namespaces."""
    if shutil.which("ip", path=clusters.PROGRAMS) is None or os.geteuid() != 0:
        pytest.skip("two machines need iproute2 and root")
    found = Machines(tmp_path)
    try:
        found.build()
    except subprocess.CalledProcessError as error:
        found.remove()
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield found
    found.remove()


def record(folder):
    return json.loads((folder / "run.json").read_text())


def until_step(machines, folder, step):
    def reached():
        file = folder / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return any(json.loads(line).get("step", 0) >= step for line in lines if line.endswith("}"))

    clusters.wait_until(reached, 150, lambda: machines.said(folder)[-2000:])


def test_two_machines_that_lose_each_other_end_in_a_line_and_go_on_to_the_same_bits(machines, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "lost"
    assert [each.wait(240) for each in machines.start(whole)] == [0, 0], machines.said(whole)

    both = machines.start(folder, slow="0.3")
    until_step(machines, folder, 20)
    machines.ip("-n", machines.names["va"], "link", "set", "wire", "down")
    for each in both:  # which hang, without a word, and would do so for half an hour
        assert each.poll() is None
        each.terminate()
    for each in both:
        assert each.wait(100) != 0
    assert record(folder)["status"] == "interrupted"
    assert record(folder)["reason"] == "SIGTERM, while it waited for another process of the run"
    machines.ip("-n", machines.names["va"], "link", "set", "wire", "up")

    both = machines.start(folder, slow="0.3")
    until_step(machines, folder, 40)
    os.kill(machines.trains_on("vb", folder), signal.SIGKILL)
    for each in both:
        assert each.wait(100) != 0
    assert record(folder)["status"] == "interrupted", machines.said(folder)
    assert record(folder)["reason"].startswith("another process of the run was lost")
    assert "RuntimeError" not in machines.said(folder)  # torchrun's own traceback is not ours

    assert [each.wait(240) for each in machines.start(folder)] == [0, 0], machines.said(folder)
    assert record(folder)["hashes"] == record(whole)["hashes"]
