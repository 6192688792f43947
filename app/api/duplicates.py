"""Near-duplicates: which documents live in several places."""

import base64
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, problems
from app.api.wire import Name, Text
from app.domain.corpus import DocumentId
from app.domain.errors import Invalid
from app.operations import duplicates
from app.operations.read import Shown

routes = APIRouter(tags=["documents"], responses=ASKED)


class PlacedOut(BaseModel):
    """A document in force, and where it lives."""

    document_id: str
    collection: str
    uri: str
    title: str
    version: int
    system_of_record: bool = Field(description="Whether its collection is a system of record: it then is the one.")


class SimilarityOut(BaseModel):
    """Jaccard's, of runs of three words: 0 to 1."""

    estimated: float = Field(description="From the signatures that were made when the documents came in.")
    exact: float | None = Field(description="Of the texts themselves; null where there was too much to compare.")


class TwinOut(BaseModel):
    document: PlacedOut
    similarity: SimilarityOut
    identical: bool = Field(description="Whether the two texts are the same, sign for sign.")


class TwinsOut(BaseModel):
    document: PlacedOut
    others: list[TwinOut] = Field(description="The most alike first.")
    more: bool = Field(description=f"Whether there are more than {duplicates.MAX_TWINS}.")


class DuplicatesOut(BaseModel):
    documents: list[TwinsOut]
    cursor: str | None = Field(description="Send it back to go on; null at the end.")


@routes.get(
    "/v1/collections/{name}/duplicates",
    summary="Documents of a collection that live in others too",
    responses=problems(404),
)
def get_collection_duplicates(
    name: Name,
    asking: Asking,
    ports: PortsOf,
    purpose: Name | None = None,
    cursor: Annotated[str, StringConstraints(max_length=4000)] | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> DuplicatesOut:
    """For its owners, by uri: each document in force with those in other collections that say nearly the same, as far
    as the owner may read both."""
    after = _place(cursor) if cursor else None
    page = duplicates.of_collection(ports, asking, name, purpose=purpose, after=after, limit=limit)
    return DuplicatesOut(
        documents=[_twins(each) for each in page.documents],
        cursor=base64.urlsafe_b64encode(page.after.encode()).decode() if page.after is not None else None,
    )


@routes.get(
    "/v1/documents/{id}/duplicates", summary="Documents that say nearly the same as one", responses=problems(404)
)
def get_document_duplicates(id: Text, asking: Asking, ports: PortsOf, purpose: Name | None = None) -> TwinsOut:
    """Wherever they are in force, as far as the caller may read them and this one."""
    return _twins(duplicates.of_document(ports, asking, DocumentId(id), purpose=purpose))


def _twins(twins: duplicates.Twins) -> TwinsOut:
    return TwinsOut(
        document=_placed(twins.shown),
        others=[
            TwinOut(
                document=_placed(twin.shown),
                similarity=SimilarityOut(
                    estimated=round(twin.estimated, 4),
                    exact=round(twin.exact, 4) if twin.exact is not None else None,
                ),
                identical=twin.identical,
            )
            for twin in twins.others
        ],
        more=twins.more,
    )


def _placed(shown: Shown) -> PlacedOut:
    version = shown.version
    return PlacedOut(
        document_id=version.document.id,
        collection=version.document.collection,
        uri=version.document.uri,
        title=version.title,
        version=version.number,
        system_of_record=shown.collection.system_of_record,
    )


_PLACE = TypeAdapter(Text)


def _place(cursor: str) -> str:
    try:
        return _PLACE.validate_python(base64.urlsafe_b64decode(cursor.encode()).decode())
    except ValueError:
        raise Invalid("That cursor is not one that was given out here. Begin again without one.") from None
