"""What a search box needs while somebody types: names that complete it, and counts to narrow by."""

from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED
from app.api.wire import At, Name, Storable
from app.operations import suggest

routes = APIRouter(tags=["search"], responses=ASKED)

Typed = Annotated[str, StringConstraints(min_length=1, max_length=200), Storable]
Part = Annotated[str, StringConstraints(max_length=200), Storable]


class SuggestionOut(BaseModel):
    text: str
    kind: Literal["title", "name"] = Field(description="A title, or the last part of a uri.")
    document_id: str
    collection: str
    uri: str


class SuggestionsOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "suggestions": [
                    {
                        "text": "Data-sharing policy",
                        "kind": "title",
                        "document_id": "doc_ycm4hswkclbmkpkltlte2st7ae",
                        "collection": "policies",
                        "uri": "policies/data-sharing",
                    }
                ]
            }
        }
    )
    suggestions: list[SuggestionOut]


class FacetsOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "documents": 3,
                "facets": {
                    "collection": {"policies": 2, "claims": 1},
                    "level": {"internal": 3},
                    "media_type": {"application/pdf": 2, "text/markdown": 1},
                    "attributes.region": {"EU": 2},
                },
            }
        }
    )
    documents: int
    facets: dict[str, dict[str, int]] = Field(description="Documents by value; values of the most documents first.")


@routes.get("/v1/suggest", summary="Titles and names that complete what is typed")
def get_suggestions(
    asking: Asking,
    ports: PortsOf,
    at: At,
    q: Annotated[Typed, Query(description="what was typed so far", examples=["data sh"])],
    collection: Name | None = None,
    purpose: Name | None = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> SuggestionsOut:
    """Of documents in force that may be known of: those that begin with it, those that have its words, then those that
    a slip of the hand parts from it."""
    found = suggest.suggestions(ports, asking, q, purpose=purpose, collection=collection, limit=limit, at=at)
    return SuggestionsOut(
        suggestions=[
            SuggestionOut(
                text=each.text,
                kind=cast(Literal["title", "name"], each.kind),
                document_id=each.document,
                collection=each.collection,
                uri=each.uri,
            )
            for each in found
        ]
    )


@routes.get("/v1/facets", summary="How many documents there are that may be known of, by what questions filter by")
def get_facets(
    asking: Asking,
    ports: PortsOf,
    at: At,
    q: Annotated[Part | None, Query(description="part of the title or uri")] = None,
    collection: Name | None = None,
    purpose: Name | None = None,
) -> FacetsOut:
    """Documents in force by collection, level, media type and `attributes.*`, by which `filters` of a question narrow.
    Of each, the values of the most documents are given."""
    found = suggest.facets(ports, asking, purpose=purpose, collection=collection, containing=q, at=at)
    return FacetsOut(documents=found.documents, facets={name: dict(values) for name, values in found.by.items()})
