"""`muniment ingest`: candidates to documents, several at once, and what became of each."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.client import Document, Json, Refused, Server
from app.cli.connect import remote
from app.cli.console import Failed, err, note, out, say, say_json, table
from app.cli.gather import Candidate, Unfit, gather
from app.domain.access import PrincipalRef
from app.settings import Settings

AT_ONCE = 4
_WHOLE_COMMAND = (401, 403, 404)
"""Refusals that are of the key or the collection, and so of every document."""

State = Literal["refused", "accepted", "published", "unchanged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A document to be, with what is read only when its turn comes."""

    uri: str
    collection: str
    document: Callable[[], Document]
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a submission."""

    uri: str
    state: State
    reason: str | None = None
    kind: str | None = None
    """Of the problem, such as `needs-ocr`."""
    job: str | None = None
    document: str | None = None
    version: int | None = None
    remarks: tuple[tuple[str, str], ...] = ()
    """Findings: code and sentence."""

    @property
    def bad(self) -> bool:
        return self.state in ("refused", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of the command."""

    targets: Sequence[str]
    collection: str
    metadata: Mapping[str, Any]
    person: PrincipalRef | None
    wait: bool
    as_json: bool


class Intake:
    """Submissions on their way, and the fate of each so far: an interrupted command can still tell."""

    def __init__(self, server: Server, submissions: Sequence[Submission]) -> None:
        self._server, self._submissions = server, submissions
        self._fates: dict[int, Fate] = {}
        self._with_it: list[Fate] = []
        self._stopped = threading.Event()

    @property
    def fates(self) -> list[Fate]:
        """In the order of the submissions; of those that were not reached, none. Then what came with them."""
        return [*(self._fates[n] for n in sorted(self._fates)), *self._with_it]

    def submit(self, steps: "Steps") -> None:
        """Send all, several at once; those of one uri one after the other, which is the order of their versions."""
        lines: dict[tuple[str, str], list[int]] = {}
        for n, each in enumerate(self._submissions):
            lines.setdefault((each.collection, each.uri), []).append(n)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="submit") as pool:
            try:
                for future in as_completed([pool.submit(self._send, line, steps) for line in lines.values()]):
                    future.result()
            except BaseException:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                raise

    def follow(self, steps: "Steps") -> None:
        """Wait until every accepted job is over."""
        waiting = {fate.job: n for n, fate in self._fates.items() if fate.state == "accepted" and fate.job}
        for job in self._server.ended({id: self._submissions[n].on_behalf_of for id, n in waiting.items()}):
            n = waiting[job["id"]]
            self._fates[n] = _ended(self._fates[n], job)
            steps.done()
            self._with_it += self._attached(self._fates[n], job, self._submissions[n].on_behalf_of)

    def _attached(self, mail: Fate, job: Json, on_behalf_of: str | None) -> Iterator[Fate]:
        """What became of the attachments of a mail, and of theirs: jobs of their own, that it started."""
        ids: list[str] = (job["result"] or {}).get("attachments", [])
        for ended in self._server.ended(dict.fromkeys(ids, on_behalf_of)):
            fate = _ended(Fate(uri=f"{mail.uri}#attachments/{ids.index(ended['id']) + 1}", state="accepted"), ended)
            yield fate
            yield from self._attached(fate, ended, on_behalf_of)

    def _send(self, line: Sequence[int], steps: "Steps") -> None:
        refused = False
        for n in line:
            if self._stopped.is_set():
                return
            self._fates[n] = _unsent(self._submissions[n]) if refused else self._sent(self._submissions[n])
            refused = self._fates[n].bad
            steps.submitted(over=self._fates[n].state != "accepted")

    def _sent(self, submission: Submission) -> Fate:
        try:
            document = submission.document()
            answer = self._server.submit(submission.collection, document, on_behalf_of=submission.on_behalf_of)
        except Unfit as error:
            return Fate(uri=submission.uri, state="refused", reason=str(error))
        except Refused as error:
            if error.status in _WHOLE_COMMAND:
                raise
            return Fate(uri=submission.uri, state="refused", reason=str(error), kind=error.kind)
        job = answer["job"]
        return Fate(
            uri=submission.uri,
            state="unchanged" if answer["state"] == "unchanged" else "accepted",
            job=job["id"] if job else None,
            document=answer["document"]["id"],
            version=answer["version"]["id"],
        )


class Steps:
    """A bar for what was submitted and one for what is done, where there is a terminal to show them on."""

    def __init__(self, total: int, *, follows: bool) -> None:
        console = err()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._submitted = self.bars.add_task("submitted", total=total)
        self._done = self.bars.add_task("done", total=total) if follows else None

    def submitted(self, *, over: bool) -> None:
        self.bars.advance(self._submitted)
        if over:
            self.done()

    def done(self) -> None:
        if self._done is not None:
            self.bars.advance(self._done)


def ingest(settings: Settings, wanted: Wanted) -> bool:
    """Take in what was given and tell what became of it; whether all of it is well."""
    candidates = gather(wanted.targets)
    if not candidates:
        raise Failed("There is nothing to take in: no file that is not hidden.")
    with curating(settings, wanted.collection, wanted.person) as server:
        submissions = [_submission(wanted, candidate) for candidate in candidates]
        waits = wanted.wait or not settings.url
        started = time.monotonic()
        fates = taken_in(server, submissions, waits=waits, interrupted=_interrupted(settings))
    if wanted.as_json:
        say_json(_account(fates))
    else:
        _tell(fates, wanted.collection, seconds=time.monotonic() - started, waited=waits)
    return not any(fate.bad for fate in fates)


def taken_in(
    server: Server, submissions: Sequence[Submission], *, waits: bool, interrupted: str | None = None
) -> list[Fate]:
    """The fate of every submission, in order; after Ctrl-C, raises `Failed` with how many were accepted."""
    intake = Intake(server, submissions)
    steps = Steps(len(submissions), follows=waits)
    try:
        with steps.bars:
            intake.submit(steps)
            if waits:
                intake.follow(steps)
    except KeyboardInterrupt:
        accepted = sum(not fate.bad for fate in intake.fates)
        raise Failed(
            f"Interrupted: {accepted} of {len(submissions)} were accepted. {interrupted or ''}".strip()
        ) from None
    return intake.fates


@contextmanager
def curating(
    settings: Settings,
    collection: str,
    person: PrincipalRef | None,
    *,
    fetching: Sequence[str] = (),
    founding: bool = True,
) -> Iterator[Server]:
    """The server, to whoever is to own the documents; on the data folder, with leave to fetch from `fetching` and, if
    `founding`, with a collection that is new where there was none."""
    if settings.url:
        with remote(settings, person) as server:
            yield server
        return
    from app.cli.local import OPERATOR, opened

    with opened(settings, worker=True, fetching=fetching) as desk:
        if person is not None:
            yield desk.acting_for(person)
            return
        server = desk.operator()
        if founding and not desk.has_collection(collection):
            label = {"level": "internal", "categories": []}
            body = {"title": collection, "owners": [OPERATOR], "default_label": label}
            desk.administrator().put(f"/v1/collections/{collection}", body)
            note(f"Created the collection {collection}, owned by {OPERATOR}.")
        try:
            yield server
        except Refused as refusal:
            if refusal.status not in _WHOLE_COMMAND:
                raise
            raise Failed(f"{refusal} Or say --as with one of its owners.") from None


def _submission(wanted: Wanted, candidate: Candidate) -> Submission:
    return Submission(
        uri=candidate.uri, collection=wanted.collection, document=lambda: candidate.document(wanted.metadata)
    )


def _unsent(submission: Submission) -> Fate:
    return Fate(uri=submission.uri, state="refused", reason="An earlier version was refused, so it was not sent.")


def _ended(fate: Fate, job: Json) -> Fate:
    result, problem = job["result"], job["problem"]
    if job["state"] != "succeeded" or result is None:
        if not problem:
            return replace(fate, state="failed", reason=f"Its job was {job['state']}.")
        kind = problem["type"].rpartition("/")[2]
        return replace(fate, state="failed", reason=problem["detail"], kind=kind)
    return replace(
        fate,
        state="unchanged" if result["unchanged"] else "published",
        version=result["version"],
        remarks=tuple((each["code"], each["detail"]) for each in result["findings"]),
    )


def _interrupted(settings: Settings) -> str:
    return (
        "They go on in the background."
        if settings.url
        else "What was not finished goes on when this data folder is next served or ingested into."
    )


def _account(fates: Sequence[Fate]) -> Json:
    return {
        "counts": _counts(fates),
        "documents": [
            {
                "uri": fate.uri,
                "state": fate.state,
                "reason": fate.reason,
                "kind": fate.kind,
                "job_id": fate.job,
                "document_id": fate.document,
                "version": fate.version,
                "findings": [{"code": code, "detail": detail} for code, detail in fate.remarks],
            }
            for fate in fates
        ],
    }


def _counts(fates: Sequence[Fate]) -> dict[str, int]:
    states = [fate.state for fate in fates]
    return {state: states.count(state) for state in sorted(set(states))}


def _tell(fates: Sequence[Fate], collection: str, *, seconds: float, waited: bool) -> None:
    counts = ", ".join(f"{number} {state}" for state, number in _counts(fates).items())
    going_on = "" if waited or not any(fate.state == "accepted" for fate in fates) else " They go on in the background."
    say(f"{len(fates)} into {collection}: {counts}, in {seconds:.1f} s.{going_on}")
    if bad := [(fate.uri, fate.kind or "", fate.reason or "") for fate in fates if fate.bad]:
        say()
        out().print(table(("not taken", "what", "why"), bad))
    if remarks := [(fate.uri, code, detail) for fate in fates for code, detail in fate.remarks]:
        say()
        out().print(table(("taken", "what", "but"), remarks))
