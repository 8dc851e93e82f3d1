"""Child processes on one machine: started so that none outlives its parent, stopped in order, leftovers ended."""

import ctypes
import logging
import os
import pwd
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import psutil

log = logging.getLogger("steps.processes")

_PR_SET_PDEATHSIG = 1


class Account(NamedTuple):
    """Operating system account that a server runs as."""

    uid: int
    gid: int


class RunAs(TypedDict, total=False):
    """Arguments of `subprocess` that start a program as an account."""

    user: int
    group: int
    extra_groups: list[int]


def ends_with_parent(ending: signal.Signals) -> Callable[[], None] | None:
    """Return what a child runs before it starts, so that the kernel sends it `ending` when its parent is gone.

    The kernel watches the thread that started the child, not the process, so only the main thread may ask for it.
    None where it cannot be had; leftovers are then ended by the next start.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(ending), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the kernel was asked to watch it
            os._exit(1)

    return arm


def stop(process: subprocess.Popen[bytes], *, steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each signal in turn and wait its seconds, until the process ends. Return whether the first one sufficed.

    The last step is always SIGKILL, which cannot be refused.
    """
    for position, (ending, seconds) in enumerate(steps):
        if process.poll() is not None:
            return position <= 1
        process.send_signal(ending)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return position == 0
    process.kill()
    process.wait()
    return False


def end_leftovers(*, program: str, folder: Path) -> int:
    """End processes named `program` whose working folder is `folder`, and return how many there were.

    The caller holds the lock of the folder, so whatever runs there lost its parent.
    """
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != program:
            continue
        try:
            if Path(process.cwd()) == folder:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # another account's process, or one that ended meanwhile
    for process in found:
        _signal(process, signal.SIGINT)
    _, alive = psutil.wait_procs(found, timeout=10)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=10)
    return len(found)


def _signal(process: psutil.Process, ending: signal.Signals) -> None:
    try:
        process.send_signal(ending)
    except psutil.NoSuchProcess:
        return


def account_for(folder: Path) -> Account | None:
    """Return the account that a server with its data in `folder` runs as; None means the current one.

    Root never runs a server: the owner of the data does or, for new data, `postgres` or `nobody`, so that
    no account has to be made on the machine.

    Raises:
        LookupError: root runs this on a machine with neither account.
    """
    if os.geteuid() != 0:
        return None
    if folder.exists() and (owner := folder.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise LookupError("no account named postgres or nobody")


def run_as(account: Account | None) -> RunAs:
    """Return the arguments of `subprocess` for the account; none for the current one."""
    return RunAs() if account is None else RunAs(user=account.uid, group=account.gid, extra_groups=[])


def owned_folder(folder: Path, account: Account | None) -> None:
    """Make `folder` with access for `account` alone (the current one for None)."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def let_through(account: Account, paths: Iterable[Path]) -> None:
    """Let `account` pass the folders above each path, and say which ones had to change.

    A checkout below /root would otherwise be out of the server's reach. Passing is all that is granted: the
    folders stay unreadable.
    """
    opened = []
    for path in paths:
        for folder in reversed(path.resolve().parents):
            if not _may(account, folder, stat.S_IXOTH):
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)
                opened.append(str(folder))
    if opened:
        log.warning("Other accounts may now pass (o+x), to reach the embedded servers' files: %s", ", ".join(opened))


def let_read(account: Account, tree: Path, *, probe: Path) -> None:
    """Let `account` read and run the files of `tree`, where a strict umask has made `probe` unreadable."""
    if _may(account, probe, stat.S_IROTH | stat.S_IXOTH):
        return
    for folder, _, files in os.walk(tree):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _may(account: Account, path: Path, others: int) -> bool:
    """Tell whether the account has the rights `others` (bits of the last octal digit) on the path."""
    status = path.stat()
    if status.st_uid == account.uid:
        wanted = others << 6
    elif status.st_gid == account.gid:
        wanted = others << 3
    else:
        wanted = others
    return status.st_mode & wanted == wanted
