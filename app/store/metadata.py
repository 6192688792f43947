"""Document metadata as the JSON that a job row and a digest are made of."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from app.domain.access import PrincipalRef
from app.domain.corpus import DocumentId, Finding, FindingCode, Metadata, Origin
from app.domain.labels import Label, parse_level


def metadata_to_json(metadata: Metadata) -> dict[str, Any]:
    label = metadata.label
    beyond = {"supersedes": sorted(metadata.supersedes)} if metadata.supersedes else {}
    return beyond | {
        "uri": metadata.uri,
        "title": metadata.title,
        "label": {"level": label.level.word, "categories": sorted(label.categories)} if label else None,
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
        label=Label(level=parse_level(label["level"]), categories=frozenset(label["categories"])) if label else None,
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
    """Equal when the same was said of a document. `source` is left out: fetching again is not a change."""
    said = {name: value for name, value in metadata_to_json(metadata).items() if name != "source"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def source_to_json(source: Origin) -> dict[str, Any]:
    return {
        "connector": source.connector,
        "fetched_at": source.fetched_at,
        "etag": source.etag,
        "author": source.author,
        **({"rollback_of": source.rollback_of} if source.rollback_of is not None else {}),
    }


def source_from_json(value: dict[str, Any]) -> Origin:
    return Origin(
        connector=value["connector"],
        fetched_at=value["fetched_at"],
        etag=value["etag"],
        author=value["author"],
        rollback_of=value.get("rollback_of"),
    )


def findings_to_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [{"code": each.code.value, "detail": each.detail} for each in findings]


def findings_from_json(value: Iterable[dict[str, str]]) -> tuple[Finding, ...]:
    return tuple(Finding(code=FindingCode(each["code"]), detail=each["detail"]) for each in value)
