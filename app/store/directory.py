"""Principals, memberships and API keys: who there is, in which groups, known by what."""

from collections.abc import Collection as Several
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, and_, bindparam, literal, outerjoin, select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import (
    ALL_STAFF,
    BOOTSTRAP_ADMINISTRATOR,
    Epochs,
    Kind,
    Party,
    PrincipalRef,
    Profile,
    kind_of,
)
from app.domain.instants import FOREVER, Instant
from app.domain.labels import Level, parse_level
from app.store.database import insert_absent
from app.store.recorded import close, holds, replace_state
from app.store.tables import EpochsRow, KeyRow, MembershipRow, PrincipalRow


def begin_epochs(session: Session) -> None:
    """Start the recorded clock and the counters, if they are not running."""
    insert_absent(
        session, EpochsRow, [{"id": 1, "instant": 0, "policies": 1, "directory": 1, "boundaries": 1, "grants": 1}]
    )


def epochs_and_instant(session: Session) -> tuple[Epochs, Instant]:
    """The counters that decisions are cached by, and the last recorded instant."""
    row = session.execute(_EPOCHS).one()
    return _epochs(row), Instant(row.instant)


def holder_of_key(session: Session, digest: str) -> tuple[PrincipalRef | None, Epochs, Instant]:
    """Whose key that is (None: nobody's today) with the epochs and the last recorded instant, in one query."""
    row = session.execute(_KEY_AND_EPOCHS, {"digest": digest}).one()
    holder = PrincipalRef(row.principal) if row.principal is not None else None
    return holder, _epochs(row), Instant(row.instant)


def profile(session: Session, ref: PrincipalRef, *, at: Instant | None = None) -> Profile | None:
    """What is recorded of a principal, with its direct groups; None if there is no such principal."""
    row = session.scalars(select(PrincipalRow).where(col(PrincipalRow.ref) == ref, holds(PrincipalRow, at))).first()
    if row is None:
        return None
    parents = session.scalars(
        select(col(MembershipRow.parent)).where(col(MembershipRow.member) == ref, holds(MembershipRow, at))
    )
    return Profile(
        ref=PrincipalRef(row.ref),
        display_name=row.display_name,
        groups=frozenset(PrincipalRef(parent) for parent in parents),
        clearance=parse_level(row.clearance),
        categories=frozenset(row.categories),
        jurisdictions=frozenset(row.jurisdictions),
        purposes=frozenset(row.purposes),
        collections=frozenset(row.collections),
        active=row.active,
        may_assert=row.may_assert,
        team=row.team,
    )


def party(session: Session, ref: PrincipalRef, *, at: Instant | None = None) -> Party:
    """One side of a principal: its profile with every group it is in, through active groups only.

    Somebody who is not in the directory is a party that is inactive and in no group: policies deny it by the rule
    for the inactive, and it looks the same as somebody who left.
    """
    found = profile(session, ref, at=at)
    if found is None:
        return Party(profile=unknown(ref), groups=frozenset())
    seeds = {ref}
    if found.kind is Kind.USER and found.active and ref != BOOTSTRAP_ADMINISTRATOR:
        seeds.add(ALL_STAFF)
    return Party(profile=found, groups=groups_above(session, seeds, at=at) | (seeds - {ref}))


def unknown(ref: PrincipalRef) -> Profile:
    return Profile(ref=ref, display_name=ref, clearance=Level.PUBLIC, active=False)


def groups_above(
    session: Session,
    members: Iterable[PrincipalRef],
    *,
    at: Instant | None = None,
    not_by: frozenset[PrincipalRef] = frozenset(),
) -> frozenset[PrincipalRef]:
    """Every active group that holds one of `members`, directly or through other active groups.

    Memberships that one of `not_by` recorded do not count.
    """
    parent_group = and_(col(PrincipalRow.ref) == col(MembershipRow.parent), holds(PrincipalRow, at))
    edges = (
        select(col(MembershipRow.member), col(MembershipRow.parent))
        .join(PrincipalRow, parent_group)
        .where(
            holds(MembershipRow, at), col(PrincipalRow.active), col(MembershipRow.recorded_by).not_in(sorted(not_by))
        )
        .subquery()
    )
    above = select(edges.c.parent).where(edges.c.member.in_(list(members))).cte("above", recursive=True)
    above = above.union(select(edges.c.parent).join(above, edges.c.member == above.c.parent))
    return frozenset(PrincipalRef(ref) for ref in session.scalars(select(above.c.parent)))


def missing(session: Session, refs: Several[PrincipalRef]) -> list[PrincipalRef]:
    """Those of `refs` that the directory does not know today, sorted."""
    known = set(
        session.scalars(select(col(PrincipalRow.ref)).where(col(PrincipalRow.ref).in_(refs), holds(PrincipalRow)))
    )
    return sorted(ref for ref in set(refs) if ref not in known)


def record_principal(session: Session, new: Profile, *, at: Instant, by: PrincipalRef) -> bool:
    """Let this profile hold from `at` on; False, and nothing recorded, if it already does."""
    old = profile(session, new.ref)
    if old == new:
        return False
    row = PrincipalRow(
        ref=new.ref,
        display_name=new.display_name,
        clearance=new.clearance.word,
        categories=sorted(new.categories),
        jurisdictions=sorted(new.jurisdictions),
        purposes=sorted(new.purposes),
        collections=sorted(new.collections),
        active=new.active,
        may_assert=new.may_assert,
        team=new.team,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    replace_state(session, row, col(PrincipalRow.ref) == new.ref, at=at)
    before = old.groups if old else frozenset()
    left = before - new.groups
    close(session, MembershipRow, col(MembershipRow.member) == new.ref, col(MembershipRow.parent).in_(left), at=at)
    for parent in sorted(new.groups - before):
        session.add(MembershipRow(member=new.ref, parent=parent, recorded_from=at, recorded_to=FOREVER, recorded_by=by))
    return True


def principals(session: Session, *, kind: Kind | None = None) -> list[Profile]:
    """Everybody recorded today, by reference."""
    refs = session.scalars(select(col(PrincipalRow.ref)).where(holds(PrincipalRow)).order_by(col(PrincipalRow.ref)))
    wanted = [PrincipalRef(ref) for ref in refs if kind is None or kind_of(PrincipalRef(ref)) is kind]
    return [found for ref in wanted if (found := profile(session, ref))]


def record_key(
    session: Session, *, id: str, principal: PrincipalRef, digest: str, at: Instant, by: PrincipalRef
) -> None:
    session.add(
        KeyRow(id=id, principal=principal, digest=digest, recorded_from=at, recorded_to=FOREVER, recorded_by=by)
    )


def revoke_keys(
    session: Session, principal: PrincipalRef, *, at: Instant, by: PrincipalRef, id: str | None = None
) -> int:
    """Revoke one key of a principal, or all of them; says how many were in force."""
    rows = session.scalars(
        select(KeyRow).where(
            col(KeyRow.principal) == principal, holds(KeyRow), literal(id is None) | (col(KeyRow.id) == (id or ""))
        )
    ).all()
    for row in rows:
        row.recorded_to, row.revoked_by = at, by
        session.add(row)
    return len(rows)


def introduced_by(session: Session, ref: PrincipalRef, by: PrincipalRef, *, to: PrincipalRef) -> bool:
    """Whether `by` gave `ref` a key that is in force, or a step of the way by which `ref` is in the group `to`."""
    given = select(col(KeyRow.id)).where(col(KeyRow.principal) == ref, col(KeyRow.recorded_by) == by, holds(KeyRow))
    if session.scalars(given).first() is not None:
        return True
    below = {ref, *groups_above(session, [ref])}
    steps = session.execute(
        select(col(MembershipRow.member), col(MembershipRow.parent)).where(
            col(MembershipRow.recorded_by) == by, col(MembershipRow.member).in_(below), holds(MembershipRow)
        )
    )
    return any(step.parent == to or to in groups_above(session, [PrincipalRef(step.parent)]) for step in steps.all())


def _epochs(row: Row[*tuple[Any, ...]]) -> Epochs:
    return Epochs(policies=row.policies, directory=row.directory, boundaries=row.boundaries, grants=row.grants)


_COUNTERS = (
    col(EpochsRow.policies),
    col(EpochsRow.directory),
    col(EpochsRow.boundaries),
    col(EpochsRow.grants),
    col(EpochsRow.instant),
)
_EPOCHS = select(*_COUNTERS)


_KEY_AND_EPOCHS = select(col(KeyRow.principal), *_COUNTERS).select_from(
    outerjoin(EpochsRow, KeyRow, and_(col(KeyRow.digest) == bindparam("digest"), holds(KeyRow)))
)


def holds_key_by(session: Session, principal: PrincipalRef, issuers: frozenset[PrincipalRef]) -> bool:
    """Whether one of a principal's keys in force was issued by one of these, who may know it."""
    issued = select(col(KeyRow.id)).where(
        col(KeyRow.principal) == principal, holds(KeyRow), col(KeyRow.recorded_by).in_(sorted(issuers))
    )
    return session.scalars(issued.limit(1)).first() is not None


def key_digests(session: Session, principal: PrincipalRef) -> frozenset[str]:
    """The digests of a principal's keys in force."""
    return frozenset(
        session.scalars(select(col(KeyRow.digest)).where(col(KeyRow.principal) == principal, holds(KeyRow)))
    )
