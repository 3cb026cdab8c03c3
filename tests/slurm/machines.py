"""Two machines, each a network namespace with a name of its own, which train by torchrun."""

import os
import signal
import subprocess
import sys
from pathlib import Path

TRAIN = ["-m", "vitlab", "train", "hardware=cpu", "trainer.strategy=ddp", "trainer.num_nodes=2"]


class Machines:
    """Two machines, va and vb, joined by a wire, which train by a recipe."""

    def __init__(self, place, recipe):
        self.place, self.recipe = place, recipe
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

    def start(self, folder):
        """Starts torchrun on both machines, as one would at each of them; returns both."""
        become = 'hostname "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"'
        meet = ["--rdzv-backend=c10d", "--rdzv-endpoint=va:29400", f"--rdzv-id={folder.name}"]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", *meet]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parent),
            "VITLAB_TARGETS": "slow",
        }
        train = [*TRAIN, *self.recipe, f"hydra.run.dir={folder}"]
        both = []
        for name, space in self.names.items():
            here = ["ip", "netns", "exec", space, "unshare", "--uts", "--mount", "bash", "-c", become, "-"]
            command = [*here, name, str(self.place / "hosts"), *torchrun, *train]
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
