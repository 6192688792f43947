"""What a request says of who asks."""

from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer

from app.operations.identify import Credentials

_bearer = HTTPBearer(
    auto_error=False,
    description="An API key (`mun_...`) of a person, an assistant or an administrator; or a JWT access token "
    "(RFC 9068) of the configured issuer, whose `act` names the assistants that act for its subject.",
)


def credentials_of(request: Request) -> Credentials:
    scheme, _, token = (_header(request, "Authorization") or "").partition(" ")
    return Credentials(
        bearer=token.strip() if scheme.lower() == "bearer" else None,
        subject_token=_header(request, "Muniment-Subject-Token"),
        on_behalf_of=_header(request, "Muniment-On-Behalf-Of"),
    )


def _header(request: Request, name: str) -> str | None:
    """A header; one that is sent twice is joined (RFC 9110, 5.3), so it is nobody's key and nobody's name."""
    return ", ".join(request.headers.getlist(name)) if name in request.headers else None


async def _with_scheme(
    request: Request,
    _: Annotated[object, Security(_bearer)],
    __: Annotated[
        str | None,
        Header(
            alias="Muniment-Subject-Token",
            description="An assistant's: the key or the access token of the person it acts for.",
        ),
    ] = None,
    ___: Annotated[
        str | None,
        Header(
            alias="Muniment-On-Behalf-Of",
            description="An assistant's that may assert: the person it acts for.",
            examples=["user:ana"],
        ),
    ] = None,
) -> Credentials:
    """As `credentials_of`, and OpenAPI knows that a bearer is wanted and how to act for somebody.

    A coroutine, as a function would be called in a thread of its own.
    """
    return credentials_of(request)


Asking = Annotated[Credentials, Depends(_with_scheme)]
