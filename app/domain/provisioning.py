"""Users and groups as another directory has them (SCIM): what it says of each, beside what we record of a principal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType
from unicodedata import normalize

from app.domain.access import Kind, PrincipalRef, Profile
from app.domain.instants import Instant
from app.domain.labels import Level

ResourceId = NewType("ResourceId", str)
"""Opaque, never given out twice."""


def folded(text: str) -> str:
    """What names are compared by that differ in case alone, as SCIM's `caseExact: false` has it."""
    return normalize("NFC", normalize("NFC", text).lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the other directory says of a profile's reach. None: it does not say, and it says nothing by that."""

    clearance: Level | None = None
    categories: frozenset[str] | None = None
    jurisdictions: frozenset[str] | None = None
    team: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One user or group as the other directory puts it."""

    kind: Kind
    name: str
    """A user's userName, a group's displayName."""
    display_name: str
    external_id: str | None
    active: bool | None
    """None: it does not say. Then whoever is not active stays so."""
    stated: Stated
    content: str
    """The rest of what it says, as JSON, to be given back as it was put."""
    members: Mapping[ResourceId, str | None] = field(default_factory=dict)
    """Of a group: whom it names, and how each is to be shown, if it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """A member of a group, or a group that a user is directly in."""

    id: ResourceId
    kind: Kind
    display: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """A user or group that another directory keeps, as it is today."""

    id: ResourceId
    profile: Profile
    stated: Stated
    external_id: str | None
    content: str
    related: tuple[Related, ...]
    """A group's members, if they were asked for; a user's groups."""
    created: Instant
    changed: Instant
    """Of itself and of its members, by whomever: no two states of it share one."""

    @property
    def ref(self) -> PrincipalRef:
        return self.profile.ref
