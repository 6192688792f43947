"""`muniment demo`: one question, asked by several people and assistants, and again after a policy has changed.

Everything in it is real: a data folder of its own, the three processes, the documents of fixtures/corpora, HTTP. It
fails when it does not show what it is there to show.
"""

import os
import re
import shutil
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.padding import Padding
from rich.text import Text

import app
from app.cli.apply import Institution, importing, lay_down, read_institution, submissions
from app.cli.client import Json, Server
from app.cli.console import Failed, out, plain, say, table, word
from app.cli.ingest import Fate, Submission, taken_in
from app.cli.local import opened
from app.cli.retrieve import label_words
from app.settings import TOML, Settings

FIXTURES = Path(app.__file__).parent.parent / "fixtures"
QUESTION = "Can we share this customer dataset with our partner for analysis?"
HELD_BACK = "policies/data-sharing-policy-v2.pdf"
POLICY = "policies/data-sharing"
BEFORE = "2024-06-15T12:00:00Z"
SHARING = "Can I share this customer dataset with our partner for analysis?"
ABROAD = {"purpose": "partner-analytics", "client": "member-4711", "destination": "US"}
ANALYST, OFFICER = "user:dev", "user:dagny"

_SHOWN = 2
_GRANTED_S = 5
"""How long the demo's grant lasts: long enough to ask, and short enough to wait for its end."""
_SHAPING = ("narrowed", "redacted", "warned", "escalated", "blocked")
_LONGEST_SENTENCE = 260
_WORD = re.compile(r"[a-z]{4,}")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n{2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: a person, perhaps through an assistant that proves or only asserts it, or an assistant alone."""

    who: str
    through: str | None = None
    proven: bool = False
    purpose: str | None = None


ASKERS = (
    Asker(who="user:mei"),
    Asker(who="user:ana", through="assistant:staff-helper", purpose="legal-review"),
    Asker(who="user:viktor", purpose="legal-review"),
    Asker(who="user:keisha", through="assistant:staff-helper", proven=True),
    Asker(who="user:ana", through="assistant:hr-bot"),
    Asker(who="assistant:staff-helper"),
    Asker(who="assistant:care-desk"),
    Asker(who="user:gareth", through="assistant:staff-helper"),
)
READER = ASKERS[0]


def demo(keep: Path | None) -> None:
    """Raises `Failed` if what it shows is not what is promised."""
    started = time.monotonic()
    if not (FIXTURES / "institution.yaml").exists():
        raise Failed("The demo needs the folder fixtures of the source: get the repository, and run make demo there.")
    institution = read_institution(FIXTURES / "institution.yaml")
    with _home(keep) as home, opened(Settings(home=home), worker=True, tells_key=keep is not None) as desk:
        administrator = desk.administrator()
        taken = _fill(administrator, institution)
        say(f"{taken} documents are in, after {time.monotonic() - started:.0f} s.")
        cast = _Cast(administrator, institution)
        _first_act(cast)
        _second_act(cast, administrator, institution)
        _third_act(cast, administrator, institution)
        cast.leave()
    seconds = time.monotonic() - started
    say(f"All of this ran on real parts, in {seconds:.0f} s: processes, database, model, index, policies and files.")
    if keep is not None:
        say(
            f"Its data is in {keep}: MUNIMENT_HOME={keep} muniment retrieve --as user:ana 'How long is parental leave?'"
        )
    say("Next: muniment serve, and http://127.0.0.1:8321/docs; or muniment ingest a folder of your own.")


def telling_sentence(text: str, question: str) -> str:
    """The whole sentence that shares most words with the question, by their beginnings; the first of equals."""
    asked = _stems(question)
    parts = [" ".join(part.split()) for part in _SENTENCES.split(text) if part.strip()]
    sentences = [part for part in parts if part.endswith((".", "!", "?")) and _stems(part)] or parts
    best = max(sentences, key=lambda each: len(asked & _stems(each)), default="")
    return textwrap.shorten(best, _LONGEST_SENTENCE, placeholder=" ...")


def _stems(text: str) -> set[str]:
    return {found[:5] for found in _WORD.findall(text.lower())}


class _Cast:
    """The askers, each with a key of its own, for as long as the demo runs."""

    def __init__(self, administrator: Server, institution: Institution) -> None:
        self._administrator = administrator
        self._names = {ref: body.get("display_name", ref) for ref, body in institution.principals.items()}
        self._keys: dict[str, Json] = {}

    def ask(self, asker: Asker, **more: str) -> Json:
        holder = asker.through or asker.who
        asserted = asker.who if asker.through and not asker.proven else None
        body = {"query": QUESTION, **({"purpose": asker.purpose} if asker.purpose else {}), **more}
        with self._administrator.with_key(self._key(holder), on_behalf_of=asserted) as server:
            return server.post("/v1/retrieve", body, subject_token=self._key(asker.who) if asker.proven else None)

    def being(self, ref: str) -> AbstractContextManager[Server]:
        return self._administrator.with_key(self._key(ref))

    def called(self, asker: Asker) -> str:
        through = ""
        if asker.through is not None:
            how = "proven by the person's own key" if asker.proven else "on the assistant's word"
            through = f", through {asker.through} ({how})"
        purpose = f"for {asker.purpose}" if asker.purpose else "stating no purpose"
        return f"{self.named(asker.who)}{through}, {purpose}"

    def named(self, ref: str) -> str:
        return f"{ref} ({self._names[ref]})"

    def leave(self) -> None:
        """Revoke the keys: a folder that is kept has none that nobody holds."""
        for ref, issued in self._keys.items():
            self._administrator.delete(f"{_keys_of(ref)}/{issued['id']}")

    def _key(self, ref: str) -> str:
        if ref not in self._keys:
            self._keys[ref] = self._administrator.post(_keys_of(ref))
        return str(self._keys[ref]["key"])


def _fill(administrator: Server, institution: Institution) -> int:
    say("An invented insurer, Tarnwick Mutual, lays down who works there and what may be seen:")
    for line in lay_down(administrator, institution):
        say(f"  {line}")
    all_but = submissions(institution, FIXTURES / "corpora", but=(HELD_BACK,))
    say(f"Its {len(all_but)} documents are parsed, labelled, cut, embedded and indexed ...")
    return _put_in(administrator, institution, all_but)


def _put_in(administrator: Server, institution: Institution, wanted: Sequence[Submission]) -> int:
    with importing(administrator, institution) as importer:
        fates: list[Fate] = taken_in(importer, wanted, waits=True)
    if bad := [fate for fate in fates if fate.bad]:
        raise Failed(f"{len(bad)} documents were not taken; the first is {bad[0].uri}: {bad[0].reason}")
    return len(fates)


def _first_act(cast: _Cast) -> None:
    say()
    say(f'"{QUESTION}"', style="bold")
    seen: set[tuple[str, ...]] = set()
    for number, asker in enumerate(ASKERS, start=1):
        answer = cast.ask(asker)
        say()
        say(f"{number}. {cast.called(asker)}", style="bold")
        _show(answer)
        seen.add((answer["outcome"], *sorted({passage["citation"]["uri"] for passage in answer["passages"]})))
    outcomes = {outcome for outcome, *_ in seen}
    if outcomes != {"answered", "empty", "blocked"} or sum(outcome == "answered" for outcome, *_ in seen) < 2:
        raise Failed(f"The demo should show answers that differ, an empty one and a blocked one; it had {outcomes}.")
    say()
    say(f"One question, {len(seen)} different outcomes; each is on record under its trace.")


def _second_act(cast: _Cast, administrator: Server, institution: Institution) -> None:
    say()
    say("Now version 2 of the data-sharing policy is published, in force since March 2025.", style="bold")
    held_back = [each for each in institution.documents if each.file == HELD_BACK]
    others = [each.file for each in institution.documents if each not in held_back]
    _put_in(administrator, institution, submissions(institution, FIXTURES / "corpora", but=others))
    for moment, more, version in (("now", {}, 2), (f"as of {BEFORE[:10]}", {"as_of": BEFORE}, 1)):
        answer = cast.ask(READER, **more)
        cited = [passage for passage in answer["passages"] if passage["citation"]["uri"] == POLICY]
        say()
        say(f"{READER.who} asks again, {moment}:", style="bold")
        for passage in cited[:1]:
            _show_passage(passage)
        if {passage["citation"]["version"] for passage in cited} != {version}:
            raise Failed(f"The demo should show version {version} of {POLICY} {moment}, and no other.")
    say()
    say(f"Version 2 answers now, and version 1 whenever {BEFORE[:10]} is asked about.")


def _third_act(cast: _Cast, administrator: Server, institution: Institution) -> None:
    """Refused, allowed by a person for a few seconds and under obligations, and refused again."""
    say()
    say("Now compliance answers for the purpose partner-analytics, and wants the client's consent.", style="bold")
    laid_down = {"owner": "group:compliance", "categories": [], "consent_required": True}
    purpose = institution.purposes["partner-analytics"]
    administrator.put("/v1/purposes/partner-analytics", {**purpose, **laid_down})
    with cast.being(ANALYST) as analyst, cast.being(OFFICER) as officer:
        say()
        about = f"about client {ABROAD['client']}, for {ABROAD['purpose']}, with the answer to be used in the US"
        say(f'{cast.named(ANALYST)} asks {about}: "{SHARING}"', style="bold")
        first = analyst.post("/v1/retrieve", {"query": SHARING, **ABROAD})
        _show(first)
        way = next((each for each in first["recourse"] if each["kind"] == "override"), None)
        if way is None:
            raise Failed("The demo should show a question that a person may allow.")
        made = analyst.post(way["href"], {**way["body"], "reason": "The analysis starts on Monday."})
        say(f"   An override is asked of {', '.join(made['routed_to'])}: {made['id']}.")
        end = time.time() + _GRANTED_S
        until = datetime.fromtimestamp(end, tz=UTC).isoformat(timespec="milliseconds")
        limits = {"until": until, "obligations": ["max-passages:2", "redact:pii"]}
        decision = {"decision": "approve", "reason": "The agreement covers it.", **limits}
        approved = officer.post(f"{made['href']}/decision", decision)
        say(f"   {cast.named(OFFICER)} approves for {_GRANTED_S} s,")
        say("   with two passages at the most and no personal data in them.")
        second = analyst.post(f"{made['href']}/ask-again")
        say()
        say(f"{ANALYST} asks again:", style="bold")
        _show(second)
        say(f"   Owed: {', '.join(each['id'] for each in second['obligations'])}")
        time.sleep(max(0.0, end - time.time()))
        third = analyst.post(f"{made['href']}/ask-again")
        [link] = analyst.get(f"/v1/traces/{third['trace_id']}")["links"]
    say()
    say(f"{_GRANTED_S} s later the grant is over, and the same question is {third['outcome']} again.", style="bold")
    outcomes = [each["outcome"] for each in (first, second, third)]
    if outcomes != ["escalated", "answered", "escalated"] or len(second["passages"]) > 2:
        raise Failed(f"The demo should show a question escalated, answered and escalated; it was {outcomes}.")
    wanted = {"escalation": made["id"], "state": "approved", "grant": approved["grant"], "first": first["trace_id"]}
    if link != {**wanted, "again": [second["trace_id"], third["trace_id"]]}:
        raise Failed("The demo should show traces that name each other.")
    say("The traces of all three name each other, the escalation and the grant.")


def _show(answer: Json) -> None:
    console = out()
    number = len(answer["passages"])
    rest = {"answered": f", with {number} passages", "empty": ": nothing that may be read here matches"}
    console.print(Text("   ").append_text(word(answer["outcome"])).append(rest.get(answer["outcome"], "")))
    documents = _of_different_documents(answer["passages"])
    for passage in documents[:_SHOWN]:
        _show_passage(passage)
    if others := [passage["citation"]["title"] for passage in documents[_SHOWN:]]:
        console.print(Padding(plain(f"and from: {'; '.join(others)}"), (0, 0, 0, 3)))
    rows = [(each["check"], word(each["outcome"]), each["reason"]) for each in answer["checks"]]
    shaping = [row for row in rows if row[1].plain in _SHAPING]
    console.print(Padding(table(("check", "outcome", "why"), shaping), (0, 0, 0, 3)))


def _show_passage(passage: Json) -> None:
    citation = passage["citation"]
    page = f", page {citation['page']}" if citation["page"] is not None else ""
    where = f"{citation['title']}, version {citation['version']}{page}"
    say(f"   [{passage['rank']}] {where}, {label_words(passage['label'])}")
    sentence = telling_sentence(passage["text"], QUESTION)
    out().print(Padding(plain(f'"{sentence}"'), (0, 0, 0, 7)))


def _of_different_documents(passages: Sequence[Json]) -> list[Json]:
    first: dict[str, Json] = {}
    for passage in passages:
        first.setdefault(passage["citation"]["document_id"], passage)
    return list(first.values())


def _keys_of(ref: str) -> str:
    kind, _, id = ref.partition(":")
    return f"/v1/principals/{kind}/{id}/keys"


@contextmanager
def _home(keep: Path | None) -> Iterator[Path]:
    """A data folder that is the demo's own, whatever is configured here; removed afterwards unless it is to be kept.

    The processes read the environment and muniment.toml, so the first is cleared of all but the model, and the
    working folder moved away from the second.
    """
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise Failed(f"{keep} is not empty. Choose a folder that is new.")
    embedding = Settings().embedding
    for name in [name for name in os.environ if name.upper().startswith("MUNIMENT_")]:
        del os.environ[name]
    if embedding.model is not None:
        model = Path(embedding.model)
        os.environ["MUNIMENT_EMBEDDING__MODEL"] = str(model.absolute()) if model.exists() else embedding.model
    home = Path(tempfile.mkdtemp(prefix="muniment-demo-")) if keep is None else keep.absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (home / TOML).exists():
        raise Failed(f"{home} has a {TOML}. Choose a folder that is new.")
    before = Path.cwd()
    os.chdir(home)
    try:
        yield home
    finally:
        os.chdir(before)
        if keep is None:
            shutil.rmtree(home, ignore_errors=True)
