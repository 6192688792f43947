"""The control plane: administrators lay down principals, keys, purposes and collections."""

from sqlalchemy.orm import Session

from app.domain.access import (
    ALL_STAFF,
    BOOTSTRAP_ADMINISTRATOR,
    BUILT_IN_GROUPS,
    Collection,
    Kind,
    PrincipalRef,
    Profile,
    Purpose,
)
from app.domain.errors import Conflict, Fault, Invalid, NotFound, NotPermitted
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import record, record_with
from app.operations.duties import laying_down
from app.operations.identify import Credentials, Standing, identify
from app.ports import Ports
from app.store import directory, registry
from app.store.database import reading, recording


def put_principal(ports: Ports, credentials: Credentials, profile: Profile) -> None:
    """Let this profile hold from now on. Raises `NotPermitted`, or `Invalid` naming each unknown group or purpose."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        laid_down = authorize.register(ports, session, standing)
        if profile.ref in (*BUILT_IN_GROUPS, BOOTSTRAP_ADMINISTRATOR):
            raise Conflict(f"{profile.ref} is built in and cannot be changed.")
        faults = _unknown_groups(session, profile)
        if profile.kind is Kind.GROUP and not profile.active:
            faults.append(Fault(detail="A group is always active: take its members out instead.", pointer="/active"))
        faults += [
            Fault(detail=f"{purpose} is not a registered purpose.", pointer="/purposes")
            for purpose in sorted(profile.purposes - frozenset(laid_down.purposes))
        ]
        faults += [
            Fault(detail=f"{name} is not a collection.", pointer="/collections")
            for name in sorted(profile.collections - frozenset(laid_down.collections))
        ]
    _raise_for(faults)
    with laying_down(ports, standing, "directory") as (session, at):
        directory.record_principal(session, profile, at=at, by=standing.principal.subject.ref)
    _on_record(ports, standing, "put-principal", profile.ref)


def principal(ports: Ports, credentials: Credentials, ref: PrincipalRef) -> Profile:
    with reading(ports.engine) as session:
        authorize.administrator(ports, session, credentials)
        found = directory.profile(session, ref)
    if found is None:
        raise NotFound(f"There is no principal {ref}.")
    return found


def principals(ports: Ports, credentials: Credentials) -> list[Profile]:
    with reading(ports.engine) as session:
        authorize.administrator(ports, session, credentials)
        return directory.principals(session)


def put_purpose(ports: Ports, credentials: Credentials, purpose: Purpose) -> None:
    """Let it be registered so from now on. Raises `NotPermitted`, or `Invalid` if its owner is nobody here."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        unknown = directory.missing(session, [purpose.owner]) if purpose.owner is not None else []
    _raise_for([Fault(detail=f"{ref} is not in the directory.", pointer="/owner") for ref in unknown])
    with laying_down(ports, standing, "directory") as (session, at):
        registry.record_purpose(session, purpose, at=at, by=standing.principal.subject.ref)
    _on_record(ports, standing, "put-purpose", purpose.id)


def end_purpose(ports: Ports, credentials: Credentials, id: str) -> None:
    """Register a purpose no longer: no question is put for it any more. Raises `NotPermitted` or `NotFound`."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
    with recording(ports.engine, ports.now(), "directory") as (session, at):
        if not registry.end_purpose(session, id, at=at):
            raise NotFound("There is no purpose registered by that name.")
        _on_record_with(session, ports, standing, "end-purpose", id)


def purposes(ports: Ports, credentials: Credentials) -> list[Purpose]:
    """The registered purposes: no secret to anybody with a key."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        if not standing.principal.subject.profile.active:
            raise NotPermitted("Whoever is not active sees nothing here. Ask an administrator.")
        return list(authorize.register(ports, session, standing).purposes.values())


def put_collection(ports: Ports, credentials: Credentials, collection: Collection) -> None:
    """Let a collection be so from now on. Raises `NotPermitted`, or `Invalid` naming each unknown name."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        laid_down = authorize.register(ports, session, standing)
        faults = [
            Fault(detail=f"{ref} is not in the directory.", pointer=f"/{where}")
            for where, refs in (("owners", collection.owners), ("default_readers", collection.default_readers))
            for ref in directory.missing(session, refs)
        ]
        faults += [
            Fault(detail=f"{purpose} is not a registered purpose.", pointer="/purposes")
            for purpose in sorted(collection.purposes - frozenset(laid_down.purposes))
        ]
    if not collection.owners:
        faults.append(Fault(detail="A collection has at least one owner.", pointer="/owners"))
    _raise_for(faults)
    with laying_down(ports, standing, "directory") as (session, at):
        registry.record_collection(session, collection, at=at, by=standing.principal.subject.ref)
    _on_record(ports, standing, "put-collection", collection.name)


def _unknown_groups(session: Session, profile: Profile) -> list[Fault]:
    faults = [
        Fault(detail=f"{ref} is not in the directory.", pointer="/groups")
        for ref in directory.missing(session, profile.groups)
    ]
    if ALL_STAFF in profile.groups and profile.kind is not Kind.USER:
        faults.append(Fault(detail=f"{ALL_STAFF} is made of the active users and of nobody else.", pointer="/groups"))
    if profile.ref in profile.groups | directory.groups_above(session, profile.groups):
        faults.append(Fault(detail=f"{profile.ref} would be in itself.", pointer="/groups"))
    return faults


def _raise_for(faults: list[Fault]) -> None:
    if faults:
        raise Invalid("Some names are not known or not allowed here; nothing was changed.", faults=tuple(faults))


def _on_record_with(session: Session, ports: Ports, standing: Standing, what: str, about: str) -> None:
    request = {"what": what, "about": about}
    record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)


def _on_record(ports: Ports, standing: Standing, what: str, about: str) -> None:
    record(
        ports,
        standing.principal,
        TraceKind.CHANGE,
        outcome="changed",
        request={"what": what, "about": about},
    )
