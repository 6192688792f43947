"""`muniment doctor`: what is configured, what is reachable, what is wrong and how to mend it. It changes nothing."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import httpx
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import BaseModel, SecretStr
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.adapters.httpx_issuer import Issuer
from app.adapters.index_process import ProcessIndex
from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.adapters.local_reranker import LocalReranker
from app.adapters.model_files import Engine as Runs
from app.adapters.model_files import model_folder
from app.adapters.onnx_export import is_made
from app.bootstrap import (
    check_public_url,
    chosen_model,
    cores,
    generator,
    graphs,
    held_generations,
    index_name,
    token_verifier,
)
from app.cli.connect import load_settings
from app.cli.console import Failed, out, say, say_json, table, word
from app.cli.policies import HOW_TO_RENEW, lacks_of_default
from app.domain.access import PrincipalRef
from app.domain.errors import Invalid, MunimentError, Unavailable
from app.domain.generations import GenerationState
from app.operations.locate import check_webhook
from app.settings import TOML, EmbeddingSettings, Settings
from app.store import database, directory, generations, registry, webhooks
from app.watch import Held, held

_LEAST_FREE_BYTES = 1_000_000_000
_MASKED = "********"
_ISOLATES = """
import sys
from ingest.confinement import leave_network
from ingest.landlock import landlock_version
sys.exit((0 if leave_network() else 4) + (0 if landlock_version() else 8))
"""
_NO_NETWORK, _NO_LANDLOCK = 4, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part, how it is, and what to do about it. `idle`: not needed now; `warned`: works, but less well."""

    part: str
    state: Literal["ok", "idle", "warned", "wrong"]
    detail: str
    mend: str = ""


def doctor(*, as_json: bool) -> bool:
    """Look at everything and tell; whether nothing is wrong."""
    try:
        settings = load_settings()
    except Failed as error:
        mend = f"Correct it in the environment or in {TOML}."
        return _tell({}, [Finding(part="settings", state="wrong", detail=str(error), mend=mend)], as_json=as_json)
    return _tell(configured(settings), list(findings(settings)), as_json=as_json)


def configured(settings: Settings) -> dict[str, str]:
    """Every setting by its environment variable, secrets masked."""
    unset = {
        "MUNIMENT_INDEX__URL": "the embedded index",
        "MUNIMENT_EMBEDDING__MODEL": "the packaged all-MiniLM-L6-v2",
        "MUNIMENT_EMBEDDING__QUERY_PROMPT": "as the model's files say",
        "MUNIMENT_EMBEDDING__DOCUMENT_PROMPT": "as the model's files say",
        "MUNIMENT_EMBEDDING__DIMENSION": "all that the model gives",
        "MUNIMENT_EMBEDDING__MAX_TOKENS": "all that the model reads",
        "MUNIMENT_RERANK__MODEL": "none",
        "MUNIMENT_SOURCES__ALLOW": "nothing",
        "MUNIMENT_WEBHOOKS__ALLOW": "nothing",
    }
    effective = {"home": str(settings.home.absolute()), "database_url": settings.database, "blobs_url": settings.blobs}
    shown: dict[str, str] = {}
    for field, value in ((name, getattr(settings, name)) for name in Settings.model_fields):
        inner = {f"{field}__{name}": each for name, each in value} if isinstance(value, BaseModel) else {field: value}
        for name, each in inner.items():
            variable = f"MUNIMENT_{name.upper()}"
            shown[variable] = _shown(effective.get(name, each)) or unset.get(variable, "not set")
    return shown


def _shown(value: object) -> str:
    """A setting in words; empty if it is not set."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, SecretStr):
        return _MASKED
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else _without_secrets(str(value))


def findings(settings: Settings) -> Iterator[Finding]:
    """Each part in turn, from the ground up."""
    serving = _is_held(settings.home)
    yield from _misspelt(os.environ)
    yield _folder(settings.home)
    yield _disk(settings.home)
    yield _secrets(settings.home)
    yield from _database_and_policies(settings)
    yield from _issuer(settings)
    yield from _decision_point(settings)
    yield _index(settings, serving=serving)
    yield _model(settings)
    yield _reranker(settings)
    yield _generator(settings)
    yield _sandbox()
    yield _readers()
    yield _git()
    yield _server_here(settings.home, serving=serving)
    yield from _server_there(settings)


def _issuer(settings: Settings) -> Iterator[Finding]:
    """Whether tokens can be verified: the issuer's keys are fetched, as for the first token."""
    if settings.oidc.issuer is None:
        return
    part = "token issuer"
    try:
        token_verifier(settings.oidc)
        keys = Issuer(url=settings.oidc.issuer, jwks_url=settings.oidc.jwks_url).fetch_keys()
    except Invalid as error:
        yield Finding(part=part, state="wrong", detail=error.detail, mend="Correct the setting.")
    except MunimentError as error:
        mend = "Start the issuer, or correct MUNIMENT_OIDC__ISSUER. Meanwhile, tokens are refused."
        yield Finding(part=part, state="wrong", detail=error.detail, mend=mend)
    else:
        yield Finding(part=part, state="ok", detail=f"It publishes {len(keys)} key{'' if len(keys) == 1 else 's'}.")


def _decision_point(settings: Settings) -> Iterator[Finding]:
    """Whether other applications can find the decision point by its metadata."""
    part = "public URL"
    if settings.public_url is None:
        detail = "It is not set: /.well-known/authzen-configuration answers nothing."
        yield Finding(part=part, state="idle", detail=detail, mend="Set MUNIMENT_PUBLIC_URL, if others are to find it.")
        return
    try:
        check_public_url(settings)
    except Invalid as error:
        yield Finding(
            part=part, state="wrong", detail=error.detail, mend="Correct the setting: no server starts with it."
        )
    else:
        yield Finding(part=part, state="ok", detail="The decision point gives its addresses below it.")


def _recourse(session: Session, settings: Settings) -> Iterator[Finding]:
    """Whether those whom the settings send requests to are there, and in an order that makes sense."""
    part, said = "recourse", settings.recourse
    groups = {"COMPLIANCE": said.compliance, "ESCALATE_TO": said.escalate_to}
    for name, group in groups.items():
        if group is not None and directory.missing(session, [PrincipalRef(group)]):
            detail = f"{group} is not in the directory, so nobody is asked by MUNIMENT_RECOURSE__{name}."
            mend = (
                f"An administrator lays it down, PUT /v1/principals/group/{group.partition(':')[2]}; or name another."
            )
            yield Finding(part=part, state="wrong", detail=detail, mend=mend)
    hours = (said.remind_after_hours, said.escalate_after_hours, said.expire_after_hours)
    if list(hours) != sorted(hours):
        detail = "Requests are over before others may decide, or others may decide before anybody is reminded."
        mend = "Let MUNIMENT_RECOURSE__REMIND_AFTER_HOURS, ..._ESCALATE_AFTER_HOURS and ..._EXPIRE_AFTER_HOURS grow."
        yield Finding(part=part, state="warned", detail=detail, mend=mend)


def _webhooks(session: Session, settings: Settings) -> Iterator[Finding]:
    """Whether what is to be told elsewhere may go there."""
    laid = webhooks.webhooks(session)
    shut = []
    for each in laid:
        try:
            check_webhook(settings.webhooks.locations, each.url)
        except MunimentError:
            shut.append(each.name)
    if shut:
        detail = f"MUNIMENT_WEBHOOKS__ALLOW does not name where these are, so they hear nothing: {', '.join(shut)}."
        mend = "Allow their addresses, or take them away: DELETE /v1/webhooks/{name}."
        yield Finding(part="webhooks", state="wrong", detail=detail, mend=mend)
    elif laid:
        yield Finding(part="webhooks", state="ok", detail="All are at addresses that are allowed.")


def _misspelt(environment: Iterable[str]) -> Iterator[Finding]:
    """Names in the environment that look like settings and are none: what they were to change is as if unset."""
    known = {*Settings.model_fields, "bench"}
    named = [name for name in environment if name.startswith("MUNIMENT_")]
    if strange := sorted(name for name in named if _setting(name) not in known):
        mend = "Correct the names, as the README has them, or take them away."
        detail = f"These mean nothing to Muniment, so they are passed over: {', '.join(strange)}."
        yield Finding(part="environment", state="warned", detail=detail, mend=mend)


def _setting(name: str) -> str:
    """The setting that a variable is of; what only measurements read is `bench`."""
    stated = name.removeprefix("MUNIMENT_").lower()
    return "bench" if stated.startswith("bench_") else stated.partition("__")[0]


def _folder(home: Path) -> Finding:
    part = "data folder"
    place = _nearest(home)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        detail = f"{place} cannot be written to: {error.strerror}."
        return Finding(part=part, state="wrong", detail=detail, mend="Give this user the right, or set MUNIMENT_HOME.")
    if place != home.absolute():
        return Finding(part=part, state="idle", detail="It is not there yet: the first start makes it.")
    return Finding(part=part, state="ok", detail="It can be written to.")


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(_nearest(home)).free
    detail = f"{free / 1e9:.1f} GB are free."
    if free < _LEAST_FREE_BYTES:
        mend = "Free some space, or set MUNIMENT_HOME to a larger disk."
        return Finding(part="disk", state="wrong", detail=detail, mend=mend)
    return Finding(part="disk", state="ok", detail=detail)


def _secrets(home: Path) -> Finding:
    folder = home / "secrets"
    if not folder.exists():
        return Finding(part="secrets", state="idle", detail="None were made yet.")
    if not (folder / "pepper").exists():
        return Finding(
            part="secrets",
            state="wrong",
            detail=f"{folder / 'pepper'} is missing, so no API key can be recognised.",
            mend="Bring it back from a backup. Without one, issue every key anew.",
        )
    open_to_others = [each for each in (folder, *folder.iterdir()) if stat.S_IMODE(each.stat().st_mode) & 0o077]
    if open_to_others:
        mend = f"chmod -R go= {folder}"
        return Finding(part="secrets", state="wrong", detail="Others on this machine can read them.", mend=mend)
    return Finding(part="secrets", state="ok", detail="They are there, for this user alone.")


def _database_and_policies(settings: Settings) -> Iterator[Finding]:
    try:
        url = make_url(settings.database)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            yield Finding(part="database", state="idle", detail="It is not there yet: the first start makes it.")
            yield _policies(default_policies(), "the default policies")
            return
        engine = database.open_engine(settings.database)
    except (SQLAlchemyError, ImportError):
        mend = "Write MUNIMENT_DATABASE_URL as postgresql://USER:PASSWORD@HOST/NAME, or leave it unset for SQLite."
        yield Finding(part="database", state="wrong", detail="Its address is not one that is understood.", mend=mend)
        return
    try:
        migrated = _migrated(engine)
        yield migrated
        if migrated.state == "ok":
            with database.reading(engine) as session:
                active = registry.active_policies(session)
                told = [*_recourse(session, settings), *_webhooks(session, settings), *_generations(session)]
            yield _policies(active, "the active policies")
            yield from told
    except (SQLAlchemyError, MunimentError):
        detail = "It cannot be reached, or is not a database of Muniment's."
        yield Finding(part="database", state="wrong", detail=detail, mend="Start it, or correct MUNIMENT_DATABASE_URL.")
    finally:
        engine.dispose()


def _migrated(engine: Engine) -> Finding:
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    with engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_revision()
    newest = scripts.get_current_head()
    kind = engine.dialect.name
    if at == newest:
        return Finding(part="database", state="ok", detail=f"{kind}, at the newest migration, {newest}.")
    known = at is None or any(script.revision == at for script in scripts.walk_revisions())
    if not known:
        detail = f"{kind}, at a migration that this version does not know, {at}."
        return Finding(part="database", state="wrong", detail=detail, mend="Install the newer version that made it.")
    detail = f"{kind}, at {at or 'no migration'}; the newest is {newest}."
    return Finding(part="database", state="wrong", detail=detail, mend="Start the server: it migrates at its start.")


def _policies(text: str | None, which: str) -> Finding:
    if text is None:
        mend = "An administrator activates a policy set; the first start of a server activates the default."
        return Finding(part="policies", state="wrong", detail="None are active, so nothing can be read.", mend=mend)
    if faults := CedarPolicyEngine().validate(text):
        return Finding(part="policies", state="wrong", detail=f"{which}: {faults[0]}", mend="Activate a valid set.")
    valid = f"{which} are valid.".capitalize()
    if lacking := lacks_of_default(text):
        return Finding(part="policies", state="warned", detail=f"{valid} {lacking}", mend=HOW_TO_RENEW)
    return Finding(part="policies", state="ok", detail=valid)


def _index(settings: Settings, *, serving: bool) -> Finding:
    if settings.index.url:
        key = settings.index.api_key.get_secret_value() if settings.index.api_key else None
        return _qdrant(settings.index.url, key)
    secret = settings.home / "secrets" / "index"
    if not serving:
        return Finding(part="index", state="idle", detail="Embedded: it runs while a server does.")
    try:
        current = next(each for each in held_generations(settings) if each.state is GenerationState.ACTIVE)
        address = settings.home / "run" / f"{index_name(current.id)}.address"
        with closing(ProcessIndex(Path(address.read_text()), secret.read_bytes(), timeout_s=5.0)) as index:
            how = "in arrays" if index.quick() else "by the engine alone"
            return Finding(part="index", state="ok", detail=f"Embedded, with {index.size()} points, searched {how}.")
    except (MunimentError, OSError):
        mend = "Wait a moment: it is started again when it ends. If it stays so, stop and start the server."
        return Finding(part="index", state="wrong", detail="Embedded, and does not answer.", mend=mend)


def _generations(session: Session) -> Iterator[Finding]:
    """Which generation of the index answers, whether its model is there, and how far the next one is."""
    part, current, next_one = "index generation", generations.active(session), generations.building(session)
    going_on = ""
    if next_one is not None:
        progress = generations.progress(session, next_one.id)
        going_on = f"Generation {next_one.id} is being built: {progress.done} of {progress.total} chunks."
    if current.makeup.embedding:
        model = EmbeddingSettings.model_validate_json(current.makeup.embedding).model
        try:
            model_folder(model)
        except Unavailable as error:
            mend = "Put it back; or start a server with another MUNIMENT_EMBEDDING__MODEL, and wait for its index."
            detail = f"The model that the index was made with is gone, so questions are refused. {error.detail}"
            yield Finding(part=part, state="wrong", detail=f"{detail} {going_on}".strip(), mend=mend)
            return
    cut = next((each for each in (next_one, current) if each is not None and each.cut_off), None)
    if cut is not None:
        detail = f"{cut.cut_off} chunks are longer than the model of generation {cut.id} reads. {going_on}".strip()
        mend = "Submit the documents again, to have them cut for it; or choose a model that reads more."
        yield Finding(part=part, state="warned", detail=detail, mend=mend)
        return
    detail = f"Generation {current.id} answers. {going_on}".strip()
    yield Finding(part=part, state="ok", detail=detail)


def _qdrant(url: str, key: str | None) -> Finding:
    mend = "Start Qdrant, or correct MUNIMENT_INDEX__URL and MUNIMENT_INDEX__API_KEY."
    try:
        answer = httpx.get(f"{url.rstrip('/')}/collections", headers={"api-key": key} if key else {}, timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL):
        return Finding(part="index", state="wrong", detail="Qdrant cannot be reached.", mend=mend)
    if not answer.is_success:
        detail = f"Qdrant answers with status {answer.status_code}."
        return Finding(part="index", state="wrong", detail=detail, mend=mend)
    return Finding(part="index", state="ok", detail="Qdrant answers.")


def _model(settings: Settings) -> Finding:
    """By loading it, which holds the packaged weights against their published digest."""
    part, said, chosen = "model", settings.embedding, chosen_model(settings.embedding)
    mend = "Run make install." if chosen.model is None else "Correct MUNIMENT_EMBEDDING__MODEL, or leave it unset."
    try:
        made = is_made(chosen.model, "embedder", made=graphs(settings), quantization=chosen.quantization)
        trial = chosen if made else replace(chosen, quantization="none")  # the graph is made by what serves
        loaded = LocalEmbedder(trial, made=graphs(settings) if made else None, engine=said.engine)
        room = LocalTokenizer(chosen).max_tokens
    except Invalid as error:
        mend = "Correct MUNIMENT_EMBEDDING__DIMENSION or MUNIMENT_EMBEDDING__MAX_TOKENS."
        return Finding(part=part, state="wrong", detail=error.detail, mend=mend)
    except MunimentError as error:
        return Finding(part=part, state="wrong", detail=error.detail, mend=mend)
    except (ImportError, OSError, ValueError, KeyError):
        return Finding(part=part, state="wrong", detail="It is not there, or cannot be loaded.", mend=mend)
    published = ", with the published weights" if chosen.model is None else ""
    detail = (
        f"It loads, and gives {loaded.dimension} numbers a text of up to {room} tokens{published}. "
        f"{_run_by(loaded.engine, said.engine, made=made)}, {_at_once(said.threads)}."
    )
    return _run_well(
        "EMBEDDING", said.engine, said.threads, Finding(part=part, state="ok", detail=detail), loaded, made
    )


def _reranker(settings: Settings) -> Finding:
    part, said = "reranker", settings.rerank
    if said.model is None:
        detail = "None is set: hits are ranked by fusion alone."
        return Finding(
            part=part, state="idle", detail=detail, mend="Set MUNIMENT_RERANK__MODEL, if it is worth the time."
        )
    mend = "Correct MUNIMENT_RERANK__MODEL, or leave it unset: no server starts with it."
    try:
        made = is_made(said.model, "reranker", made=graphs(settings))
        loaded = LocalReranker(
            said.model, max_tokens=said.max_tokens, made=graphs(settings) if made else None, engine=said.engine
        )
    except MunimentError as error:
        return Finding(part=part, state="wrong", detail=error.detail, mend=mend)
    except (ImportError, OSError, ValueError, KeyError):
        return Finding(part=part, state="wrong", detail="It is not there, or cannot be loaded.", mend=mend)
    detail = (
        f"It loads, and reads {said.max_tokens} tokens of question and text. "
        f"{_run_by(loaded.engine, said.engine, made=made)}, {_at_once(said.threads)}."
    )
    return _run_well("RERANK", said.engine, said.threads, Finding(part=part, state="ok", detail=detail), loaded, made)


def _generator(settings: Settings) -> Finding:
    """Whether there is somebody at its address; nothing is written for it."""
    part, said = "generator", settings.generation
    if said.url is None:
        detail, mend = "None is set: answers are sentences of the passages.", ""
        if said.model is not None:
            mend = "Set MUNIMENT_GENERATION__URL, too: without it, MUNIMENT_GENERATION__MODEL means nothing."
        return Finding(part=part, state="warned" if said.model is not None else "idle", detail=detail, mend=mend)
    try:
        generator(said)
    except Invalid as error:
        mend = "Correct the setting: no server starts with it."
        return Finding(part=part, state="wrong", detail=error.detail, mend=mend)
    key = said.api_key.get_secret_value() if said.api_key else None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{said.url.rstrip('/')}/models", headers=headers, timeout=5.0, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL):
        mend = "Start it, or correct MUNIMENT_GENERATION__URL. Meanwhile, answers are sentences of the passages."
        return Finding(part=part, state="wrong", detail="The model cannot be reached.", mend=mend)
    if answer.status_code in (401, 403):
        mend = "Correct MUNIMENT_GENERATION__API_KEY. Meanwhile, answers are sentences of the passages."
        return Finding(part=part, state="wrong", detail=f"It answers with status {answer.status_code}.", mend=mend)
    return Finding(part=part, state="ok", detail=f"Somebody answers where {said.model} is to be.")


def _run_by(engine: Runs, wanted: Runs, *, made: bool) -> str:
    if wanted == "onnx" and not made:
        return "ONNX Runtime is to run it, by a graph that is made at the next start"
    return "ONNX Runtime runs it" if engine == "onnx" else "torch runs it"


def _at_once(threads: int) -> str:
    threads = threads or cores()
    return f"{threads} text{'' if threads == 1 else 's'} at once"


def _run_well(
    group: str, wanted: Runs, threads: int, found: Finding, loaded: LocalEmbedder | LocalReranker, made: bool
) -> Finding:
    """The finding, or what there is to say against how the model is run."""
    if made and loaded.engine != wanted:
        detail = f"{found.detail} No graph of it gives the same numbers, and torch takes more time and memory."
        mend = f"Choose another model, or set MUNIMENT_{group}__ENGINE=torch if that is meant."
        return replace(found, state="warned", detail=detail, mend=mend)
    if threads > cores():
        mend = f"Let MUNIMENT_{group}__THREADS be unset, or {cores()} at the most."
        return replace(found, state="warned", detail=f"{found.detail} There are {cores()} cores.", mend=mend)
    return found


def _sandbox() -> Finding:
    """In a process of its own: what is tried cannot be undone."""
    code = subprocess.run([sys.executable, "-c", _ISOLATES], capture_output=True, check=False).returncode
    if code == 0:
        detail = "Documents are parsed without a network, and the kernel (Landlock) keeps writes within their folder."
        return Finding(part="sandbox", state="ok", detail=detail)
    details, mends = [], []
    if code & _NO_NETWORK:
        details.append("The kernel refuses a network namespace: documents are parsed with the network shut in Python.")
        mends.append("Allow unprivileged user namespaces, or the unshare call in the container's seccomp profile.")
    if code & _NO_LANDLOCK:
        details.append("The kernel has no Landlock: what a parser writes is kept within its folder by Python only.")
        mends.append("Run Linux 5.13 or newer with landlock among its security modules.")
    if not details:
        return Finding(part="sandbox", state="wrong", detail="It cannot be tried.", mend="Run make install.")
    return Finding(part="sandbox", state="warned", detail=" ".join(details), mend=" ".join(mends))


def _readers() -> Finding:
    """Programs of others that more can be read with."""
    missing = [
        f"{what} ({package})"
        for program, what, package in (
            ("tesseract", "text in pictures and scans needs Tesseract", "tesseract-ocr"),
            ("soffice", "DOC, PPT and RTF need LibreOffice", "libreoffice-writer-nogui, libreoffice-impress-nogui"),
        )
        if shutil.which(program) is None
    ]
    if missing:
        detail = f"Not installed: {'; '.join(missing)}."
        return Finding(part="readers", state="idle", detail=detail, mend="Install them if such documents come.")
    return Finding(part="readers", state="ok", detail="Tesseract and LibreOffice are there.")


def _git() -> Finding:
    if shutil.which("git") is None:
        detail = "The program is not installed: repositories cannot be sources."
        return Finding(part="git", state="idle", detail=detail, mend="Install it, if repositories are to be sources.")
    return Finding(part="git", state="ok", detail="It is there, for sources that are repositories.")


def _server_here(home: Path, *, serving: bool) -> Finding:
    if serving:
        detail = f"One holds {home}: commands need MUNIMENT_URL and MUNIMENT_KEY to speak to it."
        return Finding(part="server here", state="ok", detail=detail)
    return Finding(part="server here", state="idle", detail="None holds the data folder: commands start their own.")


def _server_there(settings: Settings) -> Iterator[Finding]:
    part = "MUNIMENT_URL"
    if not settings.url:
        return
    try:
        url = settings.url.rstrip("/")
        ready = httpx.get(f"{url}/readyz", timeout=10.0)
        parts = ready.json()["parts"]
    except (httpx.HTTPError, httpx.InvalidURL):
        mend = "Start it with muniment serve, or correct MUNIMENT_URL."
        yield Finding(part=part, state="wrong", detail="No server answers there.", mend=mend)
        return
    except (ValueError, KeyError, TypeError):
        mend = "Correct MUNIMENT_URL."
        yield Finding(part=part, state="wrong", detail="What answers there is not Muniment.", mend=mend)
        return
    down = {name: said for name, said in parts.items() if said != "ready"}
    for name, said in down.items():
        yield Finding(part=f"{part}: {name}", state="wrong", detail=said, mend="See what that server logs.")
    if not down:
        yield Finding(part=part, state="ok", detail=f"Ready: {', '.join(parts)}.")
    if settings.key is None:
        mend = "Set MUNIMENT_KEY to the key that an administrator gave you."
        yield Finding(part="MUNIMENT_KEY", state="wrong", detail="It is not set.", mend=mend)
        return
    yield _key(url, settings.key.get_secret_value())


def _key(url: str, key: str) -> Finding:
    try:
        answer = httpx.get(f"{url}/v1/purposes", headers={"Authorization": f"Bearer {key}"}, timeout=10.0)
        known = answer.is_success
    except (httpx.HTTPError, ValueError):
        known = False
    if known:
        return Finding(part="MUNIMENT_KEY", state="ok", detail="The server knows it.")
    mend = "Ask an administrator for a new one."
    return Finding(part="MUNIMENT_KEY", state="wrong", detail="The server does not accept it.", mend=mend)


def _tell(settings: dict[str, str], found: list[Finding], *, as_json: bool) -> bool:
    healthy = all(each.state != "wrong" for each in found)
    if as_json:
        say_json({"healthy": healthy, "settings": settings, "parts": [asdict(each) for each in found]})
        return healthy
    console = out()
    if settings:
        console.print(table(("setting", "value"), list(settings.items())))
        console.print()
    rows = [(each.part, word(each.state), f"{each.detail} {each.mend}".strip()) for each in found]
    console.print(table(("part", "state", "what is found, and how to mend it"), rows))
    console.print()
    wrong = sum(each.state == "wrong" for each in found)
    say("Nothing is wrong." if healthy else f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.")
    return healthy


def _is_held(home: Path) -> bool:
    lock = home / "run" / "server.lock"
    if not lock.exists():
        return False
    try:
        with held(lock):
            return False
    except (Held, OSError):
        return True


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _without_secrets(url: str) -> str:
    """An address without user and password, and without a query, where keys are found too."""
    return re.sub(r"\?.*", f"?{_MASKED}", re.sub(r"://.*@", f"://{_MASKED}@", url))
