"""Every table, and only tables: rows stay inside `store/`, which hands out domain types.

Two rules hold for all of them. Instants are epoch milliseconds in BIGINT. And nothing that an answer may depend on is
overwritten: a state is a row with `recorded_from` and `recorded_to` (half-open; `FOREVER` while it holds), so what was
true for whom at any instant can be asked later. Rows without the pair are immutable or are work in progress.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlmodel import Field, SQLModel

from app.domain.instants import FOREVER

ROW_ID = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up only in columns of its own INTEGER type."""

_NEVER_AGAIN = {"sqlite_autoincrement": True}
"""Of tables whose rows are deleted: SQLite would give a deleted row's id to the next one. What still acts on an id
that it has read, a task or a point in the index, must not meet another row."""


def _row_id() -> Any:
    return Field(default=None, sa_column=Column(ROW_ID, primary_key=True, autoincrement=True))


def _instant() -> Any:
    return Field(sa_type=BigInteger)


def _instant_or_none() -> Any:
    return Field(default=None, sa_type=BigInteger)


def _reference(column: str) -> Any:
    return Field(sa_column=Column(ROW_ID, ForeignKey(column), nullable=False, index=True))


def _json() -> Any:
    return Field(sa_type=JSON)


def _count() -> Any:
    return Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))


_STILL_OPEN: dict[str, Any] = dict.fromkeys(("sqlite_where", "postgresql_where"), text(f"recorded_to = {FOREVER:d}"))


def _one_open(table: str, *columns: str) -> Index:
    """At most one row of these columns holds at a time."""
    return Index(f"uq_{table}_open", *columns, unique=True, **_STILL_OPEN)


_STAGED = text("number IS NULL")


_FOUND_NOTHING = text("kind = 'retrieve' AND outcome = 'empty'")


class EpochsRow(SQLModel, table=True):
    """One row: the recorded clock and the counters that decisions are cached by. Locked by every recording."""

    __tablename__ = "epochs"
    id: int = Field(primary_key=True)
    instant: int = _instant()
    policies: int = _instant()
    directory: int = _instant()
    boundaries: int = _instant()
    grants: int = Field(default=1, sa_column=Column(BigInteger, nullable=False, server_default="1"))
    generation: int = Field(default=1, sa_column=Column(BigInteger, nullable=False, server_default="1"))
    """Of the index: the one that answers. Not a counter."""


class PrincipalRow(SQLModel, table=True):
    __tablename__ = "principals"
    __table_args__ = (_one_open("principals", "ref"), Index("ix_principals_ref", "ref", "recorded_from"))
    id: int | None = _row_id()
    ref: str
    display_name: str
    clearance: str
    categories: list[str] = _json()
    jurisdictions: list[str] = _json()
    purposes: list[str] = _json()
    collections: list[str] = _json()
    active: bool
    may_assert: bool
    team: str | None
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class MembershipRow(SQLModel, table=True):
    __tablename__ = "memberships"
    __table_args__ = (
        _one_open("memberships", "member", "parent"),
        Index("ix_memberships_member", "member", "recorded_from"),
    )
    id: int | None = _row_id()
    member: str
    parent: str = Field(index=True)
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    display: str | None = Field(default=None, sa_type=Text)
    """How another directory shows the member in the group, if it says."""


class ProvisionedRow(SQLModel, table=True):
    """What another directory says of a user or group of its own, beside the principal that it is."""

    __tablename__ = "provisioned"
    __table_args__ = (
        _one_open("provisioned", "id"),
        Index("uq_provisioned_unique_name", "unique_name", unique=True, **_STILL_OPEN),
        Index("ix_provisioned_name", "name", **_STILL_OPEN),
        Index("ix_provisioned_display_name", "display_name", **_STILL_OPEN),
        Index("ix_provisioned_external_id", "external_id", **_STILL_OPEN),
    )
    row_id: int | None = _row_id()
    id: str
    principal: str = Field(index=True)
    kind: str
    name: str = Field(sa_type=Text)
    """`folded`, as the next two."""
    unique_name: str | None = Field(sa_type=Text)
    """Of a user, whose name no other user has."""
    display_name: str = Field(sa_type=Text)
    external_id: str | None = Field(sa_type=Text)
    clearance: str | None
    """None, here and in the next three: it does not say."""
    categories: list[str] | None = Field(sa_type=JSON)
    jurisdictions: list[str] | None = Field(sa_type=JSON)
    team: str | None = Field(sa_type=Text)
    content: str = Field(sa_type=Text)
    created_at: int = _instant()
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class KeyRow(SQLModel, table=True):
    """An API key, by the HMAC of its text; revoked when `recorded_to` has come, and not let in once `expires_at` or
    `retires_at` has. Empty `actions` and `collections` are no limit."""

    __tablename__ = "keys"
    __table_args__ = (_one_open("keys", "digest"),)
    id: str = Field(primary_key=True)
    principal: str = Field(index=True)
    digest: str
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    revoked_by: str | None = None
    actions: list[str] = Field(sa_column=Column(JSON, nullable=False, server_default="[]"))
    collections: list[str] = Field(sa_column=Column(JSON, nullable=False, server_default="[]"))
    note: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=""))
    expires_at: int | None = _instant_or_none()
    retires_at: int | None = _instant_or_none()
    """When the overlap with its successor ends; set once, when it is rotated."""
    last_used: int | None = _instant_or_none()
    """To the minute. No answer depends on it."""


class PurposeRow(SQLModel, table=True):
    __tablename__ = "purposes"
    __table_args__ = (_one_open("purposes", "name"),)
    id: int | None = _row_id()
    name: str
    title: str
    description: str = Field(sa_type=Text)
    owner: str | None = None
    legal_basis: str | None = Field(default=None, sa_type=Text)
    categories: list[str] | None = Field(default=None, sa_type=JSON)
    """None: nobody laid down what it was registered for."""
    consent_required: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    review_by: int | None = Field(default=None, sa_type=BigInteger)
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class JurisdictionRow(SQLModel, table=True):
    __tablename__ = "jurisdictions"
    __table_args__ = (_one_open("jurisdictions", "name"),)
    id: int | None = _row_id()
    name: str
    title: str
    within: list[str] = _json()
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class TransferRow(SQLModel, table=True):
    """A transfer rule. In force between `valid_from` and `expires_at`, until `recorded_to` has come."""

    __tablename__ = "transfers"
    __table_args__ = (_one_open("transfers", "origin", "destination"),)
    id: str = Field(primary_key=True)
    origin: str
    destination: str
    basis: str
    evidence: str = Field(sa_type=Text)
    valid_from: int = _instant()
    expires_at: int = _instant()
    reason: str = Field(sa_type=Text)
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    ended_by: str | None = None
    end_reason: str | None = Field(default=None, sa_type=Text)


class ConsentRow(SQLModel, table=True):
    """A client's consent. In force between `given_at` and `expires_at`, until it is withdrawn: `recorded_to`."""

    __tablename__ = "consents"
    __table_args__ = (_one_open("consents", "id"), Index("ix_consents_client", "client", "purpose"))
    id: str = Field(primary_key=True)
    client: str
    purpose: str = Field(index=True)
    jurisdictions: list[str] = _json()
    evidence: dict[str, str] = _json()
    given_at: int = _instant()
    expires_at: int = _instant()
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    withdrawn_by: str | None = None
    withdrawal_reason: str | None = Field(default=None, sa_type=Text)


class CollectionRow(SQLModel, table=True):
    __tablename__ = "collections"
    __table_args__ = (_one_open("collections", "name"),)
    id: int | None = _row_id()
    name: str
    title: str
    owners: list[str] = _json()
    level: str | None
    """None: no default label, and `categories` is empty."""
    categories: list[str] = _json()
    default_readers: list[str] = _json()
    jurisdictions: list[str] = _json()
    purposes: list[str] = _json()
    discoverable: bool
    system_of_record: bool
    review_after_days: int | None
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class LabelRulesRow(SQLModel, table=True):
    """All label rules of a collection, as one state."""

    __tablename__ = "label_rules"
    __table_args__ = (_one_open("label_rules", "collection"),)
    id: int | None = _row_id()
    collection: str
    rules: list[dict[str, Any]] = _json()
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class PolicyTextRow(SQLModel, table=True):
    """A policy set's text, by the sha256 of it."""

    __tablename__ = "policy_texts"
    digest: str = Field(primary_key=True)
    cedar: str = Field(sa_type=Text)
    created_at: int = _instant()


class PolicyActivationRow(SQLModel, table=True):
    """Which policy set decided, and when. At most one is open."""

    __tablename__ = "policy_activations"
    __table_args__ = (_one_open("policy_activations", "slot"),)
    id: int | None = _row_id()
    slot: str = "institution"
    version: str = Field(sa_column_kwargs={"server_default": ""})
    digest: str = Field(foreign_key="policy_texts.digest")
    reason: str = Field(sa_type=Text)
    restores: int | None = Field(default=None, sa_type=BigInteger)
    """By a rollback: the activation that it goes back to."""
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class PolicyVersionRow(SQLModel, table=True):
    """A policy set as somebody drafted it. What became of it is in its activations, unless it was discarded."""

    __tablename__ = "policy_versions"
    id: str = Field(primary_key=True)
    digest: str = Field(foreign_key="policy_texts.digest")
    author: str
    reason: str = Field(sa_type=Text)
    based_on: str | None
    created_at: int = _instant()
    discarded_at: int | None = Field(default=None, sa_type=BigInteger)
    discarded_by: str | None = None


class PolicyApprovalRow(SQLModel, table=True):
    """Who said that a version may be put in force."""

    __tablename__ = "policy_approvals"
    version: str = Field(primary_key=True, foreign_key="policy_versions.id")
    approver: str = Field(primary_key=True)
    digest: str
    approved_at: int = _instant()


class PolicyTestsRow(SQLModel, table=True):
    """The who-sees-what tables that activations are held against, as one state."""

    __tablename__ = "policy_tests"
    __table_args__ = (_one_open("policy_tests", "slot"),)
    id: int | None = _row_id()
    slot: str = "institution"
    tables: dict[str, str] = _json()
    reason: str = Field(sa_type=Text)
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class GrantRow(SQLModel, table=True):
    """An expiring widening. In force between `begins` and `ends`, until it is revoked: `recorded_to` has come then."""

    __tablename__ = "grants"
    __table_args__ = (_one_open("grants", "id"),)
    id: str = Field(primary_key=True)
    kind: str
    subject: str = Field(index=True)
    collections: list[str] = _json()
    waives: list[str] = _json()
    purpose: str | None
    client: str | None
    destination: str | None
    obligations: list[str] = _json()
    begins: int = _instant()
    ends: int = _instant()
    because: str = Field(sa_type=Text)
    reason: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=""))
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    revoked_by: str | None = None


class NoticeRow(SQLModel, table=True):
    """Something that somebody is to hear of: a row of its own transaction's, told afterwards."""

    __tablename__ = "notices"
    id: int | None = _row_id()
    public_id: str = Field(unique=True)
    recipient: str = Field(index=True)
    kind: str
    about: dict[str, Any] = _json()
    created_at: int = _instant()
    passed_on: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false(), index=True)
    )
    """Whether the webhooks that are told of it have been noted in `deliveries`."""


class EscalationRow(SQLModel, table=True):
    """A request to people. Updated in place, within recordings: its decisions and grant are what is kept as history."""

    __tablename__ = "escalations"
    __table_args__ = (Index("ix_escalations_subject", "subject", "seq"), Index("ix_escalations_due", "due_at"))
    seq: int | None = _row_id()
    id: str = Field(unique=True)
    kind: str
    subject: str
    actors: list[str] = _json()
    proof: str
    team: str | None
    trace: str | None = Field(default=None, index=True)
    asked_through: list[str] = _json()
    collection: str | None = None
    document: str | None = Field(default=None, index=True)
    citation: str | None = None
    purpose: str | None = None
    client: str | None = None
    destination: str | None = None
    codes: dict[str, str] = _json()
    reason: str = Field(sa_type=Text)
    shares_question: bool
    wanted_until: int | None = Field(default=None, sa_type=BigInteger)
    wanted_minutes: int | None = Field(default=None, sa_type=BigInteger)
    state: str = Field(index=True)
    opened_at: int = _instant()
    remind_at: int | None = Field(default=None, sa_type=BigInteger)
    raise_at: int | None = Field(default=None, sa_type=BigInteger)
    expires_at: int = _instant()
    closed_at: int | None = Field(default=None, sa_type=BigInteger)
    grant_id: str | None = Field(default=None, index=True)
    due_at: int | None = Field(default=None, sa_type=BigInteger)
    """When something is to be done about it next; None when nothing is."""


class EscalationSeatRow(SQLModel, table=True):
    """Who may decide about an escalation, at which of its desks."""

    __tablename__ = "escalation_seats"
    escalation: str = Field(foreign_key="escalations.id", primary_key=True)
    desk: int = Field(primary_key=True)
    ref: str = Field(primary_key=True, index=True)


class EscalationDecisionRow(SQLModel, table=True):
    """What was decided at a desk: once. Immutable."""

    __tablename__ = "escalation_decisions"
    escalation: str = Field(foreign_key="escalations.id", primary_key=True)
    desk: int = Field(primary_key=True)
    by: str
    verdict: str
    reason: str = Field(sa_type=Text)
    until: int | None = Field(default=None, sa_type=BigInteger)
    purpose: str | None = None
    obligations: list[str] = _json()
    at: int = _instant()


class EscalationRepeatRow(SQLModel, table=True):
    """The trace of a question that was asked again under an escalation."""

    __tablename__ = "escalation_repeats"
    id: int | None = _row_id()
    escalation: str = Field(foreign_key="escalations.id", index=True)
    trace: str = Field(unique=True)


class WebhookRow(SQLModel, table=True):
    """An address that is told of notices. Its secret is made from the generation, and is nowhere."""

    __tablename__ = "webhooks"
    __table_args__ = (_one_open("webhooks", "name"),)
    id: int | None = _row_id()
    name: str
    url: str = Field(sa_type=Text)
    recipients: list[str] = _json()
    events: list[str] = _json()
    generation: str
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class DeliveryRow(SQLModel, table=True):
    """A notice on its way to a webhook. Updated in place: it is work."""

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("webhook", "notice_id"), Index("ix_deliveries_due", "state", "next_at"))
    seq: int | None = _row_id()
    id: str = Field(unique=True)
    webhook: str
    notice_id: int = _reference("notices.id")
    state: str
    tries: int
    next_at: int = _instant()
    problem: str | None = None
    ended_at: int | None = Field(default=None, sa_type=BigInteger)


class BoundaryRow(SQLModel, table=True):
    """Interned and immutable: equal boundaries are one row."""

    __tablename__ = "boundaries"
    id: int | None = _row_id()
    digest: str = Field(unique=True)
    collection: str = Field(index=True)
    level: str
    categories: list[str] = _json()
    readers: list[str] = _json()
    denied: list[str] = _json()
    jurisdictions: list[str] = _json()
    purposes: list[str] = _json()
    consents: list[str] = _json()
    created_at: int = _instant()


class DocumentRow(SQLModel, table=True):
    """A URI in a collection. There may be no version yet: then nobody sees it."""

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("collection", "uri"),)
    id: int | None = _row_id()
    public_id: str = Field(unique=True)
    collection: str
    uri: str = Field(sa_type=Text)
    created_at: int = _instant()


class TextRow(SQLModel, table=True):
    """Canonical text, by digest."""

    __tablename__ = "texts"
    digest: str = Field(primary_key=True)
    text: str = Field(sa_type=Text)


class SignatureRow(SQLModel, table=True):
    """What a text's near-duplicates are found by. Goes with the text."""

    __tablename__ = "signatures"
    id: int | None = _row_id()
    text_digest: str = Field(
        sa_column=Column(String, ForeignKey("texts.digest", ondelete="CASCADE"), nullable=False, unique=True)
    )
    algorithm: str = Field(sa_type=Text)
    slots: bytes = Field(sa_type=LargeBinary)
    normal_digest: str


class BandRow(SQLModel, table=True):
    """Texts that share a band may be alike; the rest are never compared."""

    __tablename__ = "bands"
    __table_args__ = {"sqlite_with_rowid": False}
    band: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    signature_id: int = Field(
        sa_column=Column(ROW_ID, ForeignKey("signatures.id", ondelete="CASCADE"), primary_key=True, index=True)
    )


class VersionRow(SQLModel, table=True):
    """Immutable content. Until `published_at` and `number` are set, together, it is staged and nobody sees it."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("document_id", "number"),
        Index("ix_versions_staged", "job_id", sqlite_where=_STAGED, postgresql_where=_STAGED),
        _NEVER_AGAIN,
    )
    id: int | None = _row_id()
    document_id: int = _reference("documents.id")
    job_id: str = Field(unique=True)
    number: int | None
    published_at: int | None = _instant()
    title: str = Field(sa_type=Text)
    media_type: str
    size_bytes: int = _instant()
    digest: str = Field(index=True)
    metadata_digest: str
    text_digest: str = Field(foreign_key="texts.digest", index=True)
    parser: str
    source: dict[str, Any] = _json()
    attributes: dict[str, list[str]] = _json()
    findings: list[dict[str, str]] = _json()
    detected: list[str] | None = Field(default=None, sa_type=JSON)
    """Categories that the text itself proposes."""


class VersionBoundaryRow(SQLModel, table=True):
    __tablename__ = "version_boundaries"
    __table_args__ = (_one_open("version_boundaries", "version_id"),)
    id: int | None = _row_id()
    version_id: int = _reference("versions.id")
    boundary_id: int = _reference("boundaries.id")
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    causes: list[dict[str, Any]] | None = Field(default=None, sa_type=JSON)
    """What the label is made of; None where it was published before this was kept."""
    reason: str | None = Field(default=None, sa_type=Text)


class PeriodRow(SQLModel, table=True):
    """When a version was true and is to be reviewed, in what we held at the time. One is open a version."""

    __tablename__ = "periods"
    __table_args__ = (_one_open("periods", "version_id"), UniqueConstraint("version_id", "ordinal"))
    id: int | None = _row_id()
    version_id: int = _reference("versions.id")
    ordinal: int
    valid_from: int = _instant()
    valid_to: int = _instant()
    review_by: int | None = _instant()
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    reason: str | None = Field(default=None, sa_type=Text)


class SupersessionRow(SQLModel, table=True):
    """While a row holds, a document's time ends at `valid_from`, where another document takes its place."""

    __tablename__ = "supersessions"
    __table_args__ = (_one_open("supersessions", "document_id"),)
    id: int | None = _row_id()
    document_id: int = _reference("documents.id")
    successor_id: int = _reference("documents.id")
    valid_from: int = _instant()
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class ReviewRow(SQLModel, table=True):
    """An owner has looked at a version and says when it is to be looked at next. Immutable."""

    __tablename__ = "reviews"
    id: int | None = _row_id()
    version_id: int = _reference("versions.id")
    at: int = _instant()
    by: str
    note: str = Field(sa_type=Text)
    next: int | None = _instant()


class WithdrawalRow(SQLModel, table=True):
    """While a row holds, its version is read by owners only. A later version is not withdrawn with it."""

    __tablename__ = "withdrawals"
    __table_args__ = (_one_open("withdrawals", "version_id"),)
    id: int | None = _row_id()
    version_id: int = _reference("versions.id")
    reason: str = Field(sa_type=Text)
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class ElementRow(SQLModel, table=True):
    __tablename__ = "elements"
    version_id: int = Field(sa_column=Column(ROW_ID, ForeignKey("versions.id"), primary_key=True))
    ordinal: int = Field(primary_key=True)
    kind: str
    start: int
    end: int
    page: int | None
    boxes: list[list[float]] = _json()
    section: list[str] = _json()


class ChunkRow(SQLModel, table=True):
    __tablename__ = "chunks"
    __table_args__ = _NEVER_AGAIN
    id: int | None = _row_id()
    version_id: int = _reference("versions.id")
    ordinal: int
    start: int
    end: int
    tokens: int
    digest: str
    """Of the chunk's own text: what `integrity` holds the stored text against."""
    embedded_digest: str = Field(index=True)
    """Of the text as it was embedded, its context in front: the key into `embeddings`."""
    page: int | None
    boxes: list[list[float]] = _json()
    section: list[str] = _json()


class AttachmentRow(SQLModel, table=True):
    """What came with a version of a mail; the document that it became is named when the version is published."""

    __tablename__ = "attachments"
    version_id: int = Field(sa_column=Column(ROW_ID, ForeignKey("versions.id"), primary_key=True))
    ordinal: int = Field(primary_key=True)
    name: str = Field(sa_type=Text)
    media_type: str | None
    digest: str
    document_id: int | None = Field(
        default=None, sa_column=Column(ROW_ID, ForeignKey("documents.id"), nullable=True, index=True)
    )
    job_id: str | None = None
    """None too when the document had these bytes already."""


class TransformationRow(SQLModel, table=True):
    """One step of how a version came to be, in order. Goes with the version."""

    __tablename__ = "transformations"
    version_id: int = Field(sa_column=Column(ROW_ID, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True))
    ordinal: int = Field(primary_key=True)
    activity: str
    input_digest: str
    output_digest: str
    software: str = Field(sa_type=Text)
    parameters: dict[str, Any] = _json()
    started_at: int = _instant()
    ended_at: int = _instant()


class EmbeddingRow(SQLModel, table=True):
    """A cache: what one model made of one text."""

    __tablename__ = "embeddings"
    digest: str = Field(primary_key=True)
    fingerprint: str = Field(primary_key=True)
    vector: bytes = Field(sa_type=LargeBinary)


class IndexTaskRow(SQLModel, table=True):
    """What the index has yet to be told of a version; written with the change itself, removed once it is told."""

    __tablename__ = "index_tasks"
    __table_args__ = (Index("ix_index_tasks_generation", "generation_id", "id"), _NEVER_AGAIN)
    id: int | None = _row_id()
    version_id: int = _reference("versions.id")
    whole: bool
    """Vectors too, not placements alone."""
    generation_id: int = Field(default=1, sa_column=Column(BigInteger, nullable=False, server_default="1"))
    """Of the index that is to be told."""


class GenerationRow(SQLModel, table=True):
    """A generation of the index; kept when it is gone, since traces name it."""

    __tablename__ = "generations"
    id: int | None = _row_id()
    embedding: str = Field(sa_type=Text)
    """Empty, of the first alone, until a server has started."""
    fingerprint: str | None
    dimension: int
    analyzer: str
    state: str = Field(index=True)
    made_at: int = _instant()
    active_from: int | None = _instant_or_none()
    active_to: int | None = _instant_or_none()
    cut_off: int = _count()
    builder: str | None = None
    """The worker that builds it, which others leave alone with it until then."""
    builder_until: int = _count()


class JobRow(SQLModel, table=True):
    """A submission and how far it is. Updated in place: it is work, and its result is what is kept."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_open", "state", "seq"), Index("ix_jobs_collection", "collection", "state", "seq"))
    seq: int | None = _row_id()
    id: str = Field(unique=True)
    kind: str
    state: str
    stage: str | None
    document_id: int = _reference("documents.id")
    filename: str = Field(sa_type=Text)
    media_type: str | None
    blob: str = Field(index=True)
    metadata_json: dict[str, Any] = Field(sa_column=Column("metadata", JSON, nullable=False))
    metadata_digest: str
    submitted_by: str
    submitted_through: str | None
    """The assistant, if one brought it for somebody."""
    submitted_at: int = _instant()
    batch: str | None = Field(default=None, index=True)
    problem: dict[str, Any] | None = _json()
    result: dict[str, Any] | None = _json()
    ended_at: int | None = _instant()
    collection: str = Field(sa_column=Column(String, nullable=False, server_default=""))
    """Its document's, here too: what waits is counted and listed by it."""
    size_bytes: int = _count()
    attempts: int = _count()
    """How often it was begun."""
    setbacks: int = _count()
    """How often a part of ours was down when it was tried, since it was queued by somebody."""
    crashes: int = _count()
    """How often a worker died while it had it, since it was queued by somebody."""
    not_before: int = _count()
    """The instant before which it is not tried again."""


class WorkerRow(SQLModel, table=True):
    """A worker that lives, as long as it says so. Instants are by the database's clock: one, whatever the machine."""

    __tablename__ = "workers"
    name: str = Field(primary_key=True)
    incarnation: str
    """Of this process: another one of the same name has another."""
    place: str
    """Machine and data folder: of two processes there, the kernel tells which one lives."""
    started_at: int = _instant()
    seen_at: int = _instant()


class CitationRow(SQLModel, table=True):
    """A citation that left: the same span of the same version is the same citation."""

    __tablename__ = "citations"
    id: str = Field(primary_key=True)
    version_id: int = _reference("versions.id")
    start: int
    end: int
    quote_digest: str
    created_at: int = _instant()
    cited_at: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """When it last left, to the day."""


class TraceRow(SQLModel, table=True):
    """What was asked, decided and answered. Written before the answer leaves; never changed."""

    __tablename__ = "traces"
    __table_args__ = (
        Index("ix_traces_subject", "subject", "seq"),
        Index("ix_traces_empty", "at", sqlite_where=_FOUND_NOTHING, postgresql_where=_FOUND_NOTHING),
    )
    seq: int | None = _row_id()
    id: str = Field(unique=True)
    at: int = _instant()
    kind: str
    subject: str
    actor: str | None
    proof: str
    outcome: str
    request: dict[str, Any] = _json()
    response: dict[str, Any] = _json()
    grounds: dict[str, Any] = _json()


class HoldRow(SQLModel, table=True):
    """A legal hold; released when `recorded_to` has come."""

    __tablename__ = "holds"
    __table_args__ = (_one_open("holds", "public_id"),)
    id: int | None = _row_id()
    public_id: str = Field(index=True)
    title: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    matter: str | None = Field(sa_type=Text)
    documents: list[str] = _json()
    collections: list[str] = _json()
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    released_by: str | None = None
    release_reason: str | None = Field(default=None, sa_type=Text)


class ErasureRow(SQLModel, table=True):
    """An erasure and how far it is. Updated in place until it is certified, and never after."""

    __tablename__ = "erasures"
    __table_args__ = (Index("ix_erasures_collection", "collection", "seq"),)
    seq: int | None = _row_id()
    id: str = Field(unique=True)
    document_id: int = _reference("documents.id")
    collection: str
    whole: bool
    reason: str = Field(sa_type=Text)
    rule: str | None = Field(sa_type=Text)
    requested_at: int = _instant()
    requested_by: str
    state: str = Field(index=True)
    originals: list[str] = _json()
    """Digests of the bytes that go unless another document has them."""
    removed: dict[str, int] = _json()
    kept: dict[str, int] = _json()
    probes: dict[str, int] = _json()
    index_rewritten: bool
    certificate: dict[str, Any] | None = _json()
    certificate_digest: str | None = None
    claimed_by: str | None = None
    claimed_until: int = _instant()


class ErasedVersionRow(SQLModel, table=True):
    """A version that is being erased or is: its row in `versions` stays, without content, for history to point at."""

    __tablename__ = "erased_versions"
    version_id: int = Field(sa_column=Column(ROW_ID, primary_key=True, autoincrement=False))
    erasure: str = Field(foreign_key="erasures.id", index=True)
    number: int | None
    digest: str = Field(index=True)
    text_digest: str


class TombstoneRow(SQLModel, table=True):
    """While a row holds, its uri is not taken in again. The uri is there by its HMAC alone."""

    __tablename__ = "tombstones"
    __table_args__ = (_one_open("tombstones", "mark"),)
    id: int | None = _row_id()
    mark: str
    erasure: str = Field(foreign_key="erasures.id", index=True)
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str
    readmitted_by: str | None = None
    readmit_reason: str | None = Field(default=None, sa_type=Text)


class RetentionRow(SQLModel, table=True):
    """A collection's retention rules."""

    __tablename__ = "retentions"
    __table_args__ = (_one_open("retentions", "collection"),)
    id: int | None = _row_id()
    collection: str
    rules: list[dict[str, Any]] = _json()
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class RetentionDueRow(SQLModel, table=True):
    """When a collection's rules are carried out next; whoever moves it on carries them out."""

    __tablename__ = "retention_due"
    collection: str = Field(primary_key=True)
    due_at: int = _instant()


class SourceRow(SQLModel, table=True):
    """A place that documents are fetched from, and how far its runs are. Its settings are history: see below."""

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("collection", "name"),)
    id: int | None = _row_id()
    collection: str
    name: str
    created_at: int = _instant()
    next_run_at: int | None = Field(default=None, sa_type=BigInteger, index=True)
    cursor: str | None = Field(default=None, sa_type=Text)
    cursor_of: str | None = None
    """The digest of the settings that the cursor was given under; other settings begin anew."""
    watched: str | None = None
    """What a watched place looked like when a run of it was last asked for."""


class SourceSettingsRow(SQLModel, table=True):
    """How a source is registered; `recorded_by` is in whose name its runs act. Removed, it has none that holds."""

    __tablename__ = "source_settings"
    __table_args__ = (_one_open("source_settings", "source_id"),)
    id: int | None = _row_id()
    source_id: int = _reference("sources.id")
    connector: str
    location: str = Field(sa_type=Text)
    options: dict[str, str] = _json()
    schedule: str | None
    namespace: str
    paused: bool
    actor: str | None
    proof: str
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class SourceItemRow(SQLModel, table=True):
    """What is remembered of an item between two runs. Updated in place: it is work, and jobs and versions are kept."""

    __tablename__ = "source_items"
    __table_args__ = (UniqueConstraint("source_id", "key"), Index("ix_source_items_seen", "source_id", "run_id"))
    id: int | None = _row_id()
    source_id: int = _reference("sources.id")
    key: str = Field(sa_type=Text)
    uri: str = Field(sa_type=Text)
    token: str
    etag: str | None
    digest: str | None
    said: str
    valid_from: int | None = _instant()
    acl: list[list[str]] | None = _json()
    document_id: int | None = Field(
        default=None, sa_column=Column(ROW_ID, ForeignKey("documents.id"), nullable=True, index=True)
    )
    job_id: str | None
    run_id: str
    gone: bool


class SourceRunRow(SQLModel, table=True):
    """One run, and how far it is. `claim` is whose it is while it lists, until `lease_until`."""

    __tablename__ = "source_runs"
    __table_args__ = (Index("ix_source_runs_open", "state", "seq"),)
    seq: int | None = _row_id()
    id: str = Field(unique=True)
    source_id: int = _reference("sources.id")
    state: str
    triggered_by: str
    requested_at: int = _instant()
    started_at: int | None = _instant()
    listed_at: int | None = _instant()
    ended_at: int | None = _instant()
    cursor: str | None = Field(sa_type=Text)
    whole: bool
    confirmed: bool
    cancelling: bool
    claim: str | None
    lease_until: int | None = _instant()
    problem: dict[str, Any] | None = _json()


class SourceRunItemRow(SQLModel, table=True):
    """What became of an item in a run, where it was not left as it is."""

    __tablename__ = "source_run_items"
    __table_args__ = (UniqueConstraint("run_id", "key", "token"),)
    id: int | None = _row_id()
    run_id: str = Field(index=True)
    key: str = Field(sa_type=Text)
    token: str
    uri: str = Field(sa_type=Text)
    outcome: str
    document_id: int | None = Field(default=None, sa_column=Column(ROW_ID, ForeignKey("documents.id"), nullable=True))
    job_id: str | None = Field(default=None, index=True)
    stated: dict[str, Any] = _json()
    """The boundary that was stated of it: who may not read within it is not told of it."""
    problem: dict[str, Any] | None = _json()


class SourceRunUnchangedRow(SQLModel, table=True):
    """How many items a run left as they are, by the boundary of their newest version at the time."""

    __tablename__ = "source_run_unchanged"
    run_id: str = Field(primary_key=True)
    boundary_id: int = Field(sa_column=Column(ROW_ID, ForeignKey("boundaries.id"), primary_key=True))
    number: int


class ForeignPrincipalRow(SQLModel, table=True):
    """Who is meant here by a name of another directory."""

    __tablename__ = "foreign_principals"
    __table_args__ = (_one_open("foreign_principals", "namespace", "kind", "value"),)
    id: int | None = _row_id()
    namespace: str
    kind: str
    value: str
    ref: str
    recorded_from: int = _instant()
    recorded_to: int = _instant()
    recorded_by: str


class GoldenQuestionRow(SQLModel, table=True):
    """A question that owners of a collection evaluate it by, as they last stated it. No answer depends on it.

    A name is each owner's own: whether it is taken would tell others of a question that is hidden from them.
    """

    __tablename__ = "golden_questions"
    collection: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    question: str = Field(sa_type=Text)
    who: str | None
    purpose: str | None
    as_of: int | None = Field(sa_type=BigInteger)
    expects: list[dict[str, Any]] = _json()
    slice: str
    unanswerable: bool
    stated_at: int = _instant()
    stated_by: str = Field(primary_key=True)


class EvaluationRow(SQLModel, table=True):
    """An evaluation of a collection by its golden questions, as it came out. Immutable."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("ix_evaluations_collection", "collection", "seq"),)
    seq: int | None = _row_id()
    id: str = Field(unique=True)
    collection: str
    at: int = _instant()
    by: str
    ranking: dict[str, Any] = _json()
    model: str
    reached: list[dict[str, Any]] = _json()
    """For each purpose the boundaries that it could be answered from: who may not read one of them is not shown it."""
    scored: list[dict[str, Any]] = _json()
