"""One machine's processes: together they start, crashes are mended, and however they end nobody is left behind."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.conftest import OWNER, READER
from tests.e2e.processes import Muniment, eventually, muniment, suspended

GONE_WITHIN_S = 10.0
INDEX_BACKLOG = 64
"""Connections that wait on a stuck index process; the next one is not even taken."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_signal_stops_every_process_and_lets_go_of_every_lock(tmp_path: Path, number: signal.Signals) -> None:
    with muniment(tmp_path) as served:
        served.start()
        served.wait_until_ready()
        assert len(served.alive()) >= 4
        assert served.held_locks()
        assert served.stop(number) == 0
        assert served.alive() == []
        assert served.held_locks() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_supervisor_that_ends_while_its_children_start_leaves_none(tmp_path: Path, number: signal.Signals) -> None:
    with muniment(tmp_path) as served:
        served.start()
        eventually(lambda: served.process("API"), "the last child started")
        assert served.stop(number) == (-number if number is signal.SIGKILL else 0)
        eventually(lambda: not served.alive(), f"nobody left: {served.alive()}", within_s=GONE_WITHIN_S)
        assert served.held_locks() == []


def test_killed_supervisor_leaves_no_child_and_no_lock_and_the_next_one_serves(tmp_path: Path) -> None:
    with muniment(tmp_path) as served:
        served.start()
        served.wait_until_ready()
        served.stop(signal.SIGKILL)
        eventually(lambda: not served.alive(), f"nobody left: {served.alive()}", within_s=GONE_WITHIN_S)
        assert served.held_locks() == []
        served.start()
        served.wait_until_ready()
        served.stop(signal.SIGKILL)
        served.start()  # at once: the children of the one before are still ending
        served.wait_until_ready()
        assert served.stop() == 0
        assert served.alive() == []


def test_second_supervisor_on_a_data_folder_is_refused(served: Muniment) -> None:
    second = served.launch("tests.e2e.serving", str(served.port + 1), str(served.liveness))
    assert second.wait(60) == 3
    assert served.is_ready()


def test_second_worker_of_a_name_is_refused_and_the_first_goes_on(served: Muniment) -> None:
    eventually(lambda: served.home.joinpath("run/worker-1.lock") in served.held_locks(), "the worker up")
    first = served.process("worker")
    second = served.launch_worker("worker-1")
    assert second.wait(60) == 1
    assert "worker-1 is running on this data folder" in served.log()
    assert served.process("worker") == first
    served.publish(OWNER, "papers", "# Still at work\n\nThe first worker reads this.", uri="first/worker")


@pytest.mark.parametrize("role", ["index", "worker", "API"])
def test_crash_of_a_child_is_mended(served: Muniment, role: str) -> None:
    before = eventually(lambda: served.process(role), f"the {role} up")
    served.kill(role)
    eventually(lambda: served.process(role) not in (None, before), f"another {role}")
    served.wait_until_ready()
    text = f"# Crash of the {role}\n\nIt was mended before anybody noticed zwmended{role}zw."
    served.publish(OWNER, "papers", text, uri=f"crash/{role}")
    answer = served.retrieve(READER, f"zwmended{role}zw")
    assert answer["passages"][0]["citation"]["uri"] == f"crash/{role}"


def test_child_that_cannot_be_started_now_is_started_when_it_can(served: Muniment) -> None:
    assert served.supervisor is not None
    supervisor = psutil.Process(served.supervisor.pid)
    before = supervisor.rlimit(psutil.RLIMIT_NOFILE)
    try:
        supervisor.rlimit(psutil.RLIMIT_NOFILE, (3, before[1]))  # what it has open stays; it can open no more
        served.kill("worker")
        eventually(lambda: "the worker cannot be started now" in served.log(), "the supervisor says so")
        assert served.process("worker") is None
        assert served.is_ready()
    finally:
        supervisor.rlimit(psutil.RLIMIT_NOFILE, before)
    eventually(lambda: served.process("worker"), "the worker started")
    served.publish(OWNER, "papers", "# Late\n\nRead by the worker that came late.", uri="late/worker")


def test_question_while_the_index_is_stuck_is_unavailable_and_is_answered_afterwards(served: Muniment) -> None:
    served.publish(OWNER, "papers", "# Otters\n\nOtters are insured as zwotterzw.", uri="otters")
    question = {"query": "zwotterzw", "mode": "lexical"}
    started = time.monotonic()
    with suspended(served.process("index")):
        with ThreadPoolExecutor(40) as pool:
            asked = [
                pool.submit(served.request, "POST", "/v1/retrieve", READER, json=question)
                for _ in range(INDEX_BACKLOG + 30)
            ]
        answers = [each.result() for each in asked]
        ready = httpx.get(f"{served.url}/readyz", timeout=30)
        alive = httpx.get(f"{served.url}/healthz", timeout=30)
    assert time.monotonic() - started < 60
    assert {(each.status_code, each.headers["content-type"]) for each in answers} == {(503, "application/problem+json")}
    assert {each.headers["retry-after"] for each in answers} == {"5"}
    assert {each.json()["type"] for each in answers} == {"/problems/unavailable"}
    assert ready.status_code == 503
    assert ready.json()["parts"]["index"] != "ready"
    assert alive.status_code == 200
    served.wait_until_ready()
    answer = served.retrieve(READER, **question)
    assert [each["citation"]["uri"] for each in answer["passages"]] == ["otters"]
