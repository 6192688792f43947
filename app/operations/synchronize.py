"""Telling the index where versions stand, from what SQL says now."""

from collections.abc import Mapping, Sequence

from app.domain.corpus import VersionId, embedded_text, text_digest
from app.domain.demands import marks_of
from app.domain.errors import Unavailable
from app.domain.evidence import IndexEntry, Placement, Vector, chunk_of
from app.operations.generations import active
from app.ports import Ports
from app.store import erasing, generations, publishing
from app.store.database import reading, writing

_MAX_TASKS = 500

_EMBEDDED_AT_ONCE = 64

_MOVED_AT_ONCE = 250
"""Versions told of in one write: its flush takes most of the time, 0.2 s whether a point is moved or hundreds are."""


def synchronize(ports: Ports, versions: Sequence[VersionId] | None = None) -> int:
    """Carry out the pending tasks of the index that answers, of these versions or of all; says how many there were.

    INVARIANT: whoever wrote last has read SQL after writing. Two may synchronize one version at once, and the slower
    may write what is no longer so; each therefore reads again after its write, and writes again if SQL has moved.
    One whose write failed may have written all the same, and cannot tell what; it leaves tasks that are new, since
    those it had read may be removed by another that was done before that write.
    """
    ports, done = active(ports), 0
    while some := tell_some(ports, versions):
        done += some
    return done


def tell_some(ports: Ports, versions: Sequence[VersionId] | None = None, *, at_most: int = _MAX_TASKS) -> int:
    """As `synchronize`, of the generation that the ports are of, and no more than so many tasks unless versions are
    named."""
    own = ports.generation
    with reading(ports.engine) as session:
        tasks = (
            publishing.index_tasks(session, limit=at_most, generation=own)
            if versions is None
            else publishing.index_tasks_of(session, versions, generation=own)
        )
    if not tasks:
        return 0
    wanted: dict[VersionId, bool] = {}
    for _, version, whole in tasks:
        wanted[version] = wanted.get(version, False) or whole
    try:
        _settle(ports, wanted)
    except Unavailable:
        with writing(ports.engine) as session:
            publishing.renew_index_tasks(session, [task for task, _, _ in tasks], wanted, generation=own)
        raise
    with writing(ports.engine) as session:
        publishing.remove_index_tasks(session, [task for task, _, _ in tasks])
    return len(tasks)


def restock(ports: Ports) -> bool:
    """Have an index that was lost, or is older than the database, told of everything anew; whether it had to be."""
    return restock_own(active(ports))


def restock_own(ports: Ports) -> bool:
    """As `restock`, of the generation that the ports are of."""
    with reading(ports.engine) as session:
        published = publishing.published_chunks(session)
    if ports.index.size() >= published:
        return False
    with writing(ports.engine) as session:
        publishing.replace_index_tasks_by_all(session, ports.generation)
    return True


def index_versions(ports: Ports, versions: Sequence[VersionId]) -> list[Placement]:
    """Put every point of these versions into the index, with its vectors, as SQL says now. May be repeated.

    Returns where it put them: SQL may have moved by then.
    """
    with reading(ports.engine) as session:
        placements = publishing.placements_of(session, versions)
        chunks = publishing.indexed_chunks(session, versions, ports.embedder.fingerprint)
    placed = {chunk_of(each.point) for each in placements}
    chunks = [chunk for chunk in chunks if chunk.id in placed]  # what is being erased is placed nowhere
    texts = {chunk.id: embedded_text(chunk.title, chunk.section, chunk.text) for chunk in chunks}
    made = _embedded(ports, [texts[chunk.id] for chunk in chunks if chunk.vector is None])
    vectors = {chunk.id: chunk.vector or made[texts[chunk.id]] for chunk in chunks}
    lexical = {each.id: ports.analyzer.passage(texts[each.id], names=(each.title, *each.section)) for each in chunks}
    marks = {
        each.id: marks_of(
            each.text, title=each.title, section=each.section, language=ports.analyzer.language(each.text)
        )
        for each in chunks
    }
    ports.index.upsert(
        [
            IndexEntry(placement=each, dense=vectors[id], lexical=lexical[id], marks=marks[id])
            for each in placements
            for id in [chunk_of(each.point)]
        ]
    )
    return placements


def _embedded(ports: Ports, texts: Sequence[str]) -> dict[str, Vector]:
    """The vector of each text, kept for whoever needs it next: so many at a time, so that a kill costs no more."""
    made: dict[str, Vector] = {}
    distinct = list(dict.fromkeys(texts))
    for start in range(0, len(distinct), _EMBEDDED_AT_ONCE):
        some = distinct[start : start + _EMBEDDED_AT_ONCE]
        new = dict(zip(some, ports.embedder.embed_passages(some), strict=True))
        with writing(ports.engine) as session:
            by_digest = {text_digest(text): vector for text, vector in new.items()}
            wanted = erasing.wanted_embeddings(session, by_digest)
            kept = {digest: vector for digest, vector in by_digest.items() if digest in wanted}
            publishing.add_embeddings(session, kept, ports.embedder.fingerprint)
            if cut_off := sum(ports.tokenizer.count(text) > ports.tokenizer.max_tokens for text in new):
                generations.count_cut_off(session, ports.generation, cut_off)
        made |= new
    return made


def index_settled(ports: Ports, versions: Sequence[VersionId]) -> None:
    """As `index_versions`, until SQL says after the write what it said before; what is gone by then is taken out."""
    while (written := index_versions(ports, versions)) != (wanted := _placements(ports, versions)):
        ports.index.remove(sorted({each.point for each in written} - {each.point for each in wanted}))


def _settle(ports: Ports, wanted: Mapping[VersionId, bool]) -> None:
    for version in [version for version, whole in wanted.items() if whole]:
        index_settled(ports, [version])
    moving = [version for version, whole in wanted.items() if not whole]
    for start in range(0, len(moving), _MOVED_AT_ONCE):
        some = moving[start : start + _MOVED_AT_ONCE]
        while _moved(ports, some) != _placements(ports, some):
            pass


def _moved(ports: Ports, versions: Sequence[VersionId]) -> list[Placement]:
    placements = _placements(ports, versions)
    ports.index.move(placements)
    return placements


def _placements(ports: Ports, versions: Sequence[VersionId]) -> list[Placement]:
    with reading(ports.engine) as session:
        return publishing.placements_of(session, versions)
