"""A real SLURM on this machine alone: munged, slurmctld and a slurmd for each virtual node, on the loopback,
below one temporary folder. Debian's build of SLURM takes several nodes on one machine.

As root each node has a host name of its own (n1, n2, ...) that resolves there, as on a cluster; without root
they share the machine's name. CPUs are what it is told, not what there is.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "ss", "unshare")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "iproute2")
PROGRAMS = f"{os.environ['PATH']}:/usr/sbin:/sbin"

CONFIG = """ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=5
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool.%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=1
SlurmdTimeout=10
KillWait=20
InactiveLimit=0
MinJobAge={min_job_age}
JobRequeue=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
{nodes}
{partitions}
{more}
"""
"""cred_expire: so many seconds a requeued job waits, 120 if not said. MinJobAge: so many seconds a job that
has ended is known."""

AN_HOUR = "MaxTime=60 DefaultTime=60 State=UP"

PARTITIONS = f"""PartitionName=batch Nodes=ALL Default=YES PriorityTier=1 GraceTime=30 {AN_HOUR}
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF {AN_HOUR}"""
"""batch is preempted by urgent, after 30 seconds of grace."""


def missing():
    """Returns the programs that are not here; Debian's packages are installed first where that may be."""

    def absent():
        return [name for name in NEEDED if shutil.which(name, path=PROGRAMS) is None]

    with (Path(tempfile.gettempdir()) / "vitlab-slurm.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests in several processes install once
        if absent() and os.geteuid() == 0 and shutil.which("apt-get"):
            # in runlevel 1 no package starts its daemon
            quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
            for command in (["apt-get", "update", "-qq"], install):
                subprocess.run(command, env=quiet, capture_output=True, timeout=240)
        return absent()


def free_ports(count):
    """Returns so many ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


PATIENCE = 4
"""A machine that is busy with others' work takes so many times as long."""


def wait_until(is_so, seconds, what):
    """Returns what `is_so` returns as soon as that is true; fails after so many seconds, and PATIENCE."""
    end = time.monotonic() + PATIENCE * seconds
    while not (found := is_so()):
        assert time.monotonic() < end, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.25)
    return found


ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED")
"""Where a job stays that nobody queues again."""


class Cluster:
    """A SLURM with nodes n1, n2, ... of so many CPUs each, between `start` and `stop`; `more` are lines of
    its slurm.conf."""

    def __init__(self, home, nodes=6, cpus=4, partitions=PARTITIONS, min_job_age=3600, more=""):
        self.home = home
        self.facts = {"home": home, "partitions": partitions, "min_job_age": min_job_age, "more": more}
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.cpus = cpus
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))
        } | {"PATH": PROGRAMS, "SLURM_CONF": str(home / "slurm.conf")}

    def ask(self, *command, check=True):
        """Returns what a command prints."""
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=280)
        assert ended.returncode == 0 or not check, f"{command}: {ended.stderr}"
        return ended.stdout

    def start(self):
        """Brings up all daemons, within a second or two."""
        self.home.mkdir(parents=True)
        self.home.chmod(0o755)
        (self.home / "state").mkdir()
        key = self.home / "munge.key"
        key.write_bytes(os.urandom(256))
        key.chmod(0o400)
        names = " ".join(self.nodes)
        (self.home / "hosts").write_text(f"{Path('/etc/hosts').read_text()}\n127.0.0.1 {names}\n")
        controller, *ports = free_ports(1 + len(self.nodes))
        host, user = socket.gethostname().partition(".")[0], self.ask("id", "-un").strip()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={self.cpus}"
            f" RealMemory={memory} State=UNKNOWN"
            for name, port in zip(self.nodes, ports, strict=True)
        )
        facts = self.facts | {"host": host, "user": user, "controller": controller, "nodes": nodes}
        (self.home / "slurm.conf").write_text(CONFIG.format(**facts))
        files = {"key-file": "key", "socket": "socket", "seed-file": "seed", "log-file": "log"}
        places = [f"--{option}={self.home}/munge.{end}" for option, end in files.items()]
        self.ask("munged", "--force", "--num-threads=2", *places, f"--pid-file={self.home}/munged.pid")
        self.ask("slurmctld")
        wait_until(lambda: "UP" in self.ask("scontrol", "ping", check=False), 30, "slurmctld")
        for name in self.nodes:
            self.begin_node(name)
        for name in self.nodes:
            self.until_idle(name)

    def begin_node(self, name):
        """Starts a node's daemon."""
        command = ["slurmd", "-N", name, "-c"]
        if os.geteuid() == 0:
            become = 'hostname "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"'
            hosts = str(self.home / "hosts")
            command = ["unshare", "--uts", "--mount", "bash", "-c", become, "-", name, hosts, *command]
        self.ask(*command)

    def resume_node(self, name):
        """Has a node that was taken down take jobs again, once what ran on it has ended."""
        command = ["scontrol", "update", f"nodename={name}", "state=resume"]

        def is_back():  # SLURM refuses where it has come back by itself, and while a job still ends there
            subprocess.run(command, env=self.environment, capture_output=True)
            return self.is_up(name)

        wait_until(is_back, 60, f"{name} back")

    def until_idle(self, name):
        """Waits until a node takes jobs."""
        wait_until(lambda: self.is_up(name), 30, lambda: self.ask("sinfo", "-N", "-l"))

    def is_up(self, name):
        """Tells whether a node takes jobs."""
        idle = ("sinfo", "-h", "-N", "-n", name, "-t", "idle,alloc,mix", "-o", "%N")
        return bool(self.ask(*idle).strip())

    def kill_node(self, name):
        """Ends a node with all that runs on it, at once: its daemon, its job steps, known by their sockets in
        the node's spool folder, and all below them."""
        file = self.home / f"{name}.pid"
        pids = {int(file.read_text())} if file.exists() else set()
        for line in self.ask("ss", "-xlpH").splitlines():
            if f"{self.home}/spool.{name}/" in line:
                pids |= {int(number) for number in re.findall(r"pid=(\d+)", line)}
        for pid in [each for top in pids for each in descendants(top)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        file.unlink(missing_ok=True)

    def stop(self):
        """Ends all jobs and daemons."""
        for name in self.nodes:
            self.kill_node(name)
        for daemon in ("slurmctld", "munged"):
            file = self.home / f"{daemon}.pid"
            if file.exists():
                os.kill(int(file.read_text()), signal.SIGKILL)
                file.unlink()

    def submit(self, script, *options):
        """Submits a script, requeued and with its output appended; returns the job's id."""
        usual = ["sbatch", "--parsable", "--requeue", "--open-mode=append", "--export=ALL"]
        return self.ask(*usual, *options, "--wrap", script).strip()

    def state(self, job):
        """Returns what SLURM says of a job: JobState, Restarts, ExitCode and so on."""
        told = self.ask("scontrol", "show", "job", job, check=False)
        return dict(re.findall(r"(\w+)=(\S*)", told))

    def wait(self, job, seconds, *states):
        """Waits until a job is in one of the states, such as COMPLETED; returns what SLURM says of it then.
        Fails as soon as it has come to another end."""

        def is_there():
            state = self.state(job)["JobState"]
            assert state in states or state not in ENDED, f"job {job}: {state}"
            return state in states

        wait_until(is_there, seconds, lambda: f"job {job}: {self.state(job)['JobState']}")
        return self.state(job)


def descendants(pid):
    """Yields the numbers of a process's descendants, and its own."""
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    for child in listed.split():
        yield from descendants(int(child))
    yield pid
