"""One document taking the place of others, across uris."""

from sqlalchemy.orm import Session

from app.domain.corpus import DocumentId, Lifecycle, lifecycle
from app.domain.errors import Conflict, Fault, Invalid
from app.domain.instants import Instant
from app.operations.curate import curating, followed_up
from app.operations.identify import Credentials
from app.operations.submit import named
from app.ports import Ports
from app.store import corpus, succession
from app.store.database import reading, recording

_NO_SUCH_SUCCESSOR = "It is no other document that you own and may read. Name one by its id: doc_..."


def supersede(
    ports: Ports, credentials: Credentials, document: DocumentId, successor: DocumentId, *, begins: Instant | None
) -> Instant:
    """Let a document give way to another that is there already, for an owner of both; returns from when on.

    Unless it is stated: from when the successor's version in force began, or from now if the document began later.
    Raises what `amend` does; `Invalid` when the successor cannot be handled; `Conflict` when it was not published, is
    withdrawn, or is itself superseded by the document.
    """
    standing = curating(ports, credentials, document)
    with reading(ports.engine) as session:
        if named(ports, session, standing, "", [successor]).get(successor) in (None, document):
            fault = Fault(detail=_NO_SUCH_SUCCESSOR, pointer="/by")
            raise Invalid("That document cannot take the place of this one; nothing was changed.", faults=(fault,))
    with recording(ports.engine, ports.now()) as (session, at):
        if succession.leads_to(session, document, successor):
            raise Conflict("That document was superseded by this one. Submit it again first; nothing was changed.")
        natural = _begins(session, document, successor, at=at)
        valid_from = natural if begins is None else begins
        succession.supersede(session, document, successor, valid_from, at=at, by=standing.principal.subject.ref)
        moved = succession.versions_of(session, [document])
    followed_up(ports, standing, {"what": "supersede", "document": document, "by": successor}, moved)
    return valid_from


def _begins(session: Session, document: DocumentId, successor: DocumentId, *, at: Instant) -> Instant:
    taking = [each for each in corpus.versions_of(session, successor, valid_at=at) if not each.withdrawn]
    if not taking:
        raise Conflict("That document has no version that could take the place of this one; nothing was changed.")
    in_force = [each for each in taking if lifecycle(each, now=at) is Lifecycle.CURRENT]
    begins = (in_force or taking)[0].period.valid_from
    began = min((each.begins for each in corpus.versions_of(session, document)), default=begins)
    return begins if began < begins else at
