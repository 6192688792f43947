"""Principals, memberships and API keys: who there is, in which groups, known by what."""

from collections import defaultdict
from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import CTE, Row, and_, bindparam, exists, literal, outerjoin, select, update
from sqlalchemy.orm import Session
from sqlmodel import SQLModel, col

from app.domain.access import (
    ALL_STAFF,
    BOOTSTRAP_ADMINISTRATOR,
    UNLIMITED,
    Action,
    Epochs,
    Kind,
    Party,
    PrincipalRef,
    Profile,
    Scope,
    kind_of,
)
from app.domain.instants import FOREVER, Instant
from app.domain.keys import Key
from app.domain.labels import Level, parse_level
from app.store.database import in_pieces, insert_absent
from app.store.recorded import close, holds, replace_state
from app.store.tables import EpochsRow, KeyRow, MembershipRow, PrincipalRow


def begin_epochs(session: Session) -> None:
    """Start the recorded clock and the counters, if they are not running."""
    insert_absent(
        session, EpochsRow, [{"id": 1, "instant": 0, "policies": 1, "directory": 1, "boundaries": 1, "grants": 1}]
    )


def epochs_and_instant(session: Session) -> tuple[Epochs, Instant]:
    """The counters that decisions are cached by, and the last recorded instant."""
    row = session.connection().execute(_EPOCHS).one()
    return _epochs(row), Instant(row.instant)


def key_by_digest(session: Session, digest: str) -> tuple[Key | None, Epochs, Instant]:
    """The key of that digest (None: nobody's today, or revoked), whether or not it has expired, with the epochs and
    the last recorded instant, in one query."""
    row = session.connection().execute(_KEY_AND_EPOCHS, {"digest": digest}).one()
    return (_key(row) if row.id is not None else None), _epochs(row), Instant(row.instant)


def profile(session: Session, ref: PrincipalRef, *, at: Instant | None = None) -> Profile | None:
    """What is recorded of a principal, with its direct groups; None if there is no such principal."""
    row = session.scalars(select(PrincipalRow).where(col(PrincipalRow.ref) == ref, holds(PrincipalRow, at))).first()
    if row is None:
        return None
    parents = session.scalars(
        select(col(MembershipRow.parent)).where(col(MembershipRow.member) == ref, holds(MembershipRow, at))
    )
    return _profile(row, frozenset(PrincipalRef(parent) for parent in parents))


def _profile(row: PrincipalRow, groups: frozenset[PrincipalRef]) -> Profile:
    return Profile(
        ref=PrincipalRef(row.ref),
        display_name=row.display_name,
        groups=groups,
        clearance=parse_level(row.clearance),
        categories=frozenset(row.categories),
        jurisdictions=frozenset(row.jurisdictions),
        purposes=frozenset(row.purposes),
        collections=frozenset(row.collections),
        active=row.active,
        may_assert=row.may_assert,
        team=row.team,
    )


def profiles(session: Session, refs: Iterable[PrincipalRef]) -> dict[PrincipalRef, tuple[Profile, Instant]]:
    """As `profile`, of several at once, with when each was recorded; those that are not there are left out."""
    rows: list[PrincipalRow] = []
    parents: dict[str, set[PrincipalRef]] = defaultdict(set)
    for some in in_pieces(refs):
        rows += session.scalars(select(PrincipalRow).where(col(PrincipalRow.ref).in_(some), holds(PrincipalRow)))
        edges = select(col(MembershipRow.member), col(MembershipRow.parent))
        for member, parent in session.execute(edges.where(col(MembershipRow.member).in_(some), holds(MembershipRow))):
            parents[member].add(PrincipalRef(parent))
    return {
        PrincipalRef(row.ref): (_profile(row, frozenset(parents[row.ref])), Instant(row.recorded_from)) for row in rows
    }


def ever_recorded(session: Session, ref: PrincipalRef) -> bool:
    """Whether there is or was a principal by that reference."""
    return session.scalars(select(col(PrincipalRow.id)).where(col(PrincipalRow.ref) == ref)).first() is not None


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

    Memberships that one of `not_by` recorded, or could have by a key that it knows, do not count.
    """
    parent_group = and_(col(PrincipalRow.ref) == col(MembershipRow.parent), holds(PrincipalRow, at))
    held = (
        select(col(MembershipRow.member), col(MembershipRow.parent))
        .join(PrincipalRow, parent_group)
        .where(holds(MembershipRow, at), col(PrincipalRow.active))
    )
    if not_by:
        known = _keys_known_to(not_by)
        recorder, recorded = col(MembershipRow.recorded_by), col(MembershipRow.recorded_from)
        by_one_of_theirs = exists().where(known.c.principal == recorder, recorded.between(known.c.begins, known.c.ends))
        held = held.where(recorder.not_in(sorted(not_by)), ~by_one_of_theirs)
    edges = held.subquery()
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


def active_refs(session: Session, kind: Kind, *, skip: int, limit: int) -> list[PrincipalRef]:
    """The active principals of a kind today, by reference, from the one after the first `skip`."""
    query = select(col(PrincipalRow.ref)).where(
        holds(PrincipalRow), col(PrincipalRow.active), col(PrincipalRow.ref).startswith(f"{kind}:")
    )
    return [
        PrincipalRef(ref) for ref in session.scalars(query.order_by(col(PrincipalRow.ref)).offset(skip).limit(limit))
    ]


def record_key(
    session: Session,
    *,
    id: str,
    principal: PrincipalRef,
    digest: str,
    at: Instant,
    by: PrincipalRef,
    scope: Scope = UNLIMITED,
    expires: Instant | None = None,
    note: str = "",
) -> None:
    row = KeyRow(
        id=id,
        principal=principal,
        digest=digest,
        actions=sorted(scope.actions),
        collections=sorted(scope.collections),
        note=note,
        expires_at=expires,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    session.add(row)


def key(session: Session, principal: PrincipalRef, id: str) -> Key | None:
    """A principal's key, revoked or expired ones too."""
    row = session.get(KeyRow, id)
    return _key(row) if row is not None and row.principal == principal else None


def keys(session: Session, principal: PrincipalRef) -> list[Key]:
    """Every key that a principal has or had, the newest first."""
    rows = session.scalars(
        select(KeyRow)
        .where(col(KeyRow.principal) == principal)
        .order_by(col(KeyRow.recorded_from).desc(), col(KeyRow.id))
    )
    return [_key(row) for row in rows]


def retire_key(session: Session, id: str, *, until: Instant) -> None:
    """Let a key end then: it was rotated."""
    session.execute(update(KeyRow).where(col(KeyRow.id) == id).values(retires_at=until))


def note_uses(session: Session, uses: Mapping[str, Instant]) -> None:
    """Write down when keys were last used. It is no history: call it in work in progress."""
    for id, at in sorted(uses.items()):
        earlier = col(KeyRow.last_used).is_(None) | (col(KeyRow.last_used) < at)
        session.execute(update(KeyRow).where(col(KeyRow.id) == id, earlier).values(last_used=at))


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
    """Whether `by` may know a key of `ref`'s that is in force, or gave a step without which `ref` is not in the group
    `to`: itself, or by a key that it may know."""
    theirs = frozenset({by})
    return holds_key_by(session, ref, theirs) or to not in groups_above(session, [ref], not_by=theirs)


def _epochs(row: Row[*tuple[Any, ...]]) -> Epochs:
    return Epochs(**{name: getattr(row, name) for name in _COUNTED})


def _key(row: KeyRow | Row[*tuple[Any, ...]]) -> Key:
    return Key(
        id=row.id,
        principal=PrincipalRef(row.principal),
        scope=Scope(actions=frozenset(map(Action, row.actions)), collections=frozenset(row.collections)),
        created=Instant(row.recorded_from),
        created_by=PrincipalRef(row.recorded_by),
        expires=_instant(row.expires_at),
        retires=_instant(row.retires_at),
        revoked=Instant(row.recorded_to) if row.recorded_to != FOREVER else None,
        last_used=_instant(row.last_used),
        note=row.note,
    )


def _instant(stored: int | None) -> Instant | None:
    return Instant(stored) if stored is not None else None


_COUNTED = ("policies", "directory", "boundaries", "grants", "generation")
_COUNTERS = (*(col(getattr(EpochsRow, name)) for name in _COUNTED), col(EpochsRow.instant))
_EPOCHS = select(*_COUNTERS)


_KEY_AND_EPOCHS = select(SQLModel.metadata.tables["keys"], *_COUNTERS).select_from(
    outerjoin(EpochsRow, KeyRow, and_(col(KeyRow.digest) == bindparam("digest"), holds(KeyRow)))
)


def holds_key_by(session: Session, principal: PrincipalRef, issuers: frozenset[PrincipalRef]) -> bool:
    """Whether one of these may know a key in force of a principal's: it issued that, or a key that was good when that
    was issued with it, or rotated into it, and so on."""
    known = _keys_known_to(issuers)
    held = select(known.c.id).where(known.c.principal == principal, known.c.ends == FOREVER)
    return session.scalars(held.limit(1)).first() is not None


def _keys_known_to(issuers: Iterable[PrincipalRef]) -> CTE:
    """Every key that one of these was shown, or could have been: whose it is, and from when to when it was good."""
    issued = select(
        col(KeyRow.id),
        col(KeyRow.principal),
        col(KeyRow.recorded_from).label("begins"),
        col(KeyRow.recorded_to).label("ends"),
        col(KeyRow.recorded_by).label("by"),
    ).subquery()
    columns = (issued.c.id, issued.c.principal, issued.c.begins, issued.c.ends)
    known = select(*columns).where(issued.c.by.in_(sorted(issuers))).cte("known", recursive=True)
    with_one_of_them = (issued.c.by == known.c.principal) & issued.c.begins.between(known.c.begins, known.c.ends)
    return known.union(select(*columns).join(known, with_one_of_them))


def key_digests(session: Session, principal: PrincipalRef) -> frozenset[str]:
    """The digests of a principal's keys in force."""
    return frozenset(
        session.scalars(select(col(KeyRow.digest)).where(col(KeyRow.principal) == principal, holds(KeyRow)))
    )
