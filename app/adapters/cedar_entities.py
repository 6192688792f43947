"""Questions and what they are about in Cedar's own terms: entities and requests, as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.access import Collection, Kind, Party, PrincipalRef, Question, Use, kind_of
from app.domain.stated import Stated
from app.ports import Bounded, Institution, Resource, Thing

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question in Cedar's terms: all of a request but its resource, and the entities that it speaks of."""

    request: Json
    entities: str
    """The subject and the actor, as Cedar's JSON."""
    memberships: Mapping[tuple[str, str], frozenset[str]]
    """The groups that each of them is in, its own among them; by its type and name."""

    @classmethod
    def of(cls, question: Question) -> "list[Asked]":
        """The question once for each of the actors, who are ceilings of their own; once if there are none."""
        return [cls._through(actor, question) for actor in question.principal.actors or (None,)]

    @classmethod
    def _through(cls, actor: Party | None, question: Question) -> "Asked":
        subject = question.principal.subject
        parties = [party for party in (subject, actor) if party is not None]
        context = _context(question)
        if actor is not None:
            context["actor"] = {"__entity": _principal_uid(actor)}
        if question.use is not None:
            context |= _use(question.use)
        return cls(
            request={
                "principal": _principal_uid(subject),
                "action": _uid("Action", question.action),
                "context": json.dumps(context),
            },
            entities=json.dumps(
                [
                    *map(_party_entity, parties),
                    *(_use_entities(question.use) if question.use is not None else ()),
                ]
            ),
            memberships={(party.kind.capitalize(), party.ref): _memberships(party) for party in parties},
        )


def _context(question: Question) -> Json:
    terms = question.terms
    context: Json = {
        "interface": question.interface,
        "proven": question.principal.proof == "proven",
        "second_factor": question.principal.second_factor,
        "granted": [{"__entity": _uid("Collection", name)} for name in terms.granted],
        "waived": [*terms.waived],
        "consents": [*terms.consents],
        "consent_needed": terms.consent_needed,
        "consented": terms.consented,
        "transferable": terms.transferable,
    }
    stated = {"purpose": question.purpose, "client": question.client, "destination": question.destination}
    context.update({name: value for name, value in stated.items() if value is not None})
    if terms.purpose_categories is not None:
        context["purpose_categories"] = [*terms.purpose_categories]
    return context


def _use(use: Use) -> Json:
    return {
        "operation": use.operation,
        "operation_stated": _stated("operation"),
        "subject_stated": _stated("subject"),
        "stated": _stated("request"),
    }


def _use_entities(use: Use) -> Iterable[Json]:
    yield from _stated_entities(use.of_operation, "operation")
    yield from _stated_entities(use.of_subject, "subject")
    yield from _stated_entities(use.of_request, "request")


def _stated(of: str) -> Json:
    """What is stated of something: an entity for each type, since all tags of an entity are of one type."""
    return {name: {"__entity": _uid(type_name, of)} for name, type_name in _STATED.items()}


def _stated_entities(said: Stated, of: str) -> Iterable[Json]:
    """Those that have tags; Cedar takes an entity that it is not told of for one that has none."""
    for name, type_name in _STATED.items():
        tags = {key: [*value] if isinstance(value, frozenset) else value for key, value in getattr(said, name)}
        if tags:
            yield {**_entity(_uid(type_name, of)), "tags": tags}


_STATED = {"texts": "Texts", "flags": "Flags", "numbers": "Numbers", "lists": "Lists"}


def resource_entities(resources: Sequence[Resource]) -> Iterable[Json]:
    """The resources and their collections, each collection once.

    Two states of one collection cannot be told of together: Cedar refuses them, and each is then decided alone.
    """
    collections = {_collection_of(resource): None for resource in resources}
    yield from (_collection_entity(collection) for collection in collections if collection is not None)
    for n, resource in enumerate(resources):
        if isinstance(resource, Bounded):
            yield _boundary_entity(resource, n)
        elif isinstance(resource, Thing):
            yield _entity(resource_uid(resource, n), _thing(resource, n))
            yield from _stated_entities(resource.stated, str(n))
        elif not isinstance(resource, Collection):
            yield _entity(resource_uid(resource, n))


def _collection_of(resource: Resource) -> Collection | None:
    if isinstance(resource, Bounded):
        return resource.collection
    return resource if isinstance(resource, Collection) else None


def resource_uid(resource: Resource, n: int) -> Json:
    """A boundary goes by its place in the chunk: it has no name, and rows stay inside. So does a thing, of which
    several states may be asked about at once."""
    if isinstance(resource, Thing):
        return _uid("Thing", str(n))
    if isinstance(resource, Bounded):
        return _uid("Boundary", str(n))
    if isinstance(resource, Collection):
        return _uid("Collection", resource.name)
    if isinstance(resource, Institution):
        return _uid("Institution", "all")
    raise TypeError("what is to be decided about is no resource")


def _party_entity(party: Party) -> Json:
    """INVARIANT: besides its groups, a principal is in one of its own, by which readers, denied and owners name it.

    So nobody may be in another principal's: whatever the directory says, the rest have to be groups.
    """
    profile = party.profile
    if any(kind_of(group) is not Kind.GROUP for group in party.groups):
        raise ValueError("a principal is said to be in something that is no group")
    attributes: Json = {
        "name": profile.ref.partition(":")[2],
        "active": profile.active,
        "clearance": int(profile.clearance),
        "categories": [*profile.categories],
        "jurisdictions": [*(profile.jurisdictions | party.within)],
        "receives": [*party.receives],
        "purposes": [*profile.purposes],
    }
    if party.kind is Kind.ASSISTANT:
        attributes["collections"] = [_uid("Collection", name) for name in profile.collections]
    return _entity(_principal_uid(party), attributes, parents=_groups(_memberships(party)))


def _memberships(party: Party) -> frozenset[PrincipalRef]:
    return party.groups | {party.ref}


def _collection_entity(collection: Collection) -> Json:
    attributes = {"owners": _groups(collection.owners), "discoverable": collection.discoverable}
    return _entity(_uid("Collection", collection.name), attributes)


def _boundary_entity(bounded: Bounded, n: int) -> Json:
    boundary = bounded.boundary
    if boundary.collection != bounded.collection.name:
        raise ValueError("a boundary was given with another collection than its own")
    home = _uid("Collection", boundary.collection)
    attributes = {
        "collection": home,
        "level": int(boundary.label.level),
        "categories": [*boundary.label.categories],
        "readers": _groups(boundary.readers),
        "denied": _groups(boundary.denied),
        "jurisdictions": [*boundary.jurisdictions],
        "consents": [*boundary.consents],
        "purposes": [*boundary.purposes],
    }
    return _entity(_uid("Boundary", str(n)), attributes, parents=[home])


def _thing(thing: Thing, n: int) -> Json:
    return {"type": thing.type, "name": thing.name, "stated": _stated(str(n))}


def _groups(refs: Iterable[PrincipalRef]) -> list[Json]:
    return [_uid("Group", ref) for ref in refs]


def _principal_uid(party: Party) -> Json:
    return _uid(party.kind.capitalize(), party.ref)


def _entity(uid: Json, attributes: Json | None = None, *, parents: Sequence[Json] = ()) -> Json:
    return {"uid": uid, "attrs": attributes or {}, "parents": [*parents]}


def _uid(type_name: str, name: str) -> Json:
    """Never written as Cedar text, so nothing in a name needs escaping."""
    return {"type": f"Muniment::{type_name}", "id": name}
