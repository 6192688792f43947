"""Ports opened and closed: the one place that chooses adapters. Heavy libraries are imported where they are chosen."""

import base64
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.engine import Engine

from app.domain.access import PrincipalRef
from app.domain.errors import IndexUnavailable, Invalid, ModelChanged, Unavailable
from app.domain.generations import FIRST, Generation, GenerationId, Makeup
from app.domain.instants import Instant
from app.domain.jobs import Limits
from app.domain.memo import Memo
from app.domain.recourse import HOUR_MS, RecourseTerms
from app.operations.prepare import ensure_administrator_key, prepare
from app.operations.rebuild import configure
from app.ports import Analyzer, Embedder, Index, Ports, Tokenizer, TokenVerifier
from app.settings import EmbeddingSettings, OidcSettings, Settings, words
from app.store import generations as stored_generations
from app.store.database import open_engine, reading, writing

if TYPE_CHECKING:
    from app.adapters.opened_generations import OpenedGenerations

INDEX_PATIENCE_S = 20.0
"""How long a part waits for the index process to be there, at the start and when it is restarted."""

INDEX_TIMEOUT_S = 30.0
"""How long it then waits for an answer."""


_PUBLIC_URL = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
"""Of a server that others rely on for decisions: https, and neither query nor fragment."""


@contextmanager
def open_ports(
    settings: Settings,
    *,
    threads: int = 1,
    index_patience_s: float = INDEX_PATIENCE_S,
    index_timeout_s: float = INDEX_TIMEOUT_S,
    searching: bool = True,
) -> Iterator[Ports]:
    """Every port, open. The data folder has been prepared by `initialise`. `threads` embed, if none are configured.

    Index and models are those of the generation that answers, whatever is configured: that is built beside it. Who is
    `searching` finds an index unavailable until it holds what was published, and has the model loaded for the first
    question; who fills it asks how far it is, and loads the model when there is something to embed.
    """
    from app.adapters.cedar_policy import CedarPolicyEngine
    from app.adapters.fsspec_blobs import FsspecBlobs
    from app.adapters.personal_data import PII, PersonalData
    from app.adapters.secrets import SECRET, Secrets

    os.umask(0o077)
    with ExitStack() as opened:
        engine = open_engine(settings.database)
        opened.callback(engine.dispose)
        generations = _generations(
            settings,
            engine,
            threads=settings.embedding.threads or threads,
            patience_s=index_patience_s,
            timeout_s=index_timeout_s,
            searching=searching,
        )
        opened.callback(generations.close)
        with reading(engine) as session:
            current = stored_generations.active(session)
        retrieval = generations.opened(current)
        if searching:
            with suppress(Unavailable):  # /readyz tells
                _ = retrieval.embedder.fingerprint
        yield Ports(
            engine=engine,
            generation=current.id,
            generations=generations,
            index=retrieval.index,
            embedder=retrieval.embedder,
            tokenizer=retrieval.tokenizer,
            analyzer=retrieval.analyzer,
            policy_engine=CedarPolicyEngine(),
            blobs=FsspecBlobs(settings.blobs),
            memo=Memo(),
            pepper=secret(settings.home, "pepper"),
            now=now,
            new_id=new_id,
            redactors={PII: PersonalData(), SECRET: Secrets()},
            limits=Limits(
                max_queued=settings.ingest.max_queued,
                max_queued_in_collection=settings.ingest.max_queued_in_collection,
                max_setbacks=settings.ingest.max_setbacks,
                dead_after_s=settings.ingest.dead_after_s,
            ),
            policy_approvals=settings.policies.approvals,
            max_key_days=settings.keys.max_days,
            public_url=settings.public_url.rstrip("/") if settings.public_url else None,
            source_locations=settings.sources.locations,
            tokens=token_verifier(settings.oidc),
            break_glass_minutes=settings.break_glass.max_minutes,
            recourse=_recourse(settings),
            webhook_locations=settings.webhooks.locations,
        )


def _recourse(settings: Settings) -> RecourseTerms:
    said = settings.recourse
    return RecourseTerms(
        remind_after_ms=int(said.remind_after_hours * HOUR_MS),
        escalate_after_ms=int(said.escalate_after_hours * HOUR_MS),
        expire_after_ms=int(said.expire_after_hours * HOUR_MS),
        max_grant_ms=int(said.max_grant_hours * HOUR_MS),
        compliance=PrincipalRef(said.compliance) if said.compliance else None,
        afterwards=PrincipalRef(said.escalate_to),
    )


def initialise(settings: Settings) -> str | None:
    """Make the data folder and database ready. Returns the administrator's key if one was generated: show it once.

    Raises `Invalid` for settings that cannot be used, before any part is started with them.
    """
    from app.adapters.cedar_policy import default_policies
    from app.adapters.fsspec_blobs import FsspecBlobs

    if settings.index.url is not None and not settings.index.url.startswith(("http://", "https://")):
        raise Invalid("MUNIMENT_INDEX__URL is no address: write it as http://127.0.0.1:6333.")
    token_verifier(settings.oidc)
    check_public_url(settings)
    os.umask(0o077)  # what is written from here on, by children too, is its owner's alone
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    FsspecBlobs(settings.blobs)
    engine = open_engine(settings.database)
    try:
        prepare(engine, default_policies=default_policies(), now=now())
        configure(engine, makeup(settings), now=now())
        return ensure_administrator_key(
            engine,
            configured=settings.admin_key.get_secret_value() if settings.admin_key else None,
            generated=f"mun_{new_id()}{new_id()}",
            pepper=secret(settings.home, "pepper"),
            now=now(),
        )
    finally:
        engine.dispose()


def check_public_url(settings: Settings) -> None:
    """Raises `Invalid` for a public address that nobody could rely on."""
    if settings.public_url is not None and not _PUBLIC_URL.fullmatch(settings.public_url):
        raise Invalid("MUNIMENT_PUBLIC_URL is no public address: write it as https://muniment.example.org.")


def token_verifier(settings: OidcSettings) -> TokenVerifier | None:
    """The verifier of the configured issuer's tokens; None without an issuer. Raises `Invalid`; asks nobody yet."""
    if settings.issuer is None:
        return None
    if not settings.audience:
        raise Invalid("MUNIMENT_OIDC__ISSUER wants MUNIMENT_OIDC__AUDIENCE: what a token for this server names as aud.")
    from app.adapters.httpx_issuer import Issuer
    from app.adapters.joserfc_tokens import ASYMMETRIC, Expected, JoserfcTokens

    return JoserfcTokens(
        Issuer(url=settings.issuer, jwks_url=settings.jwks_url),
        Expected(
            audience=settings.audience,
            algorithms=frozenset(words(settings.algorithms)) or ASYMMETRIC,
            leeway_s=settings.leeway_s,
            subject_claim=settings.subject_claim,
            namespace=settings.identities,
            second_factor_acr=frozenset(words(settings.second_factor_acr)),
            second_factor_amr=frozenset(words(settings.second_factor_amr)),
        ),
        refresh_s=settings.refresh_s,
        max_stale_s=settings.max_stale_s,
    )


def secret(home: Path, name: str) -> bytes:
    """32 random bytes kept in the data folder for its owner alone; made once, by whoever asks first."""
    path = home / "secrets" / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # linked once it is whole, or not at all
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_bytes()


def now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


def new_id() -> str:
    """130 random bits as 26 small letters and digits."""
    return base64.b32encode(secrets.token_bytes(20)).decode().lower()[:26]


# -- generations of the index ------------------------------------------------------------------------------------------


def makeup(settings: Settings) -> Makeup:
    """What the index is to be made with, by the settings. Raises `Unavailable` if the model is not there."""
    return Makeup(
        embedding=settings.embedding.spec,
        dimension=_dimension(settings.embedding),
        analyzer=_analyzer().fingerprint,
    )


def held_generations(settings: Settings) -> list[Generation]:
    """Those that have an index, oldest first. Raises `DatabaseUnavailable`."""
    engine = open_engine(settings.database)
    try:
        with reading(engine) as session:
            return stored_generations.in_state(session, *stored_generations.HELD)
    finally:
        engine.dispose()


def index_name(generation: GenerationId) -> str:
    """Of a generation's folder, socket and address: what there was before generations is the first one's."""
    return "index" if generation == FIRST else f"index-{generation}"


def _analyzer() -> Analyzer:
    from app.adapters.snowball_analyzer import SnowballAnalyzer

    return SnowballAnalyzer()


def _dimension(embedding: EmbeddingSettings) -> int:
    from app.adapters.model_files import model_dimension

    return model_dimension(embedding.model)


def _loaded(embedding: EmbeddingSettings, threads: int) -> Embedder:
    from app.adapters.local_embedder import LocalEmbedder

    return LocalEmbedder(embedding.model, threads=threads)


def _tokenizer(embedding: EmbeddingSettings) -> Tokenizer:
    from app.adapters.local_embedder import LocalTokenizer

    return LocalTokenizer(embedding.model)


def _generations(
    settings: Settings, engine: Engine, *, threads: int, patience_s: float, timeout_s: float, searching: bool
) -> "OpenedGenerations":
    from app.adapters.late_embedder import LateEmbedder, LateTokenizer, OneThreadEmbedder
    from app.adapters.opened_generations import Opened, OpenedGenerations
    from app.adapters.whole_index import WholeIndex

    def open_one(generation: Generation) -> Opened:
        embedding = EmbeddingSettings.model_validate_json(generation.makeup.embedding)

        def load() -> Embedder:
            try:
                embedder = _loaded(embedding, threads)
            except Unavailable as error:
                raise Unavailable(
                    f"The model of generation {generation.id} of the index is not there. {error.detail} Put it back; "
                    "or set another and start the server: questions are answered again when its index is built."
                ) from error
            return _the_model_of(engine, generation, embedder)

        embedder = LateEmbedder(load)
        index = _index(settings, generation, patience_s, timeout_s)

        def close() -> None:
            index.close()
            embedder.unload()

        return Opened(
            index=WholeIndex(index, engine) if searching else index,
            embedder=embedder if searching else OneThreadEmbedder(embedder),
            tokenizer=LateTokenizer(lambda: _tokenizer(embedding)),
            close=close,
        )

    def drop(generation: Generation) -> None:
        index = _index(settings, generation, patience_s, timeout_s)
        try:
            index.drop()
        finally:
            index.close()

    return OpenedGenerations(open_one, drop, _analyzer())


def _the_model_of(engine: Engine, generation: Generation, embedder: Embedder) -> Embedder:
    """The embedder, if it is the model that the generation is made with; whoever loads it first says which that is.

    Raises `ModelChanged`.
    """
    with reading(engine) as session:
        wanted = stored_generations.generation(session, generation.id).fingerprint
    if wanted is None:
        with writing(engine) as session:
            wanted = stored_generations.settle_fingerprint(session, generation.id, embedder.fingerprint)
    if embedder.fingerprint != wanted:
        raise ModelChanged(
            "The index was made with another embedding model than its files hold by now. Put them back; otherwise a "
            "worker builds the index anew, and questions are answered again when it has."
        )
    return embedder


class _GenerationIndex(Index, Protocol):
    """The index of one generation, which can be closed and removed."""

    def close(self) -> None: ...

    def drop(self) -> None: ...


def _index(settings: Settings, generation: Generation, patience_s: float, timeout_s: float) -> _GenerationIndex:
    if settings.index.url is not None:
        from qdrant_client import QdrantClient

        from app.adapters.qdrant_index import QdrantIndex

        key = settings.index.api_key.get_secret_value() if settings.index.api_key else None
        client = QdrantClient(url=settings.index.url, api_key=key, timeout=int(timeout_s))
        name = settings.index.collection + ("" if generation.id == FIRST else f"-{generation.id}")
        return QdrantIndex(client, name, generation.makeup.dimension)
    from app.adapters.index_process import ProcessIndex

    try:
        address = Path((settings.home / "run" / f"{index_name(generation.id)}.address").read_text())
    except FileNotFoundError as error:
        raise IndexUnavailable("The index of this generation is not served here yet. Try again.") from error
    return ProcessIndex(address, secret(settings.home, "index"), timeout_s=timeout_s, patience_s=patience_s)
