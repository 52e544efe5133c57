"""A Slurm cluster of one node on this machine: files, ports and key of its own, no systemd."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

DAEMONS = f"{os.environ['PATH']}:/usr/sbin:/sbin"
SECONDS_TO_START = 60
SYSTEM = Path("/etc/slurm/slurm.conf")
"""Where commands inside jobs look: Snakemake's plugin takes SLURM_CONF out of their environment."""

# The node has a GPU in name only: what a job asks for is bookkeeping of Slurm's, and no job here uses one.
CONFIGURATION = """
ClusterName=brainalign
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
MinJobAge=86400
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


def free_ports(n: int) -> list[int]:
    """Ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def configure(folder: Path) -> Path:
    """Write configuration and key; return the configuration."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    controller_port, node_port = free_ports(2)
    text = CONFIGURATION.format(
        host=socket.gethostname().split(".")[0],
        user=psutil.Process().username(),
        folder=folder,
        controller_port=controller_port,
        node_port=node_port,
        cpus=os.cpu_count(),
        memory=psutil.virtual_memory().total // 2**20 - 256,
    )
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    return folder / "slurm.conf"


@contextmanager
def as_the_systems(configuration: Path):
    """Let the machine's configuration be this one meanwhile.

    Raises
    ------
    FileExistsError
        The machine has a Slurm of its own.
    """
    if SYSTEM.exists():
        raise FileExistsError(f"{SYSTEM} is there: this machine has a Slurm of its own; test on another one")
    sudo = ["sudo", "-n"] if os.geteuid() else []
    subprocess.run(
        [*sudo, "ln", "-sfn", str(configuration), str(SYSTEM)], check=True
    )  # a link to nothing goes
    try:
        yield
    finally:
        subprocess.run([*sudo, "rm", "-f", str(SYSTEM)], check=True)


@contextmanager
def daemon(command: list[str], folder: Path, environment: dict):
    """A daemon in the foreground that ends here, or with this process however that ends."""
    log = (folder / f"{command[0]}.log").open("w")
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command], env=environment, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@contextmanager
def one_node():
    """Start the cluster, and give the environment variables of processes that submit jobs to it."""
    folder = Path(tempfile.mkdtemp(prefix="brainalign-slurm-"))  # short: munge's socket must be
    folder.chmod(0o711)
    configuration = configure(folder)
    environment = os.environ | {"SLURM_CONF": str(configuration), "PATH": DAEMONS}
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munged += [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed")]
    munged += [f"--log-file={folder}/munge.log"]
    try:
        with ExitStack() as stack:
            stack.enter_context(as_the_systems(configuration))
            for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D"]):
                stack.enter_context(daemon(command, folder, environment))
                time.sleep(1)
            wait_until_idle(environment, folder)
            try:
                yield environment
            finally:
                end_jobs(environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_jobs(environment: dict) -> None:
    """Cancel what still runs, and wait for its end: the daemons must outlive their jobs."""
    user, end = psutil.Process().username(), time.monotonic() + SECONDS_TO_START
    subprocess.run(["scancel", "--user", user], env=environment, check=False, timeout=60)
    command = ["squeue", "--noheader", "--states=running,completing"]
    while time.monotonic() < end:
        if not subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout:
            return
        time.sleep(0.5)


def jobs(environment: dict) -> list[dict[str, str]]:
    """What the cluster knows about every job that it was given."""
    command = ["scontrol", "show", "jobs", "--oneliner"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return [
        dict(word.split("=", 1) for word in line.split() if "=" in word) for line in done.stdout.splitlines()
    ]


def wait_until_idle(environment: dict, folder: Path) -> None:
    """Return when the node takes jobs; otherwise raise with what the daemons said."""
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        state = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
        if "idle" in state.stdout:
            return
        time.sleep(0.5)
    said = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
    raise RuntimeError(f"no idle node after {SECONDS_TO_START} s, sinfo says {state.stdout!r}\n{said}")
