"""The command line `muniment`: what can be typed. What is done stands in `app.cli`, imported when it is needed."""

import os
import re
import signal
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.console import Failed
from app.domain.errors import MunimentError
from app.domain.labels import Level

if TYPE_CHECKING:
    from app.domain.access import PrincipalRef

app = typer.Typer(
    name="muniment",
    help="One governed memory for all of an institution's AI assistants.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_NAME = r"[A-Za-z0-9][A-Za-z0-9._@+-]*"

sources = typer.Typer(
    help="Places that documents are fetched from: folders, repositories, buckets, sites, mailboxes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(sources, name="source")

policies = typer.Typer(
    help="Policies as code: checked, held against tables, drafted, put in force, brought back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(policies, name="policy")


class StateWord(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ModeWord(StrEnum):
    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


def _matching(form: str, says: str) -> Any:
    """A check of an option's form, for typer: what does not match is a usage error."""

    def check(values: Any) -> Any:
        for value in [values] if isinstance(values, str) else values or []:
            if not re.fullmatch(form, value):
                raise typer.BadParameter(says)
        return values

    return check


def _label(value: str | None) -> str | None:
    if value is None:
        return None
    level, _, categories = value.partition(":")
    named = categories.split(",") if categories else []
    if level not in [each.word for each in Level] or not all(re.fullmatch(_NAME, each) for each in named):
        levels = ", ".join(each.word for each in Level)
        raise typer.BadParameter(f"Write a level ({levels}), or a level and categories: confidential:pii,phi.")
    return value


Person = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="user:ID",
        help="For whom; on the console's word, or the assistant's whose key is sent.",
        callback=_matching(f"user:{_NAME}", "Name a person: user:ID."),
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8321,
) -> None:
    """Run API, worker and index on this machine, until Ctrl-C."""
    from app.cli.connect import load_settings
    from app.cli.serve import serve

    serve(load_settings(), host, port)


@app.command()
def initialise() -> None:
    """Make database and data folder ready, for parts that are started one by one."""
    from app.cli.connect import load_settings
    from app.cli.serve import initialise

    initialise(load_settings())


@app.command()
def worker(
    name: Annotated[
        str, typer.Option(help="Its own, and the same at each start.", callback=_matching(_NAME, "A plain name."))
    ] = "worker-1",
) -> None:
    """Run one more ingest worker, beside a server's."""
    from app.cli.connect import load_settings
    from app.cli.worker import worker

    worker(load_settings(), name)


@app.command()
def ingest(
    targets: Annotated[list[str], typer.Argument(metavar="PATH|URL...", help="Files, folders, addresses of pages.")],
    collection: Annotated[str, typer.Option(callback=_matching(_NAME, "A plain name."))],
    label: Annotated[
        str | None,
        typer.Option(metavar="LEVEL[:CATEGORY,...]", help="As in confidential:pii.", callback=_label),
    ] = None,
    readers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="P,...",
            help="Who may read: group:legal,user:ana. Without it, as the collection has it.",
            callback=_matching(
                rf"(user|group|assistant):{_NAME}(,(user|group|assistant):{_NAME})*",
                "Name principals: user:ID, group:ID or assistant:ID, with commas between.",
            ),
        ),
    ] = None,
    person: Person = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until all is published. Without a server: always.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put documents into a collection. A folder's documents are named by their path in it."""
    from app.cli.connect import load_settings
    from app.cli.ingest import Wanted, ingest

    if (well := _fetched(targets, collection, label or readers, person, as_json=as_json)) is not None:
        _end_well(well)
        return
    metadata: dict[str, Any] = {}
    if label is not None:
        level, _, categories = label.partition(":")
        metadata["label"] = {"level": level, "categories": categories.split(",") if categories else []}
    if readers:
        metadata["readers"] = ",".join(readers).split(",")
    wanted = Wanted(
        targets=targets, collection=collection, metadata=metadata, person=_ref(person), wait=wait, as_json=as_json
    )
    _end_well(ingest(load_settings(), wanted))


jobs = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(jobs, name="jobs")
JobIds = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="As the list shows them.", show_default=False)
]


@jobs.callback()
def _jobs(
    context: typer.Context,
    failed: Annotated[bool, typer.Option("--failed", help="Those alone that were given up.")] = False,
    state: Annotated[StateWord | None, typer.Option(help="Those alone that are in this state.")] = None,
    collection: Annotated[str | None, typer.Option(callback=_matching(_NAME, "A plain name."))] = None,
    most: Annotated[int, typer.Option(min=1, help="How many to show.")] = 50,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """List what was taken for reading. How far it is, what was not read, why, and what to do."""
    if context.invoked_subcommand is not None:
        return
    if failed and state not in (None, StateWord.FAILED):
        raise typer.BadParameter("--failed and another --state exclude each other.")
    from app.cli.connect import load_settings
    from app.cli.jobs import show

    wanted = "failed" if failed else state.value if state else None
    show(load_settings(), _ref(person), collection=collection, state=wanted, most=most, as_json=as_json)


@jobs.command("retry")
def _retry(
    ids: JobIds = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Try jobs again that failed or were cancelled."""
    if failed == bool(ids):
        raise typer.BadParameter("Name jobs, or say --failed.")
    from app.cli.connect import load_settings
    from app.cli.jobs import retry

    _end_well(retry(load_settings(), _ref(person), ids or [], failed=failed, as_json=as_json))


@jobs.command("cancel")
def _cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As the list shows them.")],
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """End jobs that have published nothing yet."""
    from app.cli.connect import load_settings
    from app.cli.jobs import cancel

    _end_well(cancel(load_settings(), _ref(person), ids, as_json=as_json))


def _fetched(targets: list[str], collection: str, stated: Any, person: str | None, *, as_json: bool) -> bool | None:
    """Whether the sources that are named by their addresses were taken in well; None if none is named."""
    from app.cli.connect import load_settings
    from app.cli.sources import fetch, is_source

    named = [target for target in targets if is_source(target)]
    if not named:
        return None
    if len(named) < len(targets):
        raise typer.BadParameter("Give files, folders and pages, or addresses of whole sources, not both at once.")
    if stated:
        raise typer.BadParameter("What a source brings has the collection's label, and its own readers.")
    return fetch(load_settings(), targets, collection, _ref(person), as_json)


SourceName = Annotated[str, typer.Argument(metavar="NAME", callback=_matching(_NAME, "A plain name."))]
CollectionName = Annotated[str, typer.Option("--collection", callback=_matching(_NAME, "A plain name."))]


def _named(collection: str, name: str, person: str | None, as_json: bool) -> Any:
    from app.cli.sources import Named

    return Named(collection=collection, name=name, person=_ref(person), as_json=as_json)


@sources.command(name="add")
def add_source(
    name: SourceName,
    location: Annotated[str, typer.Argument(metavar="PATH|URL", help="A server fetches only from what it allows.")],
    collection: CollectionName,
    connector: Annotated[
        str | None, typer.Option(help="folder, git, objects, web or mail; without it, by the look of the location.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the connector; may be repeated.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(metavar="CRON", help='Five fields, in UTC: "30 2 * * 1-5".')] = None,
    namespace: Annotated[str, typer.Option(help="Whose names its access lists use.")] = "",
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Register a source, or change one. Nothing is fetched until it is run."""
    from app.cli import sources
    from app.cli.connect import load_settings

    options = dict(sources.option(each) for each in option or [])
    named = _named(collection, name, person, as_json)
    _end_well(
        sources.add(
            load_settings(),
            named,
            location,
            connector=connector,
            options=options,
            schedule=schedule,
            namespace=namespace,
        )
    )


@sources.command(name="list")
def list_sources(collection: CollectionName, person: Person = None, as_json: AsJson = False) -> None:
    """The sources of a collection."""
    from app.cli import sources
    from app.cli.connect import load_settings

    _end_well(sources.listed(load_settings(), collection, _ref(person), as_json=as_json))


@sources.command(name="show")
def show_source(name: SourceName, collection: CollectionName, person: Person = None, as_json: AsJson = False) -> None:
    """One source, and when it is run next."""
    from app.cli import sources
    from app.cli.connect import load_settings

    _end_well(sources.show(load_settings(), _named(collection, name, person, as_json)))


@sources.command(name="run")
def run_source(
    name: SourceName,
    collection: CollectionName,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is over. Without a server: always.")] = False,
    confirm_withdrawals: Annotated[
        bool, typer.Option("--confirm-withdrawals", help="Withdraw what is gone, however much it is.")
    ] = False,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Run a source. What it brings, what is gone, and what was refused and why."""
    from app.cli import sources
    from app.cli.connect import load_settings

    named = _named(collection, name, person, as_json)
    _end_well(sources.run(load_settings(), named, wait=wait, confirmed=confirm_withdrawals))


@sources.command(name="runs")
def list_runs(
    name: SourceName,
    collection: CollectionName,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="The report of this one.")] = None,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """The latest runs of a source, or the report of one."""
    from app.cli import sources
    from app.cli.connect import load_settings

    _end_well(sources.runs(load_settings(), _named(collection, name, person, as_json), run))


@sources.command(name="remove")
def remove_source(name: SourceName, collection: CollectionName, person: Person = None) -> None:
    """Remove a source. What it brought stays."""
    from app.cli import sources
    from app.cli.connect import load_settings

    _end_well(sources.remove(load_settings(), _named(collection, name, person, False)))


@sources.command(name="pause")
def pause_source(
    name: SourceName,
    collection: CollectionName,
    resume: Annotated[bool, typer.Option("--resume", help="Let it be run again.")] = False,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Let a source not be run, until it is resumed."""
    from app.cli import sources
    from app.cli.connect import load_settings

    _end_well(sources.pause(load_settings(), _named(collection, name, person, as_json), paused=not resume))


CedarFile = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)]
PolicyId = Annotated[
    str, typer.Argument(metavar="ID", callback=_matching(r"pol_[a-z0-9]+", "As the list shows it: pol_..."))
]


def _id_or_file(value: str | None) -> str | None:
    if value is None or value.startswith("pol_") or Path(value).is_file():
        return value
    raise typer.BadParameter(f"'{value}' is neither a file that is there nor the id of a version: pol_...")


Reason = Annotated[str, typer.Option("--reason", metavar="WHY", help="Kept on record.", show_default=False)]


@policies.command(name="validate")
def validate_policies(
    file: CedarFile,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail it, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a policy file. What is wrong with it, and what its author may not have meant. Needs no server."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.validate(load_settings(), file, strict=strict, as_json=as_json))


@policies.command(name="test")
def hold_policies(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", exists=True, dir_okay=False, help="Without it: what is in force."),
    ] = None,
    tables: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", exists=True, help="Who sees what, in YAML; may be repeated. Unset: the server's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold policies against tables of who sees what. Who gains and who loses. With both named, needs no server."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.test(load_settings(), file, tables or [], as_json=as_json))


@policies.command(name="draft")
def draft_policies(file: CedarFile, reason: Reason, as_json: AsJson = False) -> None:
    """Keep a policy file as a draft, which decides nothing yet."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.draft(load_settings(), file, reason=reason, as_json=as_json))


@policies.command(name="approve")
def approve_policies(
    id: PolicyId,
    digest: Annotated[str | None, typer.Option(help="Only if it has this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Approve a draft of another administrator's."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.approve(load_settings(), id, digest=digest, as_json=as_json))


@policies.command(name="activate")
def activate_policies(
    what: Annotated[
        str,
        typer.Argument(metavar="ID|FILE", help="A draft, or a file, which is drafted first.", callback=_id_or_file),
    ],
    reason: Reason,
    strict: Annotated[bool, typer.Option("--strict", help="Not if there are warnings.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put policies in force. The next request is decided by them."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.activate(load_settings(), what, reason=reason, strict=strict, as_json=as_json))


@policies.command(name="rollback")
def roll_back_policies(
    reason: Reason,
    to: Annotated[str | None, typer.Option(metavar="ID", help="Unset: what was in force before.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring back what was in force before, at once."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.roll_back(load_settings(), reason=reason, to=to, as_json=as_json))


@policies.command(name="discard")
def discard_policies(id: PolicyId, as_json: AsJson = False) -> None:
    """Take a draft out of the running."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.discard(load_settings(), id, as_json=as_json))


@policies.command(name="list")
def list_policies(as_json: AsJson = False) -> None:
    """Every version, newest first. Whose it is, why, and where it stands."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.listed(load_settings(), as_json=as_json))


@policies.command(name="show")
def show_policies(
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Without it: what is in force.")] = None,
    default: Annotated[bool, typer.Option("--default", help="What this version of Muniment starts with.")] = False,
    as_json: AsJson = False,
) -> None:
    """The text of a version, or of what is in force."""
    if default and id is not None:
        raise typer.BadParameter("Name a version, or say --default.")
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.show(load_settings(), id, default=default, as_json=as_json))


@policies.command(name="diff")
def diff_policies(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|FILE]",
            help="A version, or a file. Without it: what this version of Muniment starts with.",
            callback=_id_or_file,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a version or a file differs from what is in force."""
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.diff(load_settings(), what, as_json=as_json))


@policies.command(name="tables")
def policy_tables(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH...]", exists=True, help="Files or folders; all there are to be."),
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="WHY", help="Kept on record.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lay down the tables that every activation is held against. Without any: which there are."""
    if paths and not reason:
        raise typer.BadParameter("Say why, with --reason.")
    from app.cli import policies
    from app.cli.connect import load_settings

    _end_well(policies.tables(load_settings(), paths or [], reason=reason, as_json=as_json))


@app.command()
def retrieve(
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    person: Person = None,
    purpose: Annotated[str | None, typer.Option(help="What for: a registered purpose.")] = None,
    as_of: Annotated[str | None, typer.Option(metavar="TIME", help="What held then, as in 2024-06-15.")] = None,
    known_at: Annotated[str | None, typer.Option(metavar="TIME", help="What was known then.")] = None,
    collection: Annotated[list[str] | None, typer.Option(help="Only in this one; may be repeated.")] = None,
    top_k: Annotated[int, typer.Option(min=1, max=50, help="Passages at the most.")] = 8,
    mode: Annotated[ModeWord, typer.Option(help="How to search.")] = ModeWord.HYBRID,
    as_json: AsJson = False,
) -> None:
    """Ask a question. The answer says what was found, what was checked, and whom to ask for more."""
    from app.cli.connect import load_settings
    from app.cli.retrieve import retrieve

    asked: dict[str, Any] = {"query": question, "top_k": top_k, "mode": mode.value}
    stated = {"purpose": purpose, "as_of": as_of, "known_at": known_at, "collections": collection or None}
    asked |= {name: value for name, value in stated.items() if value is not None}
    retrieve(load_settings(), asked, _ref(person), as_json=as_json)


@app.command()
def answer(
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    person: Person = None,
    purpose: Annotated[str | None, typer.Option(help="What for: a registered purpose.")] = None,
    as_of: Annotated[str | None, typer.Option(metavar="TIME", help="What held then, as in 2024-06-15.")] = None,
    known_at: Annotated[str | None, typer.Option(metavar="TIME", help="What was known then.")] = None,
    collection: Annotated[list[str] | None, typer.Option(help="Only in this one; may be repeated.")] = None,
    sentences: Annotated[int, typer.Option(min=1, max=10, help="Sentences at the most.")] = 3,
    generate: Annotated[
        bool | None, typer.Option("--generate/--extract", help="Have the model write it, or not; else as configured.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question and get sentences. Each stands in a document that may be read; else that is said."""
    from app.cli.answer import answer
    from app.cli.connect import load_settings

    asked: dict[str, Any] = {"query": question, "max_sentences": sentences}
    stated = {"purpose": purpose, "as_of": as_of, "known_at": known_at, "collections": collection or None}
    asked |= {name: value for name, value in (stated | {"generate": generate}).items() if value is not None}
    answer(load_settings(), asked, _ref(person), as_json=as_json)


@app.command()
def diff(
    document: Annotated[str, typer.Argument(metavar="DOCUMENT", help="Its uri, or its id: doc_...")],
    old: Annotated[str, typer.Argument(metavar="FROM", help="A version's number, or when it was in force.")],
    new: Annotated[str, typer.Argument(metavar="TO", help="Likewise.")],
    person: Person = None,
    collection: Annotated[str | None, typer.Option(help="Where the uri is, if in several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is different between two versions. By section: what came, went, moved or changed."""
    from app.cli.connect import load_settings
    from app.cli.diff import diff

    diff(load_settings(), document, old, new, _ref(person), collection=collection, as_json=as_json)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", exists=True, dir_okay=False, readable=True)],
    documents: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Put the file's documents in, from here."),
    ] = None,
) -> None:
    """Lay down an institution from a file. Its purposes, principals and collections, as an administrator."""
    from app.cli.apply import apply
    from app.cli.connect import load_settings

    _end_well(apply(load_settings(), file, documents))


@policies.command(name="simulate")
def simulate_policies(
    draft: Annotated[
        str,
        typer.Argument(metavar="FILE|ID", help="A file of Cedar, or the id of a draft: pol_...", callback=_id_or_file),
    ],
    days: Annotated[
        int, typer.Option(min=0, max=3650, help="Recorded questions of so many days are asked again.")
    ] = 30,
    principal: Annotated[
        list[str] | None,
        typer.Option(
            help="This one alone, or a group's members; may be repeated.",
            callback=_matching(
                rf"(user|group|assistant):{_NAME}", "Name a principal: user:ID, group:ID, assistant:ID."
            ),
        ),
    ] = None,
    collection: Annotated[list[str] | None, typer.Option(help="Boundaries of this one alone; may be repeated.")] = None,
    examples: Annotated[int, typer.Option(min=0, max=100, help="Of what is gained, and of what is lost.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show what a draft would change, before anybody is affected. Who gains, who loses, how much, and by which rule."""
    from app.cli.connect import load_settings
    from app.cli.simulate import simulate

    asked: dict[str, Any] = {"days": days, "examples": examples}
    narrowed = {"principals": principal or None, "collections": collection or None}
    asked |= {name: value for name, value in narrowed.items() if value is not None}
    simulate(load_settings(), draft, asked, as_json=as_json)


@policies.command(name="explain")
def explain_policies(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT",
            help="Who asks: user:ID or assistant:ID.",
            callback=_matching(rf"(user|assistant):{_NAME}", "Name user:ID or assistant:ID."),
        ),
    ],
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="read, describe, discover, curate, ask, manage, audit and so on.")
    ],
    actor: Annotated[
        list[str] | None, typer.Option("--through", metavar="assistant:ID", help="May be repeated: the sender first.")
    ] = None,
    asserted: Annotated[bool, typer.Option("--asserted", help="On the assistant's word alone.")] = False,
    purpose: Annotated[str | None, typer.Option(help="A registered purpose.")] = None,
    client: Annotated[str | None, typer.Option(help="Whose data it is about.")] = None,
    destination: Annotated[str | None, typer.Option(help="Where the answer will be used.")] = None,
    document: Annotated[str | None, typer.Option(metavar="ID", help="Of this document; for auditors.")] = None,
    collection: Annotated[str | None, typer.Option(callback=_matching(_NAME, "A plain name."))] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="LEVEL[:CATEGORY,...]", help="Of a document of the collection.", callback=_label),
    ] = None,
    readers: Annotated[list[str] | None, typer.Option("--reader", help="Of it; may be repeated.")] = None,
    jurisdictions: Annotated[list[str] | None, typer.Option("--jurisdiction", help="Of it; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say why something is allowed or denied. Which policies decide, and what would have to change."""
    if (label or readers or jurisdictions) and (collection is None or document is not None):
        raise typer.BadParameter("A label, readers and jurisdictions are of some document of a --collection.")
    from app.cli.connect import load_settings
    from app.cli.simulate import explain

    asked: dict[str, Any] = {"subject": subject, "action": action, "actors": actor or []}
    asked["proof"] = "asserted" if asserted else "proven"
    stated = {"purpose": purpose, "client": client, "destination": destination}
    asked |= {name: value for name, value in stated.items() if value is not None}
    named: dict[str, Any] = {"document": document, "collection": collection}
    if label or readers or jurisdictions:
        level, _, categories = (label or "internal").partition(":")
        stated_label = {"level": level, "categories": categories.split(",") if categories else []}
        fields = {"readers": readers or [], "jurisdictions": jurisdictions or []}
        named = {"boundary": {"collection": collection, "label": stated_label, **fields}}
    asked["resource"] = {name: value for name, value in named.items() if value is not None}
    explain(load_settings(), asked, as_json=as_json)


@app.command()
def reindex(
    wait: Annotated[bool, typer.Option("--wait", help="Show how far it is, until it answers.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Begin nothing: tell what there is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the index anew, beside the one that answers. A model or analyzer that was changed needs no command: a
    server builds the next generation when it is started with it."""
    from app.cli.connect import load_settings
    from app.cli.reindex import reindex

    _end_well(reindex(load_settings(), wait=wait, only_show=show, as_json=as_json))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is wrong, and how to mend it. And what is configured, and what is reachable."""
    from app.cli.doctor import doctor

    _end_well(doctor(as_json=as_json))


evaluating = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(evaluating, name="eval")


def _targets(values: list[str] | None) -> list[str] | None:
    from app.domain.metrics import MEASURES

    for value in values or []:
        name, _, least = value.partition("=")
        if name not in MEASURES or not re.fullmatch(r"[01]?(\.[0-9]+)?", least) or not least:
            raise typer.BadParameter(
                f"Write a measure and a number, as in ndcg@10=0.7. There are: {', '.join(MEASURES)}."
            )
    return values


def _drawable(drawing: Path | None) -> Path | None:
    if drawing is not None and not drawing.absolute().parent.is_dir():
        raise typer.BadParameter(f"There is no folder {drawing.parent}: make it first, or choose another.")
    return drawing


def _belong(options: Mapping[str, object], whose: str, *, there: bool) -> None:
    """Refuse options of what is not evaluated here, rather than pass over what somebody relies on."""
    for name, value in options.items():
        if value and not there:
            raise typer.BadParameter(f"{name} is of {whose}.")


@evaluating.callback()
def _eval(
    context: typer.Context,
    dataset: Annotated[
        Path | None, typer.Option(metavar="DIR", exists=True, file_okay=False, help="In the layout of BEIR.")
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Golden questions, in YAML.")
    ] = None,
    institution: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Who asks them. Unset: fixtures.")
    ] = None,
    documents: Annotated[
        Path | None, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Its documents. Unset: fixtures.")
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            help="The golden questions that its owners keep of it.", callback=_matching(_NAME, "A plain name.")
        ),
    ] = None,
    configurations: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Ways to rank, in YAML or TOML.")
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="These configurations alone; the first is held against.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A data folder to keep and use again. Unset: a temporary one.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many questions.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="MEASURE=VALUE", help="Exit 1 if the first has less; may be repeated.", callback=_targets),
    ] = None,
    guard: Annotated[
        bool,
        typer.Option("--guard", help="Exit 1 if the first is worse than dense or lexical alone, or than not reranked."),
    ] = False,
    drawing: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", dir_okay=False, callback=_drawable, help="Draw it there.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Let it be what later runs of --golden are held against.")
    ] = False,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Measure retrieval on a dataset, golden questions or a collection's own. Ways to rank are compared in one run."""
    if context.invoked_subcommand is not None:
        return
    if sum(each is not None for each in (dataset, golden, collection)) != 1:
        raise typer.BadParameter("Say one of --dataset, --golden and --collection.")
    ranked = {"--configurations": configurations, "--compare": compare, "--home": home, "--limit": limit}
    ranked |= {"--target": target, "--guard": guard}
    laid = {"--institution": institution, "--documents": documents, "--keep": keep}
    _belong(ranked, "--dataset and --golden", there=collection is None)
    _belong(laid, "--golden", there=golden is not None)
    _belong({"--as": person}, "--collection", there=collection is not None)
    from app.cli import evaluate

    choices = evaluate.Choices(
        configurations=configurations,
        compare=compare or (),
        home=home,
        limit=limit,
        targets={name: float(least) for name, _, least in (each.partition("=") for each in target or [])},
        guard=guard,
        as_json=as_json,
        drawing=drawing,
        keep=keep,
    )
    if dataset is not None:
        _end_well(evaluate.evaluate_dataset(dataset, choices))
    elif golden is not None:
        _end_well(evaluate.evaluate_golden(golden, choices, institution=institution, documents=documents))
    elif collection is not None:
        from app.cli.connect import load_settings
        from app.cli.gaps import evaluate_collection

        evaluate_collection(load_settings(), collection, _ref(person), drawing, as_json=as_json)


Days = Annotated[int, typer.Option(min=1, max=366, help="How far back is looked.")]


@evaluating.command("unanswered")
def _unanswered(collection: CollectionName, days: Days = 30, person: Person = None, as_json: AsJson = False) -> None:
    """List questions that several people asked and nothing answered. For owners."""
    from app.cli.connect import load_settings
    from app.cli.gaps import unanswered

    unanswered(load_settings(), collection, _ref(person), days, as_json=as_json)


@evaluating.command("unfound")
def _unfound(
    collection: CollectionName,
    days: Days = 90,
    most: Annotated[int, typer.Option(min=1, help="How many to show.")] = 50,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """List documents that no answer cited. For owners."""
    from app.cli.connect import load_settings
    from app.cli.gaps import unfound

    unfound(load_settings(), collection, _ref(person), days, most, as_json=as_json)


@app.command()
def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Leave the data there, to look around in.")
    ] = None,
) -> None:
    """Show it at work. One question, several askers, different answers, and why."""
    from app.cli.demo import demo

    demo(keep)


def main() -> None:
    """Exit codes: 0 done, 1 failed, with a sentence on stderr, 2 wrong usage."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: sys.exit(1))  # so that what was begun is ended in order
    try:
        app()
    except Failed as error:
        _fail(str(error))
    except MunimentError as error:
        _fail(error.detail)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}.")


def _fail(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    sys.exit(1)


def _ref(person: str | None) -> "PrincipalRef | None":
    from app.domain.access import PrincipalRef

    return PrincipalRef(person) if person is not None else None


def _end_well(well: bool) -> None:
    if not well:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
