"""Whether the kernel has killed processes of this job for want of memory."""

import contextlib
from pathlib import Path


def oom_kills() -> int:
    """How many processes of this job the kernel has killed because the job's memory limit was reached."""
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if controllers == "memory":  # version 1
            file = Path("/sys/fs/cgroup/memory", below, "memory.oom_control")
        elif not controllers:  # version 2
            file = Path("/sys/fs/cgroup", below, "memory.events")
        else:
            continue
        with contextlib.suppress(OSError):
            counts = dict(entry.split() for entry in file.read_text().splitlines())
            if "oom_kill" in counts:
                return int(counts["oom_kill"])
    return 0
