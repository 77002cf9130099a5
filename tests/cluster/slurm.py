"""Starts Slurm on one machine, from Debian's packages slurm-wlm and munge, in a folder."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def is_installed() -> bool:
    """Whether Slurm is installed and this user may start it."""
    return os.geteuid() == 0 and all(shutil.which(command) for command in COMMANDS)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def one_machine_slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Run munged, slurmctld and slurmd; yield the environment in which `sbatch` finds them."""
    folder.mkdir(parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host,
            folder=folder,
            cpus=os.cpu_count(),
            controller_port=free_port(),
            node_port=free_port(),
        )
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    commands = [
        [*munge, f"--socket={folder}/munge.socket"],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-N", host, "-f", str(configuration)],
    ]
    daemons = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.log").open("w") as log:
                daemons.append(
                    subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
                )
            time.sleep(1)
        _wait_until_idle(environment, folder)
        yield environment
        _end_jobs(environment)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def _end_jobs(environment: dict[str, str]) -> None:
    """Wait for jobs that have written their results to end, which needs Slurm; else cancel them."""
    deadline = time.monotonic() + 60
    queued = ["squeue", "--noheader", "--states=all", "--format=%T"]
    while time.monotonic() < deadline:
        states = subprocess.run(queued, env=environment, capture_output=True, text=True).stdout
        if not {"PENDING", "RUNNING", "COMPLETING"} & set(states.split()):
            return
        time.sleep(0.5)
    subprocess.run(["scancel", "--user=root"], env=environment, check=True)


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True
        )
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log"))
    raise RuntimeError(f"Slurm did not start: {done.stdout}{done.stderr}\n{logs}")
