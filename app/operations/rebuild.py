"""Building the next generation of the index beside the one that answers, letting it answer, and clearing the last away.

What holds:
1. A generation that is being built is told of every version, and of every change meanwhile, by tasks of its own.
2. It answers once nothing is left to tell it and it holds all that is published, from one transaction on.
3. Its predecessor stays until the requests that began with it have ended. Until then, erasing reaches it, too.
"""

import logging
from dataclasses import dataclass
from typing import Final

from sqlalchemy.engine import Engine

from app.domain.access import Action
from app.domain.corpus import Digest
from app.domain.errors import ModelChanged, Unavailable
from app.domain.generations import Generation, GenerationId, GenerationState, Makeup, Progress
from app.domain.instants import Instant
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record_with
from app.operations.generations import active, ports_of
from app.operations.identify import Credentials, identify
from app.operations.synchronize import restock_own, tell_some
from app.ports import Institution, Ports
from app.store import generations, publishing
from app.store.database import reading, recording, writing

logger = logging.getLogger(__name__)

GRACE_MS: Final = 15_000
"""How long a generation that was retired is left to the requests that began with it: longer than one may take."""

_CLAIM_MS: Final = 10_000
_AT_ONCE: Final = 4
"""Versions told of between two looks at whether there is something better to do."""

_SOON: Final = 200
"""Versions left to tell when whoever answers loads the model that is to come."""

_VECTORS_AT_ONCE: Final = 2_000

UNTIL_NOW: Final = "snowball-english-1"
"""The analyzer of what was indexed before generations were written down."""


# -- what is wanted ----------------------------------------------------------------------------------------------------


def configure(engine: Engine, makeup: Makeup, *, now: Instant) -> None:
    """Have the index made so, as configured: at every start, before anything else runs. May be repeated.

    Another generation is begun where the one that answers is made otherwise. One that is being built otherwise is given
    up: who changes a setting back has nothing to wait for.
    """
    with recording(engine, now) as (session, at):
        indexed = publishing.anything_staged(session)
        generations.describe_first(session, makeup, analyzer=UNTIL_NOW if indexed else makeup.analyzer, at=at)
        current, next_one = generations.active(session), generations.building(session)
        if next_one is not None and next_one.makeup == makeup:
            return
        if next_one is not None:
            generations.abandon(session, next_one.id, at=at)
        if current.makeup != makeup:
            generations.begin(session, makeup, at=at)


def renew_if_changed(ports: Ports) -> bool:
    """Begin a generation where the files of the model that answers are not those that its index was made with.

    Whether they are is known by loading it. Raises `Unavailable` if they are gone.
    """
    try:
        _ = active(ports).embedder.fingerprint
        return False
    except ModelChanged as error:
        logger.warning("%s", error.detail)
    with recording(ports.engine, ports.now()) as (session, at):
        if generations.building(session) is None:
            generations.begin(session, generations.active(session).makeup, at=at)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A generation, and how far it is if it is being built."""

    generation: Generation
    progress: Progress | None


def overview(ports: Ports, credentials: Credentials) -> list[Built]:
    """Every generation, newest first, to administrators and auditors."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        if not authorize.permitted(ports, session, standing, Action.AUDIT, Institution()):
            authorize.require(
                ports, session, standing, Action.MANAGE, Institution(), otherwise=authorize.ADMINISTRATORS_ONLY
            )
        return [
            Built(
                generation=each,
                progress=generations.progress(session, each.id) if each.state is GenerationState.BUILDING else None,
            )
            for each in generations.generations(session)
        ]


def begin(ports: Ports, credentials: Credentials) -> GenerationId:
    """Have the index built anew, as it is made today, or go on with what is being built. For administrators."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
    with recording(ports.engine, ports.now()) as (session, at):
        under_way = generations.building(session)
        if under_way is not None:
            return under_way.id
        id = generations.begin(session, generations.active(session).makeup, at=at)
        request = {"what": "reindex", "generation": id}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="accepted", request=request)
    return id


# -- building ----------------------------------------------------------------------------------------------------------


def build_some(ports: Ports, builder: str) -> bool:
    """Tell the generation that is being built of some versions, and let it answer when that was all; whether there was
    anything to do. Raises `Unavailable`."""
    if ports.generations is None:
        return False
    with reading(ports.engine) as session:
        next_one = generations.building(session)
    if next_one is None:
        return False
    now = ports.now()
    with writing(ports.engine) as session:
        if not generations.claim(session, next_one.id, builder, until=Instant(now + _CLAIM_MS), now=now):
            return False
    own = ports_of(ports, next_one)
    if tell_some(own, at_most=_AT_ONCE):
        return True
    if not restock_own(own):
        _activate_if_whole(own)
    return True


def _activate_if_whole(own: Ports) -> None:
    """2. In a recording, in which nothing is published or moved: what holds everything then holds everything."""
    size = own.index.size()
    with recording(own.engine, own.now()) as (session, at):
        next_one = generations.building(session)
        if next_one is None or next_one.id != own.generation:
            return
        if publishing.index_tasks(session, limit=1, generation=own.generation):
            return
        if size >= publishing.published_chunks(session):
            generations.activate(session, own.generation, at=at)


def remove_retired(ports: Ports, *, grace_ms: int = GRACE_MS) -> int:
    """3. Remove the indexes that nobody asks any more, and the vectors that none is made with; how many there were."""
    if ports.generations is None:
        return 0
    with reading(ports.engine) as session:
        retired = generations.in_state(session, GenerationState.RETIRED)
    over = [each for each in retired if (each.active_to or 0) + grace_ms <= ports.now()]
    for each in over:
        ports.generations.drop(each)
        with writing(ports.engine) as session:
            generations.remove(session, each.id)
    if over:
        _forget_vectors(ports)
    return len(over)


def _forget_vectors(ports: Ports) -> None:
    after: Digest | None = None
    while True:
        with writing(ports.engine) as session:
            after = generations.forget_vectors(session, after=after, limit=_VECTORS_AT_ONCE)
        if after is None:
            return


def look_ahead(ports: Ports) -> None:
    """Load what is soon to answer, and unload what no longer does: whoever asks next should not have to wait."""
    if ports.generations is None:
        return
    with reading(ports.engine) as session:
        held = generations.in_state(session, *generations.HELD)
        next_one = generations.building(session)
        soon = next_one is not None and (
            len(publishing.index_tasks(session, limit=_SOON, generation=next_one.id)) < _SOON
        )
    ports.generations.keep({each.id for each in held})
    current = next(each for each in held if each.state is GenerationState.ACTIVE)
    for each in (current, next_one) if next_one is not None and soon else (current,):
        try:
            _ = ports_of(ports, each).embedder.fingerprint
        except Unavailable as error:
            logger.warning("generation %d: %s", each.id, error.detail)
