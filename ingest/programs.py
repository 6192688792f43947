"""Programs of others that read what no library here does: found on the PATH, run within a reader's own limits.

They are started by the confined reader, in its process group and under its limits: no network, no file changed outside
of its folder, and killed with it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.domain.errors import Unparseable
from ingest.confinement import die_with_whoever_started_this

TESSERACT: Final = "tesseract"
LIBREOFFICE: Final = "soffice"
_KEPT_VARIABLES: Final = ("PATH", "HOME", "TMPDIR", "TESSDATA_PREFIX")
_SPARE_S: Final = 5.0
"""Left to a reader after its last program: to make of it what there is."""

_deadline_s: list[float] = []


def must_end_by(monotonic_s: float) -> None:
    """Say when the wall clock of this reader's process runs out."""
    _deadline_s[:] = [monotonic_s]


def time_left_s() -> float:
    """What programs may still take here."""
    return _deadline_s[0] - time.monotonic() - _SPARE_S if _deadline_s else float("inf")


def installed(name: str) -> str | None:
    """Where a program is; None when there is none by that name."""
    return shutil.which(name)


def places() -> frozenset[str]:
    """Where the programs are that a reader may start."""
    return frozenset(path for name in (TESSERACT, LIBREOFFICE) if (path := installed(name)) is not None)


def run(program: str, arguments: Sequence[str | Path], *, what: str) -> bool:
    """Whether a program did what it was told, in the time that is left. Raises `Unparseable` when that is over.

    It writes to files in the working directory. One that is not done is left to the end of this reader, which ends it.
    """
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environment.update(LANG="C.UTF-8", OMP_THREAD_LIMIT="1")
    started = subprocess.Popen(
        [program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        preexec_fn=die_with_whoever_started_this,
    )
    left_s = time_left_s()
    try:
        return started.wait(None if left_s == float("inf") else max(0.0, left_s)) == 0
    except subprocess.TimeoutExpired as error:
        raise Unparseable(f"{what} took too long on the document. Split it, or simplify it.") from error


def data_folder() -> str | None:
    """Where Tesseract was told that its languages are."""
    return os.environ.get("TESSDATA_PREFIX")
