"""Jurisdictions, transfer rules and consents: where data may be used, and by whose leave."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import PrincipalRef
from app.domain.instants import FOREVER, Instant
from app.domain.jurisdictions import Consent, ConsentEvidence, Jurisdiction, Registers, Transfer
from app.store.database import in_pieces
from app.store.recorded import close, holds, replace_state
from app.store.tables import ConsentRow, JurisdictionRow, TransferRow


def registers(session: Session, *, at: Instant | None = None) -> Registers:
    """Jurisdictions and transfer rules as they were recorded at an instant, or are today."""
    return Registers(jurisdictions=jurisdictions(session, at=at), transfers=tuple(transfers(session, at=at)))


def jurisdictions(session: Session, *, at: Instant | None = None) -> dict[str, Jurisdiction]:
    """Every registered jurisdiction by id, in the order of ids."""
    rows = session.scalars(
        select(JurisdictionRow).where(holds(JurisdictionRow, at)).order_by(col(JurisdictionRow.name))
    )
    return {row.name: Jurisdiction(id=row.name, title=row.title, within=frozenset(row.within)) for row in rows}


def record_jurisdiction(session: Session, new: Jurisdiction, *, at: Instant, by: PrincipalRef) -> bool:
    """Let this hold from `at` on; False, and nothing recorded, if it already does."""
    if jurisdictions(session).get(new.id) == new:
        return False
    row = JurisdictionRow(
        name=new.id,
        title=new.title,
        within=sorted(new.within),
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    replace_state(session, row, col(JurisdictionRow.name) == new.id, at=at)
    return True


def end_jurisdiction(session: Session, id: str, *, at: Instant) -> bool:
    """Let it be a plain name again from `at` on; False if it is not registered."""
    return bool(close(session, JurisdictionRow, col(JurisdictionRow.name) == id, at=at))


def transfers(session: Session, *, at: Instant | None = None) -> list[Transfer]:
    """The rules that nobody has ended, their time come or not, in the order of where they lead from and to."""
    rows = session.scalars(
        select(TransferRow)
        .where(holds(TransferRow, at))
        .order_by(col(TransferRow.origin), col(TransferRow.destination))
    )
    return [_transfer(row) for row in rows]


def record_transfer(session: Session, new: Transfer, *, at: Instant) -> None:
    """Let it hold from `at` on, in the place of the one between the same two jurisdictions."""
    row = TransferRow(
        id=new.id,
        origin=new.origin,
        destination=new.destination,
        basis=new.basis,
        evidence=new.evidence,
        valid_from=new.valid_from,
        expires_at=new.expires_at,
        reason=new.reason,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=new.recorded_by,
    )
    between = (col(TransferRow.origin) == new.origin, col(TransferRow.destination) == new.destination)
    replace_state(session, row, *between, at=at)


def end_transfer(session: Session, id: str, *, reason: str, at: Instant, by: PrincipalRef) -> bool:
    """End a rule; False if there is none by that id that holds."""
    row = session.scalars(select(TransferRow).where(col(TransferRow.id) == id, holds(TransferRow))).first()
    if row is None:
        return False
    row.recorded_to, row.ended_by, row.end_reason = at, by, reason
    session.add(row)
    return True


def consents_to(session: Session, purpose: str, clients: Iterable[str]) -> list[Consent]:
    """Those of these clients to that purpose that are not withdrawn, their time come or not."""
    found: list[Consent] = []
    for some in in_pieces(clients):
        rows = session.scalars(
            select(ConsentRow).where(
                col(ConsentRow.purpose) == purpose, col(ConsentRow.client).in_(some), holds(ConsentRow)
            )
        )
        found += map(_consent, rows)
    return found


def consents(
    session: Session, *, client: str | None, purpose: str | None, purposes: Iterable[str] | None, limit: int
) -> list[Consent]:
    """The newest of those given, withdrawn ones too: of that client, to that purpose, to one of these purposes."""
    asked = select(ConsentRow)
    if client is not None:
        asked = asked.where(col(ConsentRow.client) == client)
    if purpose is not None:
        asked = asked.where(col(ConsentRow.purpose) == purpose)
    if purposes is not None:
        asked = asked.where(col(ConsentRow.purpose).in_(list(purposes)))
    rows = session.scalars(asked.order_by(col(ConsentRow.recorded_from).desc(), col(ConsentRow.id)).limit(limit))
    return [_consent(row) for row in rows]


def record_consent(session: Session, new: Consent) -> None:
    shown = {"uri": new.evidence.uri, "digest": new.evidence.digest, "text": new.evidence.text}
    session.add(
        ConsentRow(
            id=new.id,
            client=new.client,
            purpose=new.purpose,
            jurisdictions=sorted(new.jurisdictions),
            evidence={name: value for name, value in shown.items() if value is not None},
            given_at=new.given_at,
            expires_at=new.expires_at,
            recorded_from=new.recorded_at,
            recorded_to=FOREVER,
            recorded_by=new.recorded_by,
        )
    )


def consent(session: Session, id: str) -> Consent | None:
    """As it was given, withdrawn or not."""
    row = session.get(ConsentRow, id)
    return _consent(row) if row is not None else None


def withdraw_consent(session: Session, id: str, *, reason: str, at: Instant, by: PrincipalRef) -> bool:
    """Withdraw it; False if it is unknown or was withdrawn before."""
    row = session.scalars(select(ConsentRow).where(col(ConsentRow.id) == id, holds(ConsentRow))).first()
    if row is None:
        return False
    row.recorded_to, row.withdrawn_by, row.withdrawal_reason = at, by, reason
    session.add(row)
    return True


def _transfer(row: TransferRow) -> Transfer:
    return Transfer(
        id=row.id,
        origin=row.origin,
        destination=row.destination,
        basis=row.basis,
        evidence=row.evidence,
        valid_from=Instant(row.valid_from),
        expires_at=Instant(row.expires_at),
        reason=row.reason,
        recorded_at=Instant(row.recorded_from),
        recorded_by=PrincipalRef(row.recorded_by),
    )


def _consent(row: ConsentRow) -> Consent:
    return Consent(
        id=row.id,
        client=row.client,
        purpose=row.purpose,
        jurisdictions=frozenset(row.jurisdictions),
        evidence=ConsentEvidence(**row.evidence),
        given_at=Instant(row.given_at),
        expires_at=Instant(row.expires_at),
        recorded_at=Instant(row.recorded_from),
        recorded_by=PrincipalRef(row.recorded_by),
        withdrawn_at=Instant(row.recorded_to) if row.recorded_to != FOREVER else None,
        withdrawn_by=PrincipalRef(row.withdrawn_by) if row.withdrawn_by is not None else None,
        withdrawal_reason=row.withdrawal_reason,
    )
