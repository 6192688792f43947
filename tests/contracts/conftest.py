"""Adapters are tried where nothing waits for a disk."""

from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(quick_path: Path) -> Path:
    return quick_path
