"""Policy sets as versions: drafted by somebody for a reason, approved, put in force, and left again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from app.domain.access import PolicyId, PrincipalRef
from app.domain.instants import Instant

PolicyVersionId = NewType("PolicyVersionId", str)
"""`pol_...`: one draft of one policy set, and what became of it."""

PolicyDigest = NewType("PolicyDigest", str)
"""sha256 of a policy set's text, in hex: equal digests, equal rules."""


def policy_digest(cedar: str) -> PolicyDigest:
    return PolicyDigest(hashlib.sha256(cedar.encode()).hexdigest())


class PolicyState(StrEnum):
    """Where a version stands; it follows from its activations, and is not kept apart."""

    DRAFT = "draft"
    ACTIVE = "active"
    """It decides. At most one does."""
    RETIRED = "retired"
    """It decided once. A rollback may bring it back."""
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An administrator's word that a policy set may be put in force: this text, and no other."""

    by: PrincipalRef
    at: Instant
    digest: PolicyDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """A policy set as somebody proposed it. Its text never changes: another text is another version."""

    id: PolicyVersionId
    digest: PolicyDigest
    author: PrincipalRef
    reason: str
    created_at: Instant
    based_on: PolicyDigest | None
    """The set in force when it was drafted; None before there was any."""
    state: PolicyState
    approvals: tuple[Approval, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """That a version decided, from when, at whose word and why."""

    id: int
    version: PolicyVersionId
    digest: PolicyDigest
    reason: str
    at: Instant
    by: PrincipalRef
    restores: int | None = None
    """By a rollback: the activation that it goes back to."""


def preceding(history: Sequence[Activation]) -> Activation | None:
    """What a rollback goes back to, of all activations in their order: what decided before the one in force.

    Going back twice goes back two steps, and never forward to what was left: a restored set counts where it first
    stood.
    """
    if not history:
        return None
    by_id = {each.id: n for n, each in enumerate(history)}
    place = len(history) - 1
    while (restored := history[place].restores) is not None:
        place = by_id[restored]
    return history[place - 1] if place else None


class RemarkCode(StrEnum):
    UNREACHABLE = "unreachable"
    """Its conditions never hold."""
    SHADOWED = "shadowed"
    """Whatever it decides, another policy decides as well."""
    DUPLICATE = "duplicate"
    """It says what another says under another id."""
    MAY_FAIL = "may-fail"
    """It can err while deciding, and then denies what it applies to."""
    LOSES_GUARD = "loses-guard"
    """The set in force forbids something by a rule that this one lacks."""
    UNKNOWN_NAME = "unknown-name"
    """It speaks of somebody who is not in the directory."""
    UNREAD = "unread"
    """It is too intricate for any of this to be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What an author may not have meant, in a set that can be put in force all the same."""

    code: RemarkCode
    policy: PolicyId
    line: int | None
    """Where the policy starts, from 1; None if it is not in the text."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """That a policy's text names a principal."""

    policy: PolicyId
    line: int
    ref: PrincipalRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found in a set that has no faults."""

    remarks: tuple[Remark, ...]
    mentions: tuple[Mention, ...]
    """Every principal that a policy names and none in force does, to be held against the directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTables:
    """The who-sees-what tables that every activation is held against, as one state."""

    tables: tuple[tuple[str, str], ...]
    """Name and YAML of each, by name."""
    reason: str
    at: Instant
    by: PrincipalRef
