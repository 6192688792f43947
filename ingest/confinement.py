"""What a process that reads a stranger's file may not do: limits of the kernel first, a guard in Python on top.

Linux only. The functions change the calling process for good, and are meant for the sandbox's processes alone.
"""

import ctypes
import os
import resource
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.landlock import keep_writes_within

_CLONE_NEWNS: Final = 0x20000
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWPID: Final = 0x20000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file may cost."""

    wall_s: float = 120.0
    cpu_s: int = 150
    """Above the wall clock's share of one core: it is for what the wall clock's kill would miss."""
    memory_bytes: int = 2_000_000_000
    """Of address space, what the warm process maps included."""
    written_bytes: int = 64_000_000
    """The largest file that may be written."""
    open_files: int = 256


def leave_network() -> bool:
    """Move this process, and all it forks later, to a network namespace with nothing in it, not even loopback.

    `True` when the kernel allowed it. Must be called while the process has one thread.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        _map_to_itself(uid, gid)
        return True
    return bool(libc.unshare(_CLONE_NEWNET) == 0)


def _map_to_itself(uid: int, gid: int) -> None:
    """In a new user namespace, be who one was: files made by an unmapped user are refused by the kernel."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError:
            return


def own_temporary_folder(folder: Path) -> Path:
    """Let `folder` be what this process, and all it forks later, sees as /tmp; returns the path it has from now on.

    LibreOffice makes a socket in /tmp whatever it is told. Where the kernel does not allow it, all stays as it is.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        return folder
    if libc.mount(os.fsencode(folder), b"/tmp", None, _MS_BIND, None) != 0:
        return folder
    return Path("/tmp")  # noqa: S108 (it is this process's own now)


def own_processes() -> bool:
    """Let the next process that this one starts be the first of a world of its own, that ends with it, all of it.

    LibreOffice leaves the process group that a reader is killed by. `False` where the kernel does not allow it.
    """
    return bool(ctypes.CDLL(None).unshare(_CLONE_NEWPID) == 0)


def die_with_whoever_started_this() -> None:
    """Have the kernel kill this process when its parent ends. For a child that is about to become another program."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def no_new_privileges() -> None:
    """No program started from here gains rights through its file's mode bits."""
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, and end now if that has happened already."""
    die_with_whoever_started_this()
    if os.getppid() != parent_pid:
        os._exit(1)


def confine(limits: Limits, folder: Path, *, programs: frozenset[str] = frozenset()) -> None:
    """Apply the limits and the guards; `folder` becomes the working, home and temporary directory.

    Of other programs, those at the paths in `programs` may be started, and are bound by the same.
    """
    os.chdir(folder)
    os.environ.update(HOME=str(folder), TMPDIR=str(folder))
    tempfile.tempdir = str(folder)
    for which, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 2),
        (resource.RLIMIT_FSIZE, limits.written_bytes, limits.written_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
    ):
        most = resource.getrlimit(which)[1]
        ceiling = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(which, (min(soft, ceiling), ceiling))
    no_new_privileges()
    keep_writes_within(folder)
    guard(folder, programs)


_FORBIDDEN: Final = (
    *("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "subprocess.", "pty.", "webbrowser."),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.killpg"),
)
_CHANGES_FILES: Final = frozenset(
    f"os.{verb}"
    for verb in ("remove", "rename", "rmdir", "mkdir", "link", "symlink", "truncate", "chmod", "chown", "utime")
)
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def guard(folder: Path, programs: frozenset[str] = frozenset()) -> None:
    """Refuse sockets, other programs, and changes to files outside of `folder`, from Python code, for good.

    It stops a library that means well (telemetry, a download, a picture's URL). Against code run by an exploit there
    are the kernel's limits, and its guard of files where it has one.
    """
    inside = f"{folder.resolve()}{os.sep}"

    def allowed_path(path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return isinstance(path, int)
        full = os.path.realpath(os.fsdecode(path))
        return f"{full}{os.sep}".startswith(inside) or full == os.devnull

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == "subprocess.Popen" and arguments[0] in programs:
            return
        if event.startswith(_FORBIDDEN):
            raise PermissionError(f"{event} is not allowed while a document is read")
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if (writes or event in _CHANGES_FILES) and not allowed_path(arguments[0]):
            raise PermissionError("no file is changed outside of its own folder while a document is read")

    sys.addaudithook(refuse)
