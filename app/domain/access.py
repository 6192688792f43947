"""Who asks, what bounds a document, and what one decision lets a principal read."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field, replace
from enum import StrEnum
from typing import Any, NewType

from app.domain.errors import Invalid
from app.domain.generations import FIRST, GenerationId
from app.domain.instants import Instant
from app.domain.labels import Label, Level
from app.domain.stated import NOTHING_STATED, Stated

PrincipalRef = NewType("PrincipalRef", str)
"""`user:ana`, `group:legal` or `assistant:hr-bot`."""

BoundaryId = NewType("BoundaryId", int)
"""A boundary's row: small, dense, never shown outside."""

PolicyId = NewType("PolicyId", str)
"""The `@id` of a Cedar policy."""

ALL_STAFF = PrincipalRef("group:all-staff")
ADMINISTRATORS = PrincipalRef("group:administrators")
AUDITORS = PrincipalRef("group:auditors")
PROVISIONERS = PrincipalRef("group:provisioners")
ENFORCEMENT_POINTS = PrincipalRef("group:enforcement-points")
BREAK_GLASS_GROUP = PrincipalRef("group:break-glass")
BUILT_IN_GROUPS = (ALL_STAFF, ADMINISTRATORS, AUDITORS, PROVISIONERS, ENFORCEMENT_POINTS, BREAK_GLASS_GROUP)
NOBODY = PrincipalRef("group:-")
"""The reader of what nobody but the owners reads. INVARIANT: it cannot be spelt on the wire, so nobody is ever in it.
The owners' names instead would stay readers when others become owners."""
BOOTSTRAP_ADMINISTRATOR = PrincipalRef("user:administrator")
"""Holds the bootstrap key. Not a person: not staff, and reads nothing."""
CONSOLE = PrincipalRef("assistant:console")
IMPORTER = PrincipalRef("assistant:importer")
"""The command line of this machine, for a person and for a file that is applied. Laid down when they are first used."""


class Kind(StrEnum):
    USER = "user"
    GROUP = "group"
    ASSISTANT = "assistant"


def kind_of(ref: PrincipalRef) -> Kind:
    """The kind that a reference names; raises `Invalid` when it is not `kind:id`."""
    kind, _, name = ref.partition(":")
    if kind not in tuple(Kind) or not name:
        raise Invalid(f"{ref!r} is not a principal: write user:ID, group:ID or assistant:ID.")
    return Kind(kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the directory records of one user, group or assistant. Empty sets on an assistant are no ceiling."""

    ref: PrincipalRef
    display_name: str
    groups: frozenset[PrincipalRef] = frozenset()
    """Direct membership; nesting is resolved in `Party`."""
    clearance: Level = Level.INTERNAL
    categories: frozenset[str] = frozenset()
    jurisdictions: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    collections: frozenset[str] = frozenset()
    active: bool = True
    may_assert: bool = False
    team: str | None = None

    @property
    def kind(self) -> Kind:
        return kind_of(self.ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A profile with every group it is in, nested ones included: one side of a principal."""

    profile: Profile
    groups: frozenset[PrincipalRef]
    within: frozenset[str] = frozenset()
    """The jurisdictions that it is in: those of its profile, and what contains them."""
    receives: frozenset[str] = frozenset()
    """The jurisdictions whose data may be used where the party is: those it is in, and those that a transfer rule
    opens to one of them."""

    @property
    def ref(self) -> PrincipalRef:
        return self.profile.ref

    @property
    def kind(self) -> Kind:
        return self.profile.kind


class Proof(StrEnum):
    """How the subject is known: by its own credential, or on an assistant's word."""

    PROVEN = "proven"
    ASSERTED = "asserted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a credential is good for, whatever its holder may do. Empty sets are no limit of that kind."""

    actions: frozenset["Action"] = frozenset()
    collections: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether it limits anything."""
        return bool(self.actions or self.collections)

    def covers(self, action: "Action", collection: str | None) -> bool:
        """Whether that may be done in that collection; None is the institution as a whole, of which a credential that
        is limited to collections may ask questions and nothing else."""
        if self.actions and action not in self.actions:
            return False
        if not self.collections:
            return True
        return action is Action.ASK if collection is None else collection in self.collections

    def within(self, other: "Scope") -> bool:
        """Whether whatever this covers, the other does too."""
        return _within(self.actions, other.actions) and _within(self.collections, other.collections)

    @property
    def words(self) -> str:
        """What it is limited to, as a part of a sentence."""
        kinds = (("actions", self.actions), ("collections", self.collections))
        return " and ".join(f"the {kind} {', '.join(sorted(names))}" for kind, names in kinds if names)


def _within(some: frozenset[Any], others: frozenset[Any]) -> bool:
    return not others or (bool(some) and some <= others)


UNLIMITED = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The identity a decision is about: a subject, and the actors if assistants act for it (RFC 8693 `act`)."""

    subject: Party
    actors: tuple[Party, ...] = ()
    """Whoever sends the request, then for whom that one acts, and so on. Each is a ceiling of its own."""
    proof: Proof = Proof.PROVEN
    second_factor: bool = False
    """The subject's token says that it was obtained with more than one factor."""
    scopes: frozenset[Scope] = frozenset()
    """Of the credentials that were sent: each of them is a limit."""

    @property
    def actor(self) -> Party | None:
        """Whoever sends the request for the subject; None if the subject does so itself."""
        return self.actors[0] if self.actors else None

    @property
    def acting(self) -> tuple[PrincipalRef, ...]:
        """The references of the actors, sender first."""
        return tuple(actor.ref for actor in self.actors)

    @property
    def label(self) -> str:
        return " through ".join((self.subject.ref, *(actor.ref for actor in reversed(self.actors))))

    def may_use(self, action: "Action", collection: str | None = None) -> bool:
        """Whether the credentials that were sent are good for that; None is the institution as a whole."""
        return all(scope.covers(action, collection) for scope in self.scopes)

    @property
    def limited(self) -> bool:
        """Whether anything that was sent is good for less than all that its holder may do."""
        return any(self.scopes)

    @property
    def limits(self) -> str:
        """What the credentials are limited to, as a part of a sentence; empty if they are not."""
        return ", and to ".join(sorted(scope.words for scope in self.scopes))


class Action(StrEnum):
    """What can be asked of the policy. The first three are decided over boundaries, the next over collections."""

    READ = "read"
    """Content: passages, text, original bytes."""
    DESCRIBE = "describe"
    """Metadata: that a document exists, its title, label and versions."""
    DISCOVER = "discover"
    """That a collection exists."""
    CURATE = "curate"
    """Put documents in, change their boundary, withdraw them, read them out of force."""
    ASK = "ask"
    """Put a question for a purpose at all; decided over the institution."""
    MANAGE = "manage"
    """Principals, keys, purposes, collections, policies; over the institution."""
    AUDIT = "audit"
    """Other people's traces; over the institution."""
    BREAK_GLASS = "break-glass"
    """Open collections to oneself for a short time, on one's own word that it is needed; over the institution."""
    PROVISION = "provision"
    """Users and groups, as another directory has them (SCIM); over the institution."""
    EVALUATE = "evaluate"
    """What others may do, asked on behalf of an application that enforces it; over the institution."""
    USE = "use"
    """An operation of another application; over a thing of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """Why questions may be asked, from the registry."""

    id: str
    title: str
    description: str
    owner: PrincipalRef | None = None
    """The user or group that answers for it: keeps its consents, and is asked to waive its rules."""
    legal_basis: str | None = None
    categories: frozenset[str] | None = None
    """What it was registered for; None if nobody laid that down."""
    consent_required: bool = False
    """Of whomever the data is about."""
    review_by: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Documents with one set of owners and one policy home. Empty jurisdictions and purposes mean any."""

    name: str
    title: str
    owners: frozenset[PrincipalRef]
    default_label: Label | None
    """Of what nobody labels; None is no default, and unknown is strictest."""
    default_readers: frozenset[PrincipalRef] = frozenset()
    jurisdictions: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    discoverable: bool = False
    system_of_record: bool = False
    review_after_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """The access boundary of a version. Empty readers, jurisdictions and purposes follow the collection's, today's."""

    collection: str
    label: Label
    readers: frozenset[PrincipalRef] = frozenset()
    denied: frozenset[PrincipalRef] = frozenset()
    jurisdictions: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    consents: frozenset[str] = frozenset()
    """What opens it beyond `jurisdictions`: further jurisdictions, or clients (`client:NAME`), where and for what a
    consent of theirs is in force."""

    def canonical(self) -> str:
        """Equal boundaries give equal text: the key of interning."""
        return json.dumps(
            {
                "collection": self.collection,
                "level": self.label.level.word,
                "categories": sorted(self.label.categories),
                "readers": sorted(self.readers),
                "denied": sorted(self.denied),
                "jurisdictions": sorted(self.jurisdictions),
                "purposes": sorted(self.purposes),
                "consents": sorted(self.consents),
            },
            sort_keys=True,
            separators=(",", ":"),
        )

    def digest(self) -> str:
        """sha256 of `canonical`, in hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def within(self, collection: Collection) -> "Boundary":
        """This boundary with what it leaves open filled in from its collection as it is today."""
        if collection.name != self.collection:
            raise ValueError(f"boundary of {self.collection!r} resolved with {collection.name!r}")
        readers = self.readers or collection.default_readers
        jurisdictions = self.jurisdictions or collection.jurisdictions
        purposes = self.purposes or collection.purposes
        if (readers, jurisdictions, purposes) == (self.readers, self.jurisdictions, self.purposes):
            return self
        return replace(self, readers=readers, jurisdictions=jurisdictions, purposes=purposes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """What must be done with an allowed answer; one that nobody here can discharge is a denial (XACML)."""

    id: str
    policies: tuple[PolicyId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The policy's answer about one resource. `policies` determined it: permits if allowed, forbids if denied.

    One that is not allowed escalates if each forbid that determined it names who may waive it.
    """

    allowed: bool
    policies: tuple[PolicyId, ...] = ()
    obligations: tuple[str, ...] = ()
    escalate_to: tuple[str, ...] = ()
    """Whom the forbids name, in their order: groups, or `owner`."""


DENIED = Ruling(allowed=False)
"""No policy permits it, or deciding failed: the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What a grant in force obliges to: on passages of a collection that it opened, or on the whole answer."""

    obligation: str
    collection: str | None
    """None: whatever it is from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What grants and registers say of a question at this instant. Being part of the question, it is never stale."""

    granted: frozenset[str] = frozenset()
    """Collections that a grant in force opens to the subject for this purpose."""
    waived: frozenset[str] = frozenset()
    """Codes of rules that a grant in force waives for this subject, purpose, client and destination."""
    owed: frozenset[Owed] = frozenset()
    """What these grants oblige to, beside the policies."""
    consents: frozenset[str] = frozenset()
    """Of the clients that boundaries name among their `consents`, as they name them (`client:NAME`): those whose
    consent to this purpose is in force where the subject is, and every actor that is limited to jurisdictions."""
    consent_needed: bool = False
    """The purpose wants the consent of whomever the data is about."""
    consented: bool = False
    """A consent of the stated client to this purpose is in force at the destination; if none was stated, where the
    subject is."""
    transferable: bool = True
    """All that may be used where the subject is may be used in the stated destination; so too if none was stated."""
    purpose_categories: frozenset[str] | None = None
    """The categories that the purpose was registered for; None if it was registered without saying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An expiring widening given to a subject by a person, or taken by it when it breaks the glass.

    It opens collections, or waives rules that may be waived; it never beats another forbid.
    """

    id: str
    kind: "GrantKind"
    subject: PrincipalRef
    collections: frozenset[str] = frozenset()
    waives: frozenset[str] = frozenset()
    """Codes of rules."""
    purpose: str | None = None
    """The one it is bound to; None for one that opens collections: whichever is stated. One that waives rules covers
    questions that state exactly this."""
    client: str | None = None
    destination: str | None = None
    obligations: tuple[str, ...] = ()
    """What must be done with every answer that it made possible."""
    begins: Instant
    ends: Instant
    because: str
    """The escalation that it answers, or the ticket that the glass was broken for."""
    reason: str = ""
    """In the words of whoever gave or took it."""
    granted_by: PrincipalRef


class GrantKind(StrEnum):
    ESCALATION = "escalation"
    BREAK_GLASS = "break-glass"
    """INVARIANT: good only for who proves to be its subject with a second factor, as it was taken (`holds_for`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenGlass:
    """A grant that somebody took, and who ended it before its time."""

    grant: Grant
    ended_at: Instant | None
    ended_by: PrincipalRef | None

    def is_open(self, now: Instant) -> bool:
        return self.ended_at is None and self.grant.begins <= now < self.grant.ends


def holds_for(grant: Grant, principal: Principal, now: Instant) -> bool:
    """Whether a grant of the principal's subject is in force for it now."""
    strong = grant.kind is not GrantKind.BREAK_GLASS or principal.second_factor
    return strong and grant.begins <= now < grant.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """An operation of another application, and what that says of it. Nothing here is known to the directory."""

    operation: str
    of_operation: Stated = NOTHING_STATED
    of_subject: Stated = NOTHING_STATED
    of_request: Stated = NOTHING_STATED
    """Of the circumstances: the time there, the address, the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What every decision of one request has in common: the cache key, with the epochs."""

    principal: Principal
    action: Action
    purpose: str | None
    interface: str = "rest"
    client: str | None = None
    """Whose data it is about, if that was stated."""
    destination: str | None = None
    """The jurisdiction where the answer will be used, if that was stated."""
    terms: Terms = Terms()
    use: Use | None = None
    """What is to be done, if the action is `use`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Counters in SQL that move with every change a decision depends on. Equal epochs, equal decisions.

    Boundaries are immutable: when only `boundaries` moved, decisions made stand and the new rows are decided.
    """

    policies: int
    directory: int
    """Principals, groups, keys, collections, purposes, jurisdictions and consents."""
    boundaries: int
    grants: int
    generation: GenerationId = FIRST
    """Of the index: the one that answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """Why a reach is what it is: kept for the trace and for confirming that nothing moved."""

    question: Question
    epochs: Epochs
    rulings: Mapping[BoundaryId, Ruling] = field(compare=False, repr=False)


class _Seal:
    """Held by `operations/authorize.py` alone: without it, no reach can be made."""


_SEAL = _Seal()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """All that one decision lets a principal read: boundary ids, the two instants, the obligations.

    INVARIANT: made by the authorization step only (`_sealed`), and `&` only narrows; `dataclasses.replace` wants the
    seal again. An empty reach reads nothing.
    """

    boundaries: frozenset[BoundaryId]
    curated: frozenset[BoundaryId]
    """Of `boundaries`, those that the principal owns: lifecycle does not hide their versions when fetched."""
    valid_at: Instant
    known_at: Instant
    obligations: tuple[Obligation, ...]
    grounds: Grounds
    _sealed: InitVar[_Seal]

    def __post_init__(self, _sealed: _Seal) -> None:
        if _sealed is not _SEAL:
            raise TypeError("A Reach is made by operations/authorize.py and by nobody else.")

    def __bool__(self) -> bool:
        return bool(self.boundaries)

    def __and__(self, boundaries: Iterable[BoundaryId]) -> "Reach":
        kept = self.boundaries & frozenset(boundaries)
        return replace(self, boundaries=kept, curated=self.curated & kept, _sealed=_SEAL)

    def at(self, instant: Instant) -> "Reach":
        """The same boundaries at another instant, and in what is known then: who may read is always decided today."""
        return replace(self, valid_at=instant, known_at=instant, _sealed=_SEAL)
