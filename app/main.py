"""The command line `muniment`: what can be typed. What is done stands in `app.cli`, imported when it is needed."""

import os
import re
import signal
import sys
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


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is wrong, and how to mend it. And what is configured, and what is reachable."""
    from app.cli.doctor import doctor

    _end_well(doctor(as_json=as_json))


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
