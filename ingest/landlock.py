"""Landlock: the kernel's own word on which files a process may change, through its system calls (Linux 5.13).

See https://docs.kernel.org/userspace-api/landlock.html. What is once given up is never had back, by this process or
any that it starts.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
"""Of system calls that are this young, the numbers are the same on every architecture."""

_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_WRITE_FILE: Final = 1 << 1
_CHANGES: Final = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Writing, removing and making files of each kind: all that the first version knows."""
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
_TCP: Final = 0b11
"""To bind and to connect."""
_SCOPES: Final = 0b11
"""Abstract sockets and signals stay among processes of the same bounds."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def landlock_version() -> int:
    """The version that the kernel speaks; 0 when it has none, or when it is turned off."""
    found = _call(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(0, found)


def keep_writes_within(folder: Path) -> bool:
    """Let this process change files below `folder` only, and, where the kernel can, reach nobody outside.

    `False` when the kernel has no Landlock: nothing has changed then. It must have given up new privileges before.
    Raises `OSError` when it has, and refuses.
    """
    version = landlock_version()
    if not version:
        return False
    files = _CHANGES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rules = _Ruleset(files=files, network=_TCP if version >= 4 else 0, scoped=_SCOPES if version >= 6 else 0)
    size = ctypes.sizeof(_Ruleset) if version >= 6 else 16 if version >= 4 else 8
    ruleset = _checked(_call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0))
    try:
        _allow(ruleset, folder, files)
        _allow(ruleset, Path(os.devnull), files & (_WRITE_FILE | _TRUNCATE))
        _checked(_call(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, what: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(allowed=what, parent=parent)
        _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(parent)


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
