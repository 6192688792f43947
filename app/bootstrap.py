"""Ports opened and closed: the one place that chooses adapters. Heavy libraries are imported where they are chosen."""

import base64
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.engine import Engine

from app.domain.access import PrincipalRef
from app.domain.composing import ComposingTerms, Unsupported
from app.domain.errors import IndexUnavailable, Invalid, ModelChanged, Unavailable
from app.domain.generations import FIRST, Generation, GenerationId, Makeup
from app.domain.instants import Instant
from app.domain.jobs import Limits
from app.domain.labels import Level
from app.domain.memo import Memo
from app.domain.recourse import HOUR_MS, RecourseTerms
from app.operations.prepare import ensure_administrator_key, prepare
from app.operations.rebuild import configure
from app.ports import Analyzer, Embedder, Generator, Index, Ports, Tokenizer, TokenVerifier
from app.settings import DECIDES_NO_VECTOR, EmbeddingSettings, GenerationSettings, OidcSettings, Settings, words
from app.store import generations as stored_generations
from app.store.database import open_engine, reading, writing

if TYPE_CHECKING:
    from app.adapters.local_embedder import LocalEmbedder
    from app.adapters.local_reranker import LocalReranker
    from app.adapters.model_files import Chosen
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
    index_patience_s: float = INDEX_PATIENCE_S,
    index_timeout_s: float = INDEX_TIMEOUT_S,
    searching: bool = True,
) -> Iterator[Ports]:
    """Every port, open. The data folder has been prepared by `initialise`.

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
            settings, engine, patience_s=index_patience_s, timeout_s=index_timeout_s, searching=searching
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
            reranker=reranker(settings) if searching else None,
            tokenizer=retrieval.tokenizer,
            analyzer=retrieval.analyzer,
            policy_engine=CedarPolicyEngine(),
            blobs=FsspecBlobs(settings.blobs),
            memo=Memo(),
            pepper=secret(settings.home, "pepper"),
            now=now,
            new_id=new_id,
            ranking=settings.ranking.domain(),
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
            min_confidence=settings.answer.min_confidence,
            generator=generator(settings.generation),
            composing=ComposingTerms(
                max_level=Level[settings.generation.max_level.upper()],
                categories=frozenset(words(settings.generation.categories)),
                jurisdiction=settings.generation.jurisdiction,
                unsupported=Unsupported(settings.generation.unsupported),
            ),
        )


def chosen_model(settings: EmbeddingSettings) -> "Chosen":
    """The embedding model, with all that its vectors depend on."""
    from app.adapters.model_files import Chosen

    return Chosen(
        model=settings.model,
        query_prompt=settings.query_prompt,
        document_prompt=settings.document_prompt,
        dimension=settings.dimension,
        max_tokens=settings.max_tokens,
        quantization=settings.quantization,
    )


def embedder(settings: Settings, chosen: EmbeddingSettings) -> "LocalEmbedder":
    """A model, loaded. The first time, a graph is made of it in the data folder, which takes seconds."""
    from app.adapters.local_embedder import LocalEmbedder

    return LocalEmbedder(
        chosen_model(chosen), threads=chosen.threads or cores(), made=graphs(settings), engine=chosen.engine
    )


def reranker(settings: Settings) -> "LocalReranker | None":
    """The configured cross-encoder, loaded; None if there is none."""
    chosen = settings.rerank
    if chosen.model is None:
        return None
    from app.adapters.local_reranker import LocalReranker

    return LocalReranker(
        chosen.model,
        threads=chosen.threads or cores(),
        max_tokens=chosen.max_tokens,
        made=graphs(settings),
        engine=chosen.engine,
    )


def graphs(settings: Settings) -> Path:
    """Where the graphs of models are kept that were made of their weights. They can be made again."""
    return settings.home / "models"


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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

    Raises `Invalid` for settings that cannot be used, and `Unavailable` for models, before any part is started with
    them.
    """
    from app.adapters.cedar_policy import default_policies
    from app.adapters.fsspec_blobs import FsspecBlobs
    from app.adapters.model_files import reranker_folder

    if settings.index.url is not None and not settings.index.url.startswith(("http://", "https://")):
        raise Invalid("MUNIMENT_INDEX__URL is no address: write it as http://127.0.0.1:6333.")
    token_verifier(settings.oidc)
    generator(settings.generation)
    check_public_url(settings)
    if settings.rerank.model is not None:
        _ = reranker_folder(settings.rerank.model)
    os.umask(0o077)  # what is written from here on, by children too, is its owner's alone
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    FsspecBlobs(settings.blobs)
    engine = open_engine(settings.database)
    try:
        prepare(engine, default_policies=default_policies(), now=now())
        _remove_strangers(settings, engine)
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


def generator(settings: GenerationSettings) -> Generator | None:
    """The model that writes answers; None if none is configured. Raises `Invalid`; asks nobody yet."""
    if settings.url is None:
        return None
    if not settings.model:
        raise Invalid("MUNIMENT_GENERATION__URL wants MUNIMENT_GENERATION__MODEL: the model's name there.")
    from app.adapters.httpx_generator import HttpxGenerator

    return HttpxGenerator(
        settings.url,
        settings.model,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        timeout_s=settings.timeout_s,
        max_tokens=settings.max_tokens,
    )


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


def _remove_strangers(settings: Settings, engine: Engine) -> None:
    """Remove the folders of no generation that has an index, so that one that begins finds none under its name.

    Going back to a release before generations and forth again counts them anew: what was left then is of other
    documents, and perhaps of another dimension.

    INVARIANT: folders are listed before generations are read. One that begins meanwhile is not taken for a stranger.
    """
    there = [each for each in settings.home.glob("index-*") if re.fullmatch(r"index-\d+", each.name)]
    with reading(engine) as session:
        held = {index_name(each.id) for each in stored_generations.in_state(session, *stored_generations.HELD)}
    for folder in there:
        if folder.name not in held and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, onerror=_unless_gone)


def _unless_gone(_call: Callable[..., Any], _path: str, raised: tuple[Any, BaseException, Any]) -> None:
    """Whoever else begins here at the same time removes the same."""
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]


def index_name(generation: GenerationId) -> str:
    """Of a generation's folder, socket and address: what there was before generations is the first one's."""
    return "index" if generation == FIRST else f"index-{generation}"


def _analyzer() -> Analyzer:
    from app.adapters.snowball_analyzer import SnowballAnalyzer

    return SnowballAnalyzer()


def _dimension(embedding: EmbeddingSettings) -> int:
    from app.adapters.model_files import model_dimension

    return model_dimension(embedding.model, dimension=embedding.dimension)


def _tokenizer(embedding: EmbeddingSettings) -> Tokenizer:
    from app.adapters.local_embedder import LocalTokenizer

    return LocalTokenizer(chosen_model(embedding))


def _generations(
    settings: Settings, engine: Engine, *, patience_s: float, timeout_s: float, searching: bool
) -> "OpenedGenerations":
    from app.adapters.late_embedder import LateEmbedder, LateTokenizer, OneThreadEmbedder
    from app.adapters.opened_generations import Opened, OpenedGenerations
    from app.adapters.remembering_embedder import RememberingEmbedder
    from app.adapters.whole_index import WholeIndex

    def open_one(generation: Generation) -> Opened:
        made_with = EmbeddingSettings.model_validate_json(generation.makeup.embedding)
        here = {name: getattr(settings.embedding, name) for name in DECIDES_NO_VECTOR}
        embedding = made_with.model_copy(update=here)

        def load() -> Embedder:
            try:
                loaded = embedder(settings, embedding)
            except Unavailable as error:
                raise Unavailable(
                    f"The model of generation {generation.id} of the index is not there. {error.detail} Put it back; "
                    "or set another and start the server: questions are answered again when its index is built."
                ) from error
            own = _the_model_of(engine, generation, loaded)
            at_most = settings.embedding.remembered_queries
            return RememberingEmbedder(own, at_most=at_most) if searching and at_most else own

        late = LateEmbedder(load)
        index = _index(settings, generation, patience_s, timeout_s)

        def close() -> None:
            index.close()
            late.unload()

        return Opened(
            index=WholeIndex(index, engine) if searching else index,
            embedder=late if searching else OneThreadEmbedder(late),
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
