"""The command line as it is typed: a process of its own, with nothing configured but what a test says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

MUNIMENT = Path(sys.executable).with_name("muniment")
_PATIENCE_S = 300.0


def environment(**stated: str) -> dict[str, str]:
    """This process's, without any setting of Muniment's, and with a width that keeps sentences on their line."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("MUNIMENT_")}
    return {**inherited, "COLUMNS": "300", "NO_COLOR": "1", **stated}


def muniment(*arguments: str | Path, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """What a command printed and how it ended; `folder` is where it is typed."""
    return subprocess.run(
        [MUNIMENT, *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )


def begun(*arguments: str | Path, folder: Path, **settings: str) -> subprocess.Popen[str]:
    """A command that goes on, and that Ctrl-C reaches although it has no terminal."""
    return subprocess.Popen(
        [MUNIMENT, *arguments],
        cwd=folder,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
