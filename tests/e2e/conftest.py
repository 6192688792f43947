"""Muniment served by real processes, for the tests of one file: whoever hurts it leaves it ready again."""

from collections.abc import Iterator

import pytest

from tests.e2e.processes import Muniment, muniment

OWNER = "user:owner"
READER = "user:reader"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muniment]:
    """With a collection `papers`, its owner, and a reader who is staff."""
    with muniment(tmp_path_factory.mktemp("served")) as started:
        started.start()
        started.wait_until_ready()
        lay_down(started)
        yield started
        assert started.stop() == 0
        assert started.alive() == []
        assert started.held_locks() == []


def lay_down(served: Muniment) -> None:
    served.put_principal("group:owners")
    within = {"clearance": "restricted", "categories": ["pii", "phi"], "jurisdictions": ["EU", "US"]}
    served.put_principal(OWNER, groups=["group:owners"], **within)
    served.put_principal(READER)
    served.admin(
        "PUT",
        "/v1/collections/papers",
        {
            "title": "Papers",
            "owners": ["group:owners"],
            "default_readers": ["group:all-staff"],
            "default_label": {"level": "internal"},
        },
    )
