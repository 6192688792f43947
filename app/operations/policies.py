"""Policies as code: drafted, held against tables, approved, put in force, and brought back.

A set is put in force, whoever asks for it, only if

1. it has no faults, and names no group for people to turn to that is not there;
2. it was drafted on the set that is in force now;
3. every row of the stored tables comes out as it says;
4. as many administrators as are wanted approve this very text: people other than its author;
5. who puts it in force, and the bootstrap administrator, could still put another in force.

What is decided is looked at before the transaction and confirmed in it: of two at once, one is too late.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.access import (
    ADMINISTRATORS,
    BOOTSTRAP_ADMINISTRATOR,
    CONSOLE,
    IMPORTER,
    Action,
    Kind,
    PrincipalRef,
    Proof,
)
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted
from app.domain.instants import Instant
from app.domain.policies import (
    Activation,
    PolicyDigest,
    PolicyState,
    PolicyVersion,
    PolicyVersionId,
    Remark,
    RemarkCode,
    StoredTables,
    policy_digest,
    preceding,
)
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import on_record_if_refused, record_with
from app.operations.duties import would_open
from app.operations.identify import Credentials, Standing, identify, standing_of
from app.operations.who_sees_what import Outcome, Table, outcome, read_table
from app.ports import Institution, Ports
from app.store import directory
from app.store import policies as store
from app.store.database import reading, recording

ABSENT = "There is no policy version by that id. GET /v1/policies lists them."
OVERTAKEN = (
    "Another policy set is in force than the one that this was drafted on. Look at the difference, and draft it again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A version with its text, and how that differs from what is in force."""

    version: PolicyVersion
    cedar: str
    diff: str
    """As `diff -u` writes it; empty if nothing differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    faults: tuple[str, ...]
    """What keeps the text from being put in force; empty if nothing does."""
    remarks: tuple[Remark, ...]


# ---- Reading ---------------------------------------------------------------------------------------------------------


def listed(ports: Ports, credentials: Credentials) -> list[PolicyVersion]:
    """Every version, newest first. For administrators and auditors."""
    with reading(ports.engine) as session:
        _overseer(ports, session, credentials)
        return store.versions(session)


def shown(ports: Ports, credentials: Credentials, id: PolicyVersionId) -> Shown:
    """Raises `NotFound`. For administrators and auditors."""
    with reading(ports.engine) as session:
        _overseer(ports, session, credentials)
        version = _version(session, id)
        active = store.in_force(session)
        cedar = _text(session, version.digest)
        in_force = _text(session, active.digest) if active else ""
    return Shown(version=version, cedar=cedar, diff=_diff(in_force, cedar, version))


def shown_in_force(ports: Ports, credentials: Credentials) -> tuple[Shown, Activation]:
    """What decides now, and by whose word. For administrators and auditors. Raises `NotFound`."""
    with reading(ports.engine) as session:
        _overseer(ports, session, credentials)
        active = store.in_force(session)
        if active is None:
            raise NotFound("No policy set is in force.")
        return Shown(version=_version(session, active.version), cedar=_text(session, active.digest), diff=""), active


def validated(ports: Ports, credentials: Credentials, cedar: str) -> Validation:
    """What is wrong with a text, and what its author may not have meant beside what is in force."""
    with reading(ports.engine) as session:
        authorize.administrator(ports, session, credentials)
        in_force = store.in_force(session)
        before = _text(session, in_force.digest) if in_force else None
    return _validation(ports, cedar, before)


def tested(ports: Ports, credentials: Credentials, id: PolicyVersionId, tables: Mapping[str, str] | None) -> Outcome:
    """What a version makes of these tables; of the stored ones, if none are given. Nothing is changed."""
    with reading(ports.engine) as session:
        authorize.administrator(ports, session, credentials)
        cedar = _text(session, _version(session, id).digest)
        stored = store.stored_tables(session)
    _without_faults(ports, cedar)
    given = dict(stored.tables if stored else ()) if tables is None else tables
    return outcome(ports.policy_engine, cedar, _read(given))


def tables(ports: Ports, credentials: Credentials) -> StoredTables | None:
    """The tables that every activation is held against. For administrators and auditors."""
    with reading(ports.engine) as session:
        _overseer(ports, session, credentials)
        return store.stored_tables(session)


# ---- Changing --------------------------------------------------------------------------------------------------------


def draft(ports: Ports, credentials: Credentials, cedar: str, *, reason: str) -> tuple[PolicyVersion, Validation]:
    """Keep a text as a version that decides nothing. Raises `Invalid` with each fault, and `Conflict` for the very
    text that is in force."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        in_force = store.in_force(session)
        before = _text(session, in_force.digest) if in_force else None
    about = {"digest": policy_digest(cedar), "reason": reason}
    with on_record_if_refused(ports, standing, "draft-policies", about):
        _without_faults(ports, cedar)
        if cedar == before:
            raise Conflict("This is the very text that is in force.")
    validation = _validation(ports, cedar, before)
    with recording(ports.engine, ports.now()) as (session, at):
        id = PolicyVersionId(f"pol_{ports.new_id()}")
        drafted = store.record_draft(session, id, cedar, reason=reason, at=at, by=standing.principal.subject.ref)
        _on_record(session, ports, standing, "draft-policies", {"policy": drafted.id, **about})
    return drafted, validation


def discard(ports: Ports, credentials: Credentials, id: PolicyVersionId) -> None:
    """Take a draft out of the running; its text is kept. Raises `NotFound`, and `Conflict` if it is no draft."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
    with recording(ports.engine, ports.now()) as (session, at):
        found = _draft(session, id)
        store.discard(session, id, at=at, by=standing.principal.subject.ref)
        _on_record(session, ports, standing, "discard-policies", {"policy": id, "digest": found.digest})


def approve(ports: Ports, credentials: Credentials, id: PolicyVersionId, digest: PolicyDigest) -> PolicyVersion:
    """Let an administrator say that this text may be put in force.

    Raises `NotPermitted` to the author, to whoever the author let in, and to the bootstrap administrator, who is no
    person; `Conflict` if the version is no draft, or has another digest than was looked at.
    """
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        found = _version(session, id)
        _second_person(session, standing, found)
    approver = standing.principal.subject.ref
    about = {"policy": id, "digest": digest}
    with (
        on_record_if_refused(ports, standing, "approve-policies", about),
        recording(ports.engine, ports.now()) as (session, at),
    ):
        found = _draft(session, id)
        if found.digest != digest:
            raise Conflict("That version has another digest than the one you looked at.")
        store.approve(session, found, at=at, by=approver)
        _on_record(session, ports, standing, "approve-policies", about)
        return _version(session, id)


def activate(
    ports: Ports, credentials: Credentials, id: PolicyVersionId, *, reason: str, strict: bool = False
) -> PolicyVersion:
    """Let a draft decide, from the next request on. Raises `NotFound`, `Conflict`, or `Invalid` with each fault: of
    the text, of the tables, and if it is `strict` each remark."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        found = _version(session, id)
        cedar = _text(session, found.digest)
        in_force = store.in_force(session)
        before = _text(session, in_force.digest) if in_force else None
        stored = store.stored_tables(session)
        absent = _absent_groups(ports, session, cedar)
        administering = frozenset(each.by for each in found.approvals if _administers(ports, session, each.by))
        opening = before is not None and would_open(ports, session, standing, before=before, after=cedar)
    about = {"policy": id, "digest": found.digest, "reason": reason}
    with on_record_if_refused(ports, standing, "activate-policies", about):
        _current_draft(found, in_force)
        _without_faults(ports, cedar, absent)
        _without_remarks(_validation(ports, cedar, before).remarks if strict else ())
        _as_the_tables_say(ports, cedar, stored)
        _locks_nobody_out(ports, cedar, standing)
        with recording(ports.engine, ports.now(), "policies") as (session, at):
            found = _version(session, id)
            _current_draft(found, store.in_force(session))
            if store.stored_tables(session) != stored:
                raise Conflict("The stored tables were changed just now. Try again.")
            approvers = _approvers(found, stored, administering)
            _approved(ports, found, approvers)
            if opening and not approvers - {standing.principal.subject.ref}:
                raise NotPermitted(
                    "Under this policy set you could see or do more than now, so another administrator has to approve "
                    f"it: POST /v1/policies/{found.id}/approve."
                )
            store.activate(session, found, reason=reason, at=at, by=standing.principal.subject.ref)
            _on_record(session, ports, standing, "activate-policies", about)
            return _version(session, id)


def roll_back(
    ports: Ports, credentials: Credentials, *, reason: str, to: PolicyVersionId | None = None
) -> PolicyVersion:
    """Let the set decide again that decided before this one, or the one that is named, from the next request on.

    What stood just before needs nobody else and is held against no table: it stood, and there may be no time. For
    another, tables count; where approvals are wanted it is drafted again instead.
    """
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        history = store.activations(session)
        last = preceding(history)
        target = _restored(session, history, to)
        cedar = _text(session, target.digest)
        stored = store.stored_tables(session)
        before = _text(session, history[-1].digest)
        opening = would_open(ports, session, standing, before=before, after=cedar)
    about = {"policy": target.version, "digest": target.digest, "reason": reason}
    with on_record_if_refused(ports, standing, "roll-back-policies", about):
        _without_faults(ports, cedar)
        if target != last:
            if ports.policy_approvals:
                raise Conflict(
                    "Other administrators approve what is put in force here, and only the set just before this one "
                    "comes back without them. Draft the text of that version again."
                )
            _as_the_tables_say(ports, cedar, stored)
            if opening:
                raise NotPermitted(
                    "Under that policy set you could see or do more than now. Draft its text again, and let another "
                    "administrator approve it."
                )
        _locks_nobody_out(ports, cedar, standing)
        with recording(ports.engine, ports.now(), "policies") as (session, at):
            if store.in_force(session) != (history[-1] if history else None):
                raise Conflict("Another policy set was put in force just now. Look at it, and try again.")
            found = _version(session, target.version)
            by = standing.principal.subject.ref
            store.activate(session, found, reason=reason, at=at, by=by, restores=target.id)
            _on_record(session, ports, standing, "roll-back-policies", about)
            return _version(session, target.version)


def put_tables(
    ports: Ports, credentials: Credentials, new: Mapping[str, str], *, reason: str
) -> tuple[StoredTables, Outcome]:
    """Let these be the tables that activations are held against, and say how the set in force stands by them.

    They may fail now: a table can be written before the policy is. Raises `Invalid` with each mistake.
    """
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        in_force = store.in_force(session)
        cedar = _text(session, in_force.digest) if in_force else ""
    about = {"tables": {name: policy_digest(text) for name, text in sorted(new.items())}, "reason": reason}
    with on_record_if_refused(ports, standing, "put-policy-tests", about):
        read = _read(new)
    stands = outcome(ports.policy_engine, cedar, read)
    with recording(ports.engine, ports.now()) as (session, at):
        stored = StoredTables(
            tables=tuple(sorted(new.items())), reason=reason, at=at, by=standing.principal.subject.ref
        )
        store.record_tables(session, stored)
        _on_record(session, ports, standing, "put-policy-tests", about)
    return stored, stands


# ---- What must hold --------------------------------------------------------------------------------------------------


def _without_faults(ports: Ports, cedar: str, more: Sequence[str] = ()) -> None:
    faults = (*ports.policy_engine.validate(cedar), *more)
    if faults:
        raise Invalid(
            "This policy set has faults and cannot be put in force: see errors.",
            faults=tuple(Fault(detail=each, pointer="/cedar") for each in faults),
        )


def _absent_groups(ports: Ports, session: Session, cedar: str) -> list[str]:
    """A sentence for each group that a policy sends people to and the directory does not have."""
    if ports.policy_engine.validate(cedar):
        return []
    named = [(rule, ref) for rule in ports.policy_engine.rules(cedar) for ref in rule.turns_to]
    absent = set(directory.missing(session, [ref for _, ref in named]))
    return [
        f"Policy {rule.id!r} turns to {ref}, which is not in the directory." for rule, ref in named if ref in absent
    ]


def _without_remarks(remarks: Sequence[Remark]) -> None:
    if remarks:
        raise Invalid(
            "There are warnings about this policy set, and strict was asked for: see errors.",
            faults=tuple(Fault(detail=each.sentence, pointer="/cedar") for each in remarks),
        )


def _current_draft(found: PolicyVersion, in_force: Activation | None) -> None:
    if found.state is not PolicyState.DRAFT:
        raise Conflict(
            f"This version is {found.state}: only a draft is put in force. A rollback brings an earlier back."
        )
    if in_force is not None and found.based_on != in_force.digest:
        raise Conflict(OVERTAKEN)


def _as_the_tables_say(ports: Ports, cedar: str, stored: StoredTables | None) -> None:
    if stored is None:
        return
    failures = outcome(ports.policy_engine, cedar, _read(dict(stored.tables))).failures
    if failures:
        raise Invalid(
            f"{len(failures)} of what the stored tables say would not hold: see errors. If it is meant, change the "
            "tables first.",
            faults=tuple(Fault(detail=each.sentence, pointer=f"/tables/{each.table}") for each in failures),
        )


def _locks_nobody_out(ports: Ports, cedar: str, standing: Standing) -> None:
    """INVARIANT: whoever puts a set in force can put another in force: a set that nobody can replace is for ever."""
    with reading(ports.engine) as session:
        bootstrap = standing_of(ports, session, BOOTSTRAP_ADMINISTRATOR, actors=(), proof=Proof.PROVEN)
        for each, called in ((standing, "you"), (bootstrap, "the bootstrap administrator")):
            if not authorize.would_permit(ports, session, cedar, each, Action.MANAGE, Institution()):
                raise Invalid(f"Under this policy set {called} could not manage any more, so it could not be undone.")


def _approvers(
    found: PolicyVersion, stored: StoredTables | None, administering: frozenset[PrincipalRef]
) -> frozenset[PrincipalRef]:
    """An approval counts if it was given to this text beside today's tables, by somebody who still administers."""
    since = stored.at if stored else Instant(0)
    counted = (each for each in found.approvals if each.digest == found.digest and each.at > since)
    return frozenset(each.by for each in counted) & administering


def _approved(ports: Ports, found: PolicyVersion, approvers: frozenset[PrincipalRef]) -> None:
    wanted = ports.policy_approvals - len(approvers)
    if wanted > 0:
        raise Conflict(
            f"Before this is put in force, {wanted} more administrator{'s' if wanted > 1 else ''} other than its "
            f"author must approve it: POST /v1/policies/{found.id}/approve."
        )


def _administers(ports: Ports, session: Session, ref: PrincipalRef) -> bool:
    standing = standing_of(ports, session, ref, actors=(), proof=Proof.PROVEN)
    return authorize.permitted(ports, session, standing, Action.MANAGE, Institution())


def _second_person(session: Session, standing: Standing, found: PolicyVersion) -> None:
    approver = standing.principal.subject
    if approver.kind is not Kind.USER or approver.ref == BOOTSTRAP_ADMINISTRATOR:
        raise NotPermitted("A policy set is approved by a person: an administrator with a key or token of their own.")
    if approver.ref == found.author:
        raise NotPermitted("Nobody approves a policy set of their own. Ask another administrator.")
    if directory.introduced_by(session, approver.ref, found.author, to=ADMINISTRATORS):
        raise NotPermitted(
            "The author of this policy set made you an administrator, or gave you a key, so you cannot be the second "
            "person. Ask an administrator whom somebody else let in."
        )


def _restored(session: Session, history: Sequence[Activation], to: PolicyVersionId | None) -> Activation:
    """The activation that is gone back to. Raises `NotFound` and `Conflict`."""
    last = preceding(history)
    if to is None:
        if last is None:
            raise Conflict("No policy set was in force before this one.")
        return last
    _version(session, to)
    if history and history[-1].version == to:
        raise Conflict("That version is in force.")
    if last is not None and last.version == to:
        return last
    stood = next((each for each in reversed(history) if each.version == to), None)
    if stood is None:
        raise Conflict("That version was never in force, so there is nothing to go back to. Activate it.")
    return stood


# ---- Steps -----------------------------------------------------------------------------------------------------------


def _validation(ports: Ports, cedar: str, in_force: str | None) -> Validation:
    faults = tuple(ports.policy_engine.validate(cedar))
    if faults:
        return Validation(faults=faults, remarks=())
    examination = ports.policy_engine.examine(cedar, in_force=in_force)
    with reading(ports.engine) as session:
        absent = set(directory.missing(session, [each.ref for each in examination.mentions]))
    unknown = [
        Remark(
            code=RemarkCode.UNKNOWN_NAME,
            policy=each.policy,
            line=each.line,
            sentence=f"Policy {each.policy!r} names {each.ref}, who is not in the directory.",
        )
        for each in examination.mentions
        if each.ref in absent - {CONSOLE, IMPORTER}
    ]
    return Validation(faults=(), remarks=(*examination.remarks, *unknown))


def _version(session: Session, id: PolicyVersionId) -> PolicyVersion:
    found = store.version(session, id)
    if found is None:
        raise NotFound(ABSENT)
    return found


def _draft(session: Session, id: PolicyVersionId) -> PolicyVersion:
    found = _version(session, id)
    if found.state is not PolicyState.DRAFT:
        raise Conflict(f"This version is {found.state}, and no draft any more.")
    return found


def _text(session: Session, digest: PolicyDigest) -> str:
    text = store.policy_text(session, digest)
    assert text is not None, "a version's text is kept for as long as the version is"
    return text


def _read(written: Mapping[str, str]) -> list[Table]:
    try:
        return [read_table(name, text) for name, text in sorted(written.items())]
    except Invalid as error:
        faults = tuple(replace(each, pointer=f"/tables{each.pointer}") for each in error.faults)
        raise Invalid(error.detail, faults=faults) from None


def _diff(old: str, new: str, version: PolicyVersion) -> str:
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), fromfile="in force", tofile=version.id, lineterm="", n=3
    )
    return "\n".join(lines)


def _overseer(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    standing = identify(ports, session, credentials)
    if not authorize.permitted(ports, session, standing, Action.AUDIT, Institution()):
        authorize.require(
            ports,
            session,
            standing,
            Action.MANAGE,
            Institution(),
            otherwise="Policies are read by administrators and auditors. Ask somebody in group:administrators.",
        )
    return standing


def _on_record(session: Session, ports: Ports, standing: Standing, what: str, about: Mapping[str, object]) -> None:
    record_with(
        session,
        ports,
        standing.principal,
        TraceKind.CHANGE,
        outcome="changed",
        request={"what": what, **about},
    )
