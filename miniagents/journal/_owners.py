"""Who holds a run, and whether that process is still there."""

import contextlib
import os
import platform
import uuid
from pathlib import Path


def this_owner() -> str:
    """Give a name for whoever opens a journal here: host, process, when that began, and a number of its own."""
    return f"{_host()} {os.getpid()} {_began(os.getpid())} {uuid.uuid4().hex[:12]}"


def is_gone(owner: str) -> bool:
    """Whether the process was on this machine and is there no more, so that nobody need wait for its lease to end."""
    there = _process_here(owner)
    # The number of a process that has ended is given to another one some day, which then began later.
    return there is not None and _began(there[0]) != there[1]


def is_at_work(owner: str) -> bool:
    """Whether it is another process of this machine that is there still, however long it gives no sign of life.

    One whose event loop is busy gives none. Of this very process it is the signs of life that count.
    """
    there = _process_here(owner)
    return there is not None and there[0] != os.getpid() and _began(there[0]) == there[1]


def _process_here(owner: str) -> tuple[int, str] | None:
    """Give the number of a process of this machine and when it began; None if nobody here can tell."""
    host, _, rest = owner.partition(" ")
    try:
        number, began, _ = rest.split(" ")
        process = int(number)
    except ValueError:
        return None
    return None if host != _host() or began == "?" else (process, began)


def _host() -> str:
    with contextlib.suppress(OSError):
        # After a restart, and in another container, the same number is another process.
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        return f"{platform.node().replace(' ', '-')}/{boot[:8]}/{namespace}"
    return platform.node().replace(" ", "-") or "unknown"


def _began(process: int) -> str:
    """Give when a process began; `?` where that cannot be told, empty if there is no such process."""
    if not Path("/proc/self/stat").exists():
        return "?"
    try:
        # The name of the program, in brackets, may hold anything.
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    # One that has ended and that nobody has asked for its exit code is there only in name.
    return "" if fields[0] in "ZX" else fields[19]
