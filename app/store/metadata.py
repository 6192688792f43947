"""Document metadata as the JSON that a job row and a digest are made of."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, Finding, FindingCode, Metadata, Origin
from app.domain.labels import Cause, CauseKind, Label, LabelRule, parse_level


def metadata_to_json(metadata: Metadata) -> dict[str, Any]:
    label = metadata.label
    beyond = {"supersedes": sorted(metadata.supersedes)} if metadata.supersedes else {}
    return beyond | {
        "uri": metadata.uri,
        "title": metadata.title,
        "label": label_to_json(label) if label else None,
        "label_reason": metadata.label_reason,
        "readers": sorted(metadata.readers),
        "denied": sorted(metadata.denied),
        "jurisdictions": sorted(metadata.jurisdictions),
        "purposes": sorted(metadata.purposes),
        "consents": sorted(metadata.consents),
        "valid_from": metadata.valid_from,
        "valid_to": metadata.valid_to,
        "review_by": metadata.review_by,
        "source": source_to_json(metadata.source),
        "attributes": {name: list(values) for name, values in sorted(metadata.attributes.items())},
    }


def metadata_from_json(value: dict[str, Any]) -> Metadata:
    label = value["label"]
    return Metadata(
        uri=value["uri"],
        title=value["title"],
        label=label_from_json(label) if label else None,
        label_reason=value.get("label_reason"),
        readers=frozenset(PrincipalRef(ref) for ref in value["readers"]),
        denied=frozenset(PrincipalRef(ref) for ref in value["denied"]),
        jurisdictions=frozenset(value["jurisdictions"]),
        purposes=frozenset(value["purposes"]),
        consents=frozenset(value["consents"]),
        valid_from=value["valid_from"],
        valid_to=value["valid_to"],
        review_by=value["review_by"],
        source=source_from_json(value["source"]),
        attributes={name: tuple(values) for name, values in value["attributes"].items()},
        supersedes=frozenset(DocumentId(id) for id in value.get("supersedes", ())),
    )


def metadata_digest(metadata: Metadata) -> str:
    """Equal when the same was said of a document. `source` is left out: fetching again is not a change.

    A reason that is not given is left out too: what was submitted before there were any has the same digest.
    """
    said = {name: value for name, value in metadata_to_json(metadata).items() if name != "source"}
    if metadata.label_reason is None:
        del said["label_reason"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def label_to_json(label: Label) -> dict[str, Any]:
    return {"level": label.level.word, "categories": sorted(label.categories)}


def label_from_json(value: dict[str, Any]) -> Label:
    return Label(level=parse_level(value["level"]), categories=frozenset(value["categories"]))


def rules_to_json(rules: Iterable[LabelRule]) -> list[dict[str, Any]]:
    return [
        {
            "path": rule.path,
            "level": rule.level.word if rule.level is not None else None,
            "categories": sorted(rule.categories),
        }
        for rule in rules
    ]


def rules_from_json(value: Iterable[dict[str, Any]]) -> tuple[LabelRule, ...]:
    return tuple(
        LabelRule(
            path=each["path"],
            level=parse_level(each["level"]) if each["level"] is not None else None,
            categories=frozenset(each["categories"]),
        )
        for each in value
    )


def causes_to_json(causes: Iterable[Cause]) -> list[dict[str, str | None]]:
    return [{"kind": each.kind.value, "detail": each.detail} for each in causes]


def causes_from_json(value: Iterable[dict[str, Any]] | None) -> tuple[Cause, ...]:
    return tuple(Cause(kind=CauseKind(each["kind"]), detail=each["detail"]) for each in value or ())


def source_to_json(source: Origin) -> dict[str, Any]:
    return {
        "connector": source.connector,
        "fetched_at": source.fetched_at,
        "etag": source.etag,
        "author": source.author,
        "location": source.location,
        "item": source.item,
        **({"rollback_of": source.rollback_of} if source.rollback_of is not None else {}),
    }


def source_from_json(value: dict[str, Any]) -> Origin:
    return Origin(
        connector=value["connector"],
        fetched_at=value["fetched_at"],
        etag=value["etag"],
        author=value["author"],
        location=value.get("location"),  # what was recorded before these were kept has neither
        item=value.get("item"),
        rollback_of=value.get("rollback_of"),
    )


def findings_to_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [{"code": each.code.value, "detail": each.detail} for each in findings]


def findings_from_json(value: Iterable[dict[str, str] | str]) -> tuple[Finding, ...]:
    """Those from before findings had codes are sentences alone: each said what was not read."""
    return tuple(
        Finding(code=FindingCode.PARTIAL, detail=each)
        if isinstance(each, str)
        else Finding(code=FindingCode(each["code"]), detail=each["detail"])
        for each in value
    )
