"""From stated metadata to a boundary."""

from app.domain.access import Boundary, Collection, PrincipalRef
from app.domain.corpus import Metadata
from app.domain.labels import Label, Level
from ingest.labelling import labelled

COLLECTION = Collection(
    name="policies",
    title="Policies",
    owners=frozenset({PrincipalRef("group:legal")}),
    default_label=Label(level=Level.CONFIDENTIAL, categories=frozenset({"privileged"})),
    default_readers=frozenset({PrincipalRef("group:all-staff")}),
    jurisdictions=frozenset({"EU"}),
)


def test_nothing_stated_takes_the_collections_label_and_leaves_the_rest_to_follow_it() -> None:
    boundary = labelled(Metadata(uri="a"), COLLECTION)
    assert boundary == Boundary(collection="policies", label=COLLECTION.default_label)
    assert boundary.within(COLLECTION).readers == COLLECTION.default_readers


def test_a_stated_label_is_taken_whole_and_everything_stated_is_kept() -> None:
    stated = Metadata(
        uri="a",
        label=Label(level=Level.PUBLIC, categories=frozenset({"pii"})),
        readers=frozenset({PrincipalRef("user:ana")}),
        denied=frozenset({PrincipalRef("user:ben")}),
        jurisdictions=frozenset({"US"}),
        purposes=frozenset({"claims"}),
        consents=frozenset({"CH"}),
    )
    assert labelled(stated, COLLECTION) == Boundary(
        collection="policies",
        label=Label(level=Level.PUBLIC, categories=frozenset({"pii"})),
        readers=frozenset({PrincipalRef("user:ana")}),
        denied=frozenset({PrincipalRef("user:ben")}),
        jurisdictions=frozenset({"US"}),
        purposes=frozenset({"claims"}),
        consents=frozenset({"CH"}),
    )
