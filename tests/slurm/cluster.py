"""A real Slurm on this one machine: six nodes with two "T4" each, accounting, preemption. Needs root.

    python tests/slurm/cluster.py up | down | status

Debian's packages slurm-wlm, slurmdbd, munge and mariadb-server must be there. The daemons are real; the GPUs are empty
character devices, so jobs are given CUDA_VISIBLE_DEVICES as on a GPU node, and compute on the CPU.

Jobs find the configuration in /etc/slurm only (the Slurm plugin takes SLURM_CONF out of their environment), so a
machine that has a configuration of its own there is left alone.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil

CONFIGURATION = Path("/etc/slurm")
STATE = Path("/var/lib/loragrid-slurm")
MARK = "# Written by loragrid's tests/slurm/cluster.py for a cluster of tests on one machine."
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd")
CPUS, MEMORY_MB = 4, 12_000
# A node for each worker of pytest: tests on Slurm mostly wait, for the queue and for those who look at it now and then.
NODES = tuple(f"n{number}" for number in range(6))
GPUS = 2

SLURM = """{mark}
ClusterName=loragrid
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
SlurmctldPort=16817
SlurmdParameters=config_overrides
# Continuing jobs may start again at once instead of after two minutes.
AuthInfo=cred_expire=10
CommunicationParameters=block_null_hash
StateSaveLocation={state}/ctld
SlurmctldPidFile={state}/slurmctld.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdPidFile={state}/slurmd-%n.pid
SlurmdLogFile={state}/slurmd-%n.log
SlurmdSpoolDir={state}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobRequeue=1
KillWait=15
SlurmdTimeout=10
SlurmctldTimeout=10
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=500000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=DEFAULT CPUs={cpus} RealMemory={memory} Gres=gpu:t4:{gpus}
# By its feature a test keeps its jobs on one node.
{nodes}
# What people use; jobs of `urgent` send those of the others away, which are queued again or, in `cancelling`, lost.
PartitionName=gpu Nodes=ALL Default=YES MaxTime=120 PriorityTier=1 PreemptMode=REQUEUE GraceTime=40
PartitionName=cancelling Nodes=ALL MaxTime=120 PriorityTier=1 PreemptMode=CANCEL GraceTime=40
# Without a grace, which is Slurm's default, they have KillWait.
PartitionName=abrupt Nodes=ALL MaxTime=120 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=abrupt-cancelling Nodes=ALL MaxTime=120 PriorityTier=1 PreemptMode=CANCEL
PartitionName=urgent Nodes=ALL MaxTime=120 PriorityTier=10 PreemptMode=OFF
"""

SLURMDBD = """{mark}
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
PidFile={state}/slurmdbd.pid
LogFile={state}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=16306
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""


def why_not() -> str:
    """Why there can be no such cluster here; empty if there can."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root"
    if missing := [name for name in DAEMONS if not _program(name)]:
        return f"not installed: {', '.join(missing)} (apt-get install slurm-wlm slurmdbd munge mariadb-server)"
    file = CONFIGURATION / "slurm.conf"
    if file.exists() and MARK not in file.read_text():
        return f"{file} is not ours"
    return ""


def up() -> None:
    """Bring the cluster up and wait until its nodes are there; a node that was lost is started again.

    Raises:
        RuntimeError: it cannot be brought up; the message says why.
    """
    if reason := why_not():
        raise RuntimeError(reason)
    if _states():
        # It is up, and others may be using it.
        for node in NODES:
            if node not in map(_node_of, _pids("slurmd")):
                start_node(node)
        _wait("the nodes", _nodes_there)
        return
    down()
    STATE.mkdir(mode=0o755, parents=True)
    _configure()
    _start_munge()
    _start_database()
    _run("slurmdbd")
    _wait("slurmdbd", lambda: _listening(16819))
    # The cluster registers itself in the accounting; jobs need no accounts.
    start_controller()
    for node in NODES:
        start_node(node)
    _wait("the nodes", _nodes_there)


def down() -> None:
    """Stop every daemon of the cluster and remove what it wrote; a Slurm that is not ours is left alone."""
    file = CONFIGURATION / "slurm.conf"
    if file.exists() and MARK in file.read_text():
        subprocess.run(["scancel", "--state=PENDING,RUNNING"], capture_output=True, timeout=20, check=False)
    for name in ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged"):
        _stop(name)
    shutil.rmtree(STATE, ignore_errors=True)
    for name in ("slurm.conf", "slurmdbd.conf", "gres.conf"):
        file = CONFIGURATION / name
        if file.exists() and MARK in file.read_text():
            file.unlink()


def start_node(node: str) -> None:
    """Start the daemon of one node, e.g. after `kill_node`."""
    _run("slurmd", "-N", node)


def kill_slurmd(node: str) -> None:
    """Kill the daemon of one node; what runs on the node goes on."""
    for pid in _pids("slurmd"):
        if _node_of(pid) == node:
            os.kill(pid, signal.SIGKILL)


def stop_controller() -> None:
    """End slurmctld, which saves its state: after SIGKILL it forgets seconds, and gives the numbers of jobs twice."""
    _stop("slurmctld")


def start_controller() -> None:
    """Start slurmctld, e.g. after `stop_controller`, and wait until it answers."""
    _run("slurmctld")
    _wait("slurmctld", lambda: _ok("scontrol", "ping"))


def is_busy() -> bool:
    """Whether anything is in the queue."""
    return bool(subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout.strip())


def kill_node(node: str) -> None:
    """Let a node lose power: its daemon and everything that runs on it are gone at once."""
    lost = []
    for pid in _pids("slurmd", "slurmstepd"):
        if _node_of(pid) == node:
            with contextlib.suppress(psutil.NoSuchProcess):
                daemon = psutil.Process(pid)
                lost += [daemon, *daemon.children(recursive=True)]
    # Frozen first, connections open, then killed from the leaves: an srun that outlives the daemon of its step, or is
    # woken by a SIGHUP because its parent died before it, has Slurm end the step, which that tries again a minute
    # later, when the job may be running once more.
    for process in lost:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    for process in reversed(lost):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _configure() -> None:
    CONFIGURATION.mkdir(parents=True, exist_ok=True)
    for name in ("ctld", *(f"spool-{node}" for node in NODES)):
        (STATE / name).mkdir()
    fields = {
        "mark": MARK, "host": socket.gethostname().split(".")[0], "state": STATE, "cpus": CPUS, "memory": MEMORY_MB,
        "gpus": GPUS, "password": secrets.token_hex(16),
    }  # fmt: skip
    fields["nodes"] = "\n".join(
        f"NodeName={node} NodeHostname={fields['host']} NodeAddr=127.0.0.1 Port={17001 + number} Feature={node}"
        for number, node in enumerate(NODES)
    )
    (CONFIGURATION / "slurm.conf").write_text(SLURM.format(**fields))
    database = CONFIGURATION / "slurmdbd.conf"
    database.touch(mode=0o600)
    database.write_text(SLURMDBD.format(**fields))
    lines = [MARK, "AutoDetect=off"]
    for index in range(GPUS):
        # With plain files the node registers, but jobs are not told which GPUs they have.
        device = STATE / f"nvidia{index}"
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(195, index))
        lines.append(f"NodeName={','.join(NODES)} Name=gpu Type=t4 File={device} Flags=nvidia_gpu_env")
    (CONFIGURATION / "gres.conf").write_text("\n".join(lines) + "\n")
    (STATE / "password").touch(mode=0o600)
    (STATE / "password").write_text(fields["password"])


def _start_munge() -> None:
    if _ok("munge", "-n"):
        return  # somebody's
    run = Path("/run/munge")
    run.mkdir(mode=0o755, parents=True, exist_ok=True)
    shutil.chown(run, "munge", "munge")
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.touch(mode=0o400)
        key.write_bytes(secrets.token_bytes(128))
        shutil.chown(key, "munge", "munge")
    _run("runuser", "-u", "munge", "--", _program("munged"))
    (STATE / "munged").touch()
    _wait("munged", lambda: _ok("munge", "-n"))


def _start_database() -> None:
    data = STATE / "mysql"
    data.mkdir()
    shutil.chown(data, "mysql", "mysql")
    socket_file = data / "mysqld.sock"
    _run("mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db",
         "--auth-root-authentication-method=normal")  # fmt: skip
    log = (STATE / "mariadbd.log").open("w")
    subprocess.Popen(
        [_program("mariadbd"), "--no-defaults", "--user=mysql", f"--datadir={data}", f"--socket={socket_file}",
         f"--pid-file={data}/mariadbd.pid", "--bind-address=127.0.0.1", "--port=16306",
         "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"],
        stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    _wait("mariadbd", lambda: _ok("mariadb-admin", "--no-defaults", f"--socket={socket_file}", "ping"))
    password = (STATE / "password").read_text()
    _run("mariadb", "--no-defaults", f"--socket={socket_file}", input=(
        f"CREATE DATABASE slurm_acct_db; CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY '{password}'; "
        "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';"
    ))  # fmt: skip


def _run(program: str, *arguments: str, input: str | None = None) -> None:
    # Daemons keep what they inherit open, so their output goes to a file and not into a pipe that would never end.
    with (STATE / "commands.log").open("a") as log:
        done = subprocess.run(
            [_program(program), *arguments], input=input, stdin=None if input else subprocess.DEVNULL, text=True,
            stdout=log, stderr=log, timeout=60, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}:\n{(STATE / 'commands.log').read_text()[-2000:]}")


def _ok(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


def _wait(what: str, there) -> None:
    deadline = time.monotonic() + 60
    while not there():
        if time.monotonic() > deadline:
            logs = "".join(f"\n--- {log}\n{log.read_text()[-1500:]}" for log in STATE.glob("*.log"))
            raise RuntimeError(f"{what} did not come up within a minute{logs}")
        time.sleep(0.2)


def _listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _states() -> list[str]:
    """State of each node; empty where no controller answers."""
    if not (CONFIGURATION / "slurm.conf").exists():
        return []
    done = subprocess.run(["sinfo", "-h", "-N", "-p", "gpu", "-o", "%t"], capture_output=True, text=True, timeout=60,
                          env=os.environ | {"SLURM_CONF": str(CONFIGURATION / "slurm.conf")}, check=False)  # fmt: skip
    return done.stdout.split() if done.returncode == 0 else []


def _nodes_there() -> bool:
    states = _states()
    return len(states) == len(NODES) and not any(state.startswith(("down", "unk")) for state in states)


def _stop(name: str) -> None:
    pids = [pid for pid in _pids(name, "slurmstepd" if name == "slurmd" else name) if _is_ours(pid, name)]
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while any(Path(f"/proc/{pid}/exe").exists() for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.1)


def _is_ours(pid: int, name: str) -> bool:
    """Whether a daemon is this cluster's: a workstation may have some of its own."""
    if name == "munged":
        return (STATE / "munged").exists()
    if name == "mariadbd":
        return str(STATE) in " ".join(_command_line(pid))
    return any(place.is_relative_to(STATE) for place in _open_files(pid))  # its log


def _pids(*names: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "comm").read_text().strip() in names:
                found.append(int(place.name))
    return found


def _command_line(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    return [""]


def _open_files(pid: int) -> list[Path]:
    found = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(link.readlink())
    return found


def _node_of(pid: int) -> str:
    """The node that a daemon, or the daemon of a step, belongs to, by its log file."""
    for file in _open_files(pid):
        if file.name.startswith("slurmd-") and file.suffix == ".log":
            return file.stem.removeprefix("slurmd-")
    return ""


def _program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def main() -> int:
    """Carry out one command."""
    if sys.argv[1:] == ["up"]:
        try:
            up()
        except RuntimeError as error:
            print(f"cannot bring up Slurm: {error}", file=sys.stderr)
            return 1
        print(f"Slurm is up: {', '.join(NODES)} with {GPUS} T4 each; state and logs in {STATE}")
    elif sys.argv[1:] == ["down"]:
        down()
    elif sys.argv[1:] == ["status"]:
        print("\n".join(_states()) or "down")
    else:
        print(__doc__.split("\n\n")[1].strip(), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
