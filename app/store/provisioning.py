"""What other directories keep: their users and groups, beside the principals that these are."""

from collections import defaultdict
from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from app.domain.access import Kind, PrincipalRef
from app.domain.instants import FOREVER, Instant
from app.domain.labels import parse_level
from app.domain.provisioning import Provisioned, Related, ResourceId, Said, Stated, folded
from app.store import directory
from app.store.database import in_pieces
from app.store.recorded import close, holds, replace_state
from app.store.tables import MembershipRow, PrincipalRow, ProvisionedRow

By = Literal["id", "name", "external_id", "display_name"]
"""What resources are found by without looking at each."""


def resource(session: Session, id: ResourceId, *, members: bool = True) -> Provisioned | None:
    """A user or group as it is today; None if there is none by that id. `members`: a group's too."""
    return next(iter(resources(session, [id], members=members)), None)


def resources(session: Session, ids: Sequence[ResourceId], *, members: bool) -> list[Provisioned]:
    """Those of these that are there, in their order."""
    rows = [
        row
        for some in in_pieces(ids)
        for row in session.scalars(
            select(ProvisionedRow).where(col(ProvisionedRow.id).in_(some), holds(ProvisionedRow))
        )
    ]
    found = {each.id: each for each in _provisioned(session, rows, members=members)}
    return [found[id] for id in ids if id in found]


def count(session: Session, kinds: Several[Kind]) -> int:
    return session.execute(select(func.count()).where(*_of(kinds))).scalar_one()


def ids(session: Session, kinds: Several[Kind], *, after: ResourceId | None, limit: int) -> list[ResourceId]:
    """The ids of users or groups in their order, those that follow `after`."""
    query = select(col(ProvisionedRow.id)).where(*_of(kinds)).order_by(col(ProvisionedRow.id)).limit(limit)
    if after is not None:
        query = query.where(col(ProvisionedRow.id) > after)
    return [ResourceId(id) for id in session.scalars(query)]


def ids_from(session: Session, kinds: Several[Kind], *, start: int, limit: int) -> list[ResourceId]:
    """As `ids`, from a place on, counted from 0."""
    query = select(col(ProvisionedRow.id)).where(*_of(kinds)).order_by(col(ProvisionedRow.id))
    return [ResourceId(id) for id in session.scalars(query.offset(start).limit(limit))]


def ids_where(session: Session, kinds: Several[Kind], by: By, value: str) -> list[ResourceId]:
    """The ids of those with exactly that value, in their order; names are compared `folded`."""
    wanted = folded(value) if by in ("name", "display_name") else value
    column = col(getattr(ProvisionedRow, by))
    query = select(col(ProvisionedRow.id)).where(*_of(kinds), column == wanted).order_by(col(ProvisionedRow.id))
    return [ResourceId(id) for id in session.scalars(query)]


def refs_of(session: Session, ids: Iterable[ResourceId]) -> dict[ResourceId, PrincipalRef]:
    """The principal that each of these users and groups is; those that are not there are left out."""
    return {
        ResourceId(id): PrincipalRef(ref)
        for some in in_pieces(ids)
        for id, ref in session.execute(
            select(col(ProvisionedRow.id), col(ProvisionedRow.principal)).where(
                col(ProvisionedRow.id).in_(some), holds(ProvisionedRow)
            )
        )
    }


def record_resource(
    session: Session, id: ResourceId, ref: PrincipalRef, said: Said, *, created: Instant, at: Instant, by: PrincipalRef
) -> None:
    """Let this be what is said of it from `at` on."""
    stated = said.stated
    row = ProvisionedRow(
        id=id,
        principal=ref,
        kind=said.kind,
        name=folded(said.name),
        unique_name=folded(said.name) if said.kind is Kind.USER else None,
        display_name=folded(said.display_name),
        external_id=said.external_id,
        clearance=stated.clearance.word if stated.clearance is not None else None,
        categories=sorted(stated.categories) if stated.categories is not None else None,
        jurisdictions=sorted(stated.jurisdictions) if stated.jurisdictions is not None else None,
        team=stated.team,
        content=said.content,
        created_at=created,
        recorded_from=at,
        recorded_to=FOREVER,
        recorded_by=by,
    )
    replace_state(session, row, col(ProvisionedRow.id) == id, at=at)


def record_members(
    session: Session,
    group: PrincipalRef,
    members: Mapping[PrincipalRef, str | None],
    *,
    among: Several[PrincipalRef],
    at: Instant,
    by: PrincipalRef,
) -> tuple[frozenset[PrincipalRef], frozenset[PrincipalRef]]:
    """Let these, of all of `among`, be in the group, shown so; says who came and who left."""
    before = {
        PrincipalRef(row.member): row
        for row in session.scalars(
            select(MembershipRow).where(col(MembershipRow.parent) == group, holds(MembershipRow))
        )
        if row.member in among
    }
    ended = [ref for ref, row in before.items() if ref not in members or members[ref] != row.display]
    for some in in_pieces(ended):
        close(session, MembershipRow, col(MembershipRow.parent) == group, col(MembershipRow.member).in_(some), at=at)
    session.flush()
    for ref, display in members.items():
        if ref not in before or before[ref].display != display:
            session.add(
                MembershipRow(
                    member=ref, parent=group, display=display, recorded_from=at, recorded_to=FOREVER, recorded_by=by
                )
            )
    return frozenset(members.keys() - before.keys()), frozenset(before.keys() - members.keys())


def members_of(session: Session, group: PrincipalRef) -> dict[PrincipalRef, ResourceId]:
    """The direct members of a group that another directory keeps."""
    return {
        PrincipalRef(ref): ResourceId(id)
        for ref, id in session.execute(
            select(col(MembershipRow.member), col(ProvisionedRow.id))
            .join(ProvisionedRow, and_(col(ProvisionedRow.principal) == col(MembershipRow.member), _HOLDS))
            .where(col(MembershipRow.parent) == group, holds(MembershipRow))
        )
    }


def end(session: Session, id: ResourceId, ref: PrincipalRef, *, at: Instant, by: PrincipalRef) -> None:
    """Let a user or group be no more: in no group, with nobody in it, and with no key."""
    close(session, ProvisionedRow, col(ProvisionedRow.id) == id, at=at)
    close(session, MembershipRow, (col(MembershipRow.member) == ref) | (col(MembershipRow.parent) == ref), at=at)
    close(session, PrincipalRow, col(PrincipalRow.ref) == ref, at=at)
    directory.revoke_keys(session, ref, at=at, by=by)


_HOLDS = col(ProvisionedRow.recorded_to) == FOREVER


def _of(kinds: Several[Kind]) -> tuple[ColumnElement[bool], ...]:
    return col(ProvisionedRow.kind).in_(list(kinds)), _HOLDS


def _provisioned(session: Session, rows: Sequence[ProvisionedRow], *, members: bool) -> list[Provisioned]:
    groups = [row.principal for row in rows if row.kind == Kind.GROUP]
    related = _groups(session, [row.principal for row in rows if row.kind == Kind.USER])
    if members:
        related |= _members(session, groups)
    changes = _membership_changes(session, groups)
    profiles = directory.profiles(session, [PrincipalRef(row.principal) for row in rows])
    return [
        Provisioned(
            id=ResourceId(row.id),
            profile=profiles[PrincipalRef(row.principal)][0],
            stated=Stated(
                clearance=parse_level(row.clearance) if row.clearance is not None else None,
                categories=_set(row.categories),
                jurisdictions=_set(row.jurisdictions),
                team=row.team,
            ),
            external_id=row.external_id,
            content=row.content,
            related=tuple(related.get(row.principal, ())),
            created=Instant(row.created_at),
            changed=Instant(
                max(row.recorded_from, profiles[PrincipalRef(row.principal)][1], changes.get(row.principal, 0))
            ),
        )
        for row in rows
        if PrincipalRef(row.principal) in profiles
    ]


def _groups(session: Session, users: Sequence[str]) -> dict[str, list[Related]]:
    """The groups that each is directly in, of those that another directory keeps."""
    found: dict[str, list[Related]] = defaultdict(list)
    for some in in_pieces(users):
        query = (
            select(col(MembershipRow.member), col(ProvisionedRow.id), col(PrincipalRow.display_name))
            .join(ProvisionedRow, and_(col(ProvisionedRow.principal) == col(MembershipRow.parent), _HOLDS))
            .join(PrincipalRow, and_(col(PrincipalRow.ref) == col(MembershipRow.parent), holds(PrincipalRow)))
            .where(col(MembershipRow.member).in_(some), holds(MembershipRow))
            .order_by(col(ProvisionedRow.id))
        )
        for member, id, name in session.execute(query):
            found[member].append(Related(id=ResourceId(id), kind=Kind.GROUP, display=name))
    return found


def _members(session: Session, groups: Sequence[str]) -> dict[str, list[Related]]:
    found: dict[str, list[Related]] = defaultdict(list)
    for some in in_pieces(groups):
        query = (
            select(
                col(MembershipRow.parent), col(ProvisionedRow.id), col(ProvisionedRow.kind), col(MembershipRow.display)
            )
            .join(ProvisionedRow, and_(col(ProvisionedRow.principal) == col(MembershipRow.member), _HOLDS))
            .where(col(MembershipRow.parent).in_(some), holds(MembershipRow))
            .order_by(col(MembershipRow.id))
        )
        for parent, id, kind, display in session.execute(query):
            found[parent].append(Related(id=ResourceId(id), kind=Kind(kind), display=display))
    return found


def _membership_changes(session: Session, groups: Sequence[str]) -> dict[str, int]:
    """When somebody last came into each group, or left it."""
    left = case((col(MembershipRow.recorded_to) < FOREVER, col(MembershipRow.recorded_to)), else_=0)
    return {
        parent: max(came, gone)
        for some in in_pieces(groups)
        for parent, came, gone in session.execute(
            select(col(MembershipRow.parent), func.max(col(MembershipRow.recorded_from)), func.max(left))
            .where(col(MembershipRow.parent).in_(some))
            .group_by(col(MembershipRow.parent))
        )
    }


def _set(stored: list[str] | None) -> frozenset[str] | None:
    return frozenset(stored) if stored is not None else None
