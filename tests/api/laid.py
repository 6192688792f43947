"""A corpus laid straight into the store, one document a boundary, and its people: made up, and always the same."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.access import Boundary, Collection, PrincipalRef, Profile
from app.domain.corpus import DocumentId
from app.domain.instants import BEGINNING, FOREVER
from app.domain.labels import Label, Level
from app.ports import Ports
from app.store import boundaries, directory, registry
from app.store.database import recording
from app.store.tables import DocumentRow, PeriodRow, TextRow, VersionBoundaryRow, VersionRow

BY = PrincipalRef("user:administrator")
JURISDICTIONS = ("EU", "UK", "US", "CH")
CATEGORIES = ("pii", "phi", "privileged")
GROUPS = tuple(PrincipalRef(f"group:g{n}") for n in range(12))


@dataclass(frozen=True, kw_only=True)
class Laid:
    people: tuple[Profile, ...]
    collections: dict[str, Collection]
    boundaries: dict[DocumentId, Boundary]


def laid(
    ports: Ports, *, documents: int, people: int, jobs: int, purposes: Sequence[str] = (), assistants: int = 0
) -> Laid:
    """People share `jobs` sets of attributes, as they do; some are named as readers or among the denied as well."""
    chance = random.Random(20261122)
    collections = {
        name: Collection(
            name=name,
            title=name,
            owners=frozenset({GROUPS[n]}),
            default_label=None,
            default_readers=frozenset({GROUPS[-n - 1]}),
            jurisdictions=frozenset({"EU"}) if n == 2 else frozenset(),
        )
        for n, name in enumerate(("north", "south", "east"))
    }
    posts = [_post(chance, purposes) for _ in range(jobs)]
    profiles = [_profile(f"user:p{n}", posts[n % jobs], active=n % 17 != 3) for n in range(people)]
    profiles += [_profile(f"assistant:a{n}", _post(chance, purposes), active=True) for n in range(assistants)]
    names = [each.ref for each in profiles]
    several: dict[DocumentId, Boundary] = {}
    while len(several) < documents:
        boundary = _boundary(chance, [*collections], names, purposes)
        if boundary not in several.values() or documents < 100:
            several[DocumentId(f"doc_{len(several):05}")] = boundary
    _lay(ports, profiles, collections, several)
    return Laid(people=tuple(profiles), collections=collections, boundaries=several)


def _post(chance: random.Random, purposes: Sequence[str]) -> Profile:
    return Profile(
        ref=PrincipalRef("user:-"),
        display_name="-",
        groups=frozenset(chance.sample(GROUPS, chance.randrange(4))),
        clearance=chance.choice(list(Level)),
        categories=frozenset(each for each in CATEGORIES if chance.random() < 0.6),
        jurisdictions=frozenset(each for each in JURISDICTIONS if chance.random() < 0.3),
        purposes=frozenset(each for each in purposes if chance.random() < 0.2),
    )


def _profile(ref: str, post: Profile, *, active: bool) -> Profile:
    return Profile(
        ref=PrincipalRef(ref),
        display_name=ref,
        groups=post.groups,
        clearance=post.clearance,
        categories=post.categories,
        jurisdictions=post.jurisdictions,
        purposes=post.purposes,
        active=active,
    )


def _boundary(
    chance: random.Random, collections: Sequence[str], names: Sequence[PrincipalRef], purposes: Sequence[str]
) -> Boundary:
    def some(several: Sequence[PrincipalRef], *, share: float) -> frozenset[PrincipalRef]:
        return frozenset({chance.choice(several)}) if chance.random() < share else frozenset()

    return Boundary(
        collection=chance.choice(collections),
        label=Label(
            level=chance.choice(list(Level)), categories=frozenset(c for c in CATEGORIES if chance.random() < 0.2)
        ),
        readers=frozenset(chance.sample(GROUPS, chance.randrange(4))) | some(names, share=0.3),
        denied=some(GROUPS, share=0.1) | some(names, share=0.1),
        jurisdictions=frozenset(each for each in JURISDICTIONS if chance.random() < 0.3),
        purposes=frozenset(each for each in purposes if chance.random() < 0.2),
        consents=frozenset(each for each in JURISDICTIONS if chance.random() < 0.1),
    )


def _lay(
    ports: Ports,
    profiles: Sequence[Profile],
    collections: dict[str, Collection],
    several: dict[DocumentId, Boundary],
) -> None:
    with recording(ports.engine, ports.now(), "directory", "boundaries") as (session, at):
        for group in GROUPS:
            directory.record_principal(session, Profile(ref=group, display_name=group), at=at, by=BY)
        for profile in profiles:
            directory.record_principal(session, profile, at=at, by=BY)
        for collection in collections.values():
            registry.record_collection(session, collection, at=at, by=BY)
        session.add(TextRow(digest="sha256:text", text="Laid."))
        session.flush()
        for document, boundary in several.items():
            row = DocumentRow(public_id=document, collection=boundary.collection, uri=document, created_at=at)
            session.add(row)
            session.flush()
            version = VersionRow(
                document_id=row.id or 0,
                job_id=f"job_{document}",
                number=1,
                published_at=at,
                title=f"The title of {document}",
                media_type="text/plain",
                size_bytes=5,
                digest="sha256:original",
                metadata_digest="sha256:metadata",
                text_digest="sha256:text",
                parser="by hand",
                source={},
                attributes={},
                findings=[],
            )
            session.add(version)
            session.flush()
            held = {"version_id": version.id or 0, "recorded_from": at, "recorded_to": FOREVER, "recorded_by": BY}
            lying = boundaries.interned(session, boundary, at=at)
            session.add(VersionBoundaryRow(boundary_id=lying, **held))
            session.add(PeriodRow(ordinal=1, valid_from=BEGINNING, valid_to=FOREVER, review_by=None, **held))
