"""SCIM 2.0 (RFC 7643, RFC 7644): users and groups kept by another directory, over scim2-server.

The library speaks the protocol: it validates, patches, compares versions and shapes answers. Here is what it stands
on: our directory as its storage, and the one route. Its models are pydantic's and typed by `Any`, so they stay here.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, cast
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    EnterpriseUser,
    ETag,
    Extension,
    Filter,
    Group,
    InvalidValueException,
    Meta,
    NotFoundException,
    Patch,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    ScimProvider,
    SearchRequest,
    ServiceProviderConfig,
    Sort,
    UniquenessException,
    User,
)
from scim2_models.path import CompareOperator, Comparison
from scim2_server.handler import ScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.service import ScimService
from scim2_server.storage import ScimStorage, SearchPage
from sqlalchemy.orm import Session

from app.api.credentials import credentials_of
from app.api.ports import PortsOf
from app.domain.access import Kind
from app.domain.errors import Conflict, Invalid, NotFound, NotPermitted
from app.domain.instants import Instant
from app.domain.labels import Level
from app.domain.provisioning import Provisioned, Related, ResourceId, Said, Stated
from app.domain.trace import TraceId
from app.operations import provision
from app.operations.attest import refused
from app.operations.identify import Standing
from app.ports import Ports
from app.store import provisioning

routes = APIRouter(include_in_schema=False)

ROOT = "/scim/v2"
MAX_SCIM_BYTES = 2_000_000
"""Of a request: some ten thousand members at once."""
MAX_RESULTS = 200
MAX_OPERATIONS = 500
"""Of one patch, about a second: each is applied to the whole that those before it have made, and checked."""
MAX_FILTER_CHARS = 8_000
"""It is held against every user and group."""
_WALKED_AT_ONCE = 200
_TRIES = 20
"""Of a change that others' changes come before, unless the client says which version it means."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


class UserReach(Extension):
    """What Muniment knows of a user beyond SCIM. What is left out is as everybody has it: cleared for internal, and
    nowhere. Several names are one text with spaces between, since identity providers map single values."""

    __schema__ = URN("urn:muniment:params:scim:schemas:extension:reach:2.0:User")
    clearance: str | None = Field(default=None, examples=[level.word for level in Level])
    """The highest level of label that the user may see."""
    categories: str | None = None
    """The categories of labels that the user holds."""
    jurisdictions: str | None = None
    """Where the user is."""
    team: str | None = None
    """Whose costs the user's questions are."""


_MODELS: dict[Kind, type[Resource[Any]]] = {
    Kind.USER: cast(Any, User)[EnterpriseUser | UserReach],
    Kind.GROUP: Group,
}
_KINDS = {"User": Kind.USER, "Group": Kind.GROUP}
_ENDPOINTS = {Kind.USER: "Users", Kind.GROUP: "Groups"}
_REACH = str(UserReach.__schema__)
_KEPT_ELSEWHERE = ("id", "meta", "schemas", "externalId", "members", "groups", "password")
"""Of a resource, what is not kept as it was put: it has a place of its own, or none."""

PROVIDER = ScimProvider(
    models=[User, EnterpriseUser, UserReach, Group],
    resource_types=[ResourceType.from_resource(model) for model in _MODELS.values()],
    config=ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MAX_RESULTS),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="API key",
                description="A key of a principal in group:provisioners, best limited to the action provision.",
                primary=True,
            )
        ],
    ),
)
_SERVICE = ScimService(PROVIDER)


Look = Callable[[], AbstractContextManager[Session]]
"""Opens a look at the database, for whoever may look at that moment."""


async def _body(request: Request) -> bytes:
    return await request.body()


@routes.api_route(ROOT, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
@routes.api_route(ROOT + "/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def scim(request: Request, body: Annotated[bytes, Depends(_body)], ports: PortsOf) -> Response:
    """Every SCIM request of whoever may provision. Ours among the errors are put into SCIM's form with all others."""
    credentials = credentials_of(request)
    standing = provision.provisioner(ports, credentials)
    asked = _request(request, body)
    try:
        return _response(_answer(ports, standing, partial(provision.looking, ports, credentials), asked))
    except SCIMException as error:
        if error.status in (403, 404):
            ours = NotPermitted(str(error)) if error.status == 403 else NotFound(str(error))
            id = TraceId(f"tr_{ports.new_id()}")
            refused(ports, credentials, ours, id, method=request.method, path=asked.path)
        return _response(_SERVICE.error_response(error))


def _answer(ports: Ports, standing: Standing, look: Look, asked: ScimRequest) -> ScimResponse:
    """The library's answer. What others changed meanwhile is looked at again; with `If-Match`, it then does not."""
    handler = ScimHandler(_SERVICE, DirectoryStorage(ports, standing, look))
    try:
        _check_size(asked)
        for _ in range(_TRIES):
            try:
                return handler.handle(asked)
            except _Overtaken:
                continue
    except RecursionError:
        raise InvalidValueException(detail="It is nested too deeply.") from None
    raise Conflict("Others keep changing it. Try again in a moment.")


def _check_size(asked: ScimRequest) -> None:
    """Whether it is answered in a moment. What cannot be read is the library's to refuse."""
    try:
        sent = json.loads(asked.body) if asked.body else None
    except ValueError:
        return
    said: dict[str, Any] = {name.lower(): value for name, value in sent.items()} if isinstance(sent, dict) else {}
    operations, wanted = said.get("operations"), asked.query.get("filter") or said.get("filter")
    if isinstance(operations, list) and len(operations) > MAX_OPERATIONS:
        raise InvalidValueException(detail=f"A patch has {MAX_OPERATIONS} operations at the most. Send it as several.")
    if isinstance(wanted, str) and len(wanted) > MAX_FILTER_CHARS:
        raise InvalidValueException(detail=f"A filter has {MAX_FILTER_CHARS} characters at the most.")


class _Overtaken(PreconditionFailedException):
    """It changed between being read and being written."""


class DirectoryStorage(ScimStorage):
    """Our directory as scim2-server's storage: what one principal keeps there, each change one transaction."""

    def __init__(self, ports: Ports, standing: Standing, look: Look) -> None:
        self._ports, self._standing, self._look = ports, standing, look

    def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        members = response_parameters is None or _shows_members(response_parameters)
        with self._look() as session:
            found = (
                provisioning.resource(session, ResourceId(resource_id), members=members)
                if _is_id(resource_id)
                else None
            )
        if found is None or found.profile.kind is not _kind(resource_type):
            raise NotFoundException(detail="There is nothing by that id.")
        return _resource(found)

    def search(
        self, resource_types: list[ResourceType], search_request: SearchRequest[Any], *, position: Any = None
    ) -> SearchPage:
        kinds = [_kind(each) for each in resource_types]
        start = search_request.start_index_0 or 0
        with self._look() as session:
            if search_request.filter is None and search_request.sort_by is None:
                total = provisioning.count(session, kinds)
                limit = total if search_request.count is None else search_request.count
                some = provisioning.ids_from(session, kinds, start=min(start, total), limit=limit)
            else:
                everyone = self._matching(session, kinds, search_request)
                total = len(everyone)
                stop = None if search_request.count is None else start + search_request.count
                some = everyone[start:stop]
            found = provisioning.resources(session, some, members=_shows_members(search_request))
        return SearchPage(total, [_resource(each) for each in found])

    def _matching(self, session: Any, kinds: Sequence[Kind], search_request: SearchRequest[Any]) -> list[ResourceId]:
        """The ids of those that match, in the order that was asked for. What names one value is looked up; else all
        are gone over, some at a time."""
        wanted = search_request.filter
        named = _looked_up(wanted)
        members = "members" in f"{wanted or ''}{search_request.sort_by or ''}".lower()
        keyed: list[tuple[bool, Any, ResourceId]] = []
        for some in _pieces(session, kinds, named):
            for each in provisioning.resources(session, some, members=members):
                resource = _resource(each)
                if wanted is None or wanted.match(resource):
                    value = search_request.sort_value(resource) if search_request.sort_by is not None else None
                    keyed.append((value is None, "" if value is None else value, each.id))
        descending = search_request.sort_order == SearchRequest.SortOrder.descending
        return [id for _, _, id in sorted(keyed, reverse=descending and search_request.sort_by is not None)]

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        return _resource(_translated(lambda: provision.create(self._ports, self._standing, _said(resource))))

    def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        id, said = _known_id(resource.id), _said(resource)
        expected = _expected(expected_version)
        return _resource(
            _translated(lambda: provision.update(self._ports, self._standing, id, said, expected=expected))
        )

    def delete(self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None) -> None:
        id, kind, expected = _known_id(resource_id), _kind(resource_type), _expected(expected_version)
        _translated(lambda: provision.remove(self._ports, self._standing, kind, id, expected=expected))


# -- between the library's models and ours -----------------------------------------------------------------------------


def _said(resource: Resource[Any]) -> Said:
    put = cast(Any, resource)
    dumped: dict[str, Any] = resource.model_dump()
    content = {name: value for name, value in dumped.items() if name not in _KEPT_ELSEWHERE}
    common = {"external_id": put.external_id, "content": json.dumps(content, sort_keys=True)}
    if isinstance(resource, Group):
        name = put.display_name or ""
        members = {ResourceId(id): each.display for each in put.members or () if (id := _member_id(each))}
        return Said(
            kind=Kind.GROUP, name=name, display_name=name, active=True, stated=Stated(), members=members, **common
        )
    formatted = put.name.formatted if put.name else None
    return Said(
        kind=Kind.USER,
        name=put.user_name or "",
        display_name=put.display_name or formatted or put.user_name or "",
        active=put.active,
        stated=_stated(put[UserReach]),
        **common,
    )


def _stated(put: Any) -> Stated:
    if put is None:
        return Stated()
    levels = {level.word: level for level in Level}
    if put.clearance is not None and put.clearance not in levels:
        raise InvalidValueException(detail=f"A clearance is one of {', '.join(levels)}.")
    return Stated(
        clearance=levels[put.clearance] if put.clearance is not None else None,
        categories=_names(put.categories),
        jurisdictions=_names(put.jurisdictions),
        team=put.team or None,
    )


def _names(put: str | None) -> frozenset[str] | None:
    names = (put or "").split()
    if len(names) > 300 or not all(_NAME.fullmatch(each) for each in names):
        raise InvalidValueException(
            detail="Categories and jurisdictions are written with letters, digits and . _ @ + -, spaces between, and "
            "there are 300 of them at the most."
        )
    return frozenset(names) or None


def _member_id(member: Any) -> str | None:
    """Its value; the end of its reference, if that is all that was sent."""
    if member.value:
        return str(member.value)
    return str(member.ref).rpartition("/")[2] if member.ref else None


def _resource(found: Provisioned) -> Resource[Any]:
    kind = found.profile.kind
    content = json.loads(found.content)
    shown: dict[str, Any] = {**content, "id": found.id, "externalId": found.external_id}
    if kind is Kind.GROUP:
        shown["members"] = [_related(each, type=each.kind.capitalize()) for each in found.related] or None
    else:
        if "active" in content:  # administrators may have said otherwise since
            shown["active"] = found.profile.active
        shown["groups"] = [_related(each, type="direct") for each in found.related] or None
        shown[_REACH] = _reach(found, content.get(_REACH)) or None
    resource = _MODELS[kind].model_validate({name: value for name, value in shown.items() if value is not None})
    resource.meta = Meta(
        resource_type=kind.capitalize(),
        created=_datetime(found.created),
        last_modified=_datetime(found.changed),
        version=f'W/"{found.changed}"',
    )
    return resource


def _reach(found: Provisioned, put: dict[str, str] | None) -> dict[str, str]:
    """As it was put, where that still holds: administrators may have said otherwise since."""
    stated, profile = found.stated, found.profile
    today = {
        "clearance": (stated.clearance, profile.clearance, profile.clearance.word),
        "categories": (stated.categories, profile.categories, " ".join(sorted(profile.categories))),
        "jurisdictions": (stated.jurisdictions, profile.jurisdictions, " ".join(sorted(profile.jurisdictions))),
        "team": (stated.team, profile.team, profile.team or ""),
    }
    return {name: said if today[name][0] == today[name][1] else today[name][2] for name, said in (put or {}).items()}


def _related(each: Related, *, type: str) -> dict[str, Any]:
    related = {"value": each.id, "$ref": f"{_ENDPOINTS[each.kind]}/{each.id}", "type": type, "display": each.display}
    return {name: value for name, value in related.items() if value is not None}


def _kind(resource_type: ResourceType) -> Kind:
    return _KINDS[str(resource_type.id)]


def _datetime(instant: Instant) -> datetime:
    return datetime.fromtimestamp(instant / 1000, tz=UTC)


def _expected(version: str | None) -> Instant | None:
    return Instant(int(version.removeprefix('W/"').removesuffix('"'))) if version is not None else None


def _is_id(text: str | None) -> bool:
    return text is not None and _NAME.fullmatch(text) is not None


def _known_id(text: str | None) -> ResourceId:
    if text is None or not _is_id(text):
        raise NotFoundException(detail="There is nothing by that id.")
    return ResourceId(text)


# -- searching ---------------------------------------------------------------------------------------------------------

_LOOKED_UP: dict[str, provisioning.By] = {
    "id": "id",
    "username": "name",
    "externalid": "external_id",
    "displayname": "display_name",
}


def _looked_up(wanted: Any) -> tuple[provisioning.By, str] | None:
    """The one value that a filter asks for, if it does: what identity providers ask before they create."""
    node = getattr(wanted, "ast", None)
    if not isinstance(node, Comparison) or node.op != CompareOperator.eq or not isinstance(node.value, str):
        return None
    by = _LOOKED_UP.get(str(node.attr_path).rpartition(":")[2].lower())
    return (by, node.value) if by is not None else None


def _pieces(
    session: Any, kinds: Sequence[Kind], named: tuple[provisioning.By, str] | None
) -> Iterator[Sequence[ResourceId]]:
    if named is not None:
        by, value = named
        usable = "\x00" not in value and (by != "id" or _is_id(value))
        yield provisioning.ids_where(session, kinds, by, value) if usable else []
        return
    after: ResourceId | None = None
    while some := provisioning.ids(session, kinds, after=after, limit=_WALKED_AT_ONCE):
        yield some
        after = some[-1]
        session.expunge_all()


def _shows_members(parameters: Any) -> bool:
    """Whether the answer holds members: a group may have very many."""

    def names_members(paths: Iterable[Any] | None) -> list[str]:
        ends = [str(path).lower().rpartition(":")[2] for path in paths or ()]
        return [end for end in ends if end.partition(".")[0] == "members"]

    if parameters.attributes:
        return bool(names_members(parameters.attributes))
    return "members" not in names_members(parameters.excluded_attributes)


# -- requests and answers ----------------------------------------------------------------------------------------------


def _translated(change: Any) -> Any:
    """Our errors as the library's; those that are about who asks go on as they are."""
    try:
        return change()
    except provision.Moved:
        raise _Overtaken from None
    except NotFound as error:
        raise NotFoundException(detail=error.detail) from None
    except Conflict as error:
        raise UniquenessException(detail=error.detail) from None
    except Invalid as error:
        said = " ".join((error.detail, *(fault.detail for fault in error.faults)))
        raise InvalidValueException(detail=said) from None


def _request(request: Request, body: bytes) -> ScimRequest:
    host = request.headers.get("host", "")
    base = f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else ""
    path = request.scope["path"].removeprefix(ROOT)
    return ScimRequest(
        method=request.method,
        base_url=base + ROOT,
        path=path or "/",
        query=dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers=list(request.headers.items()),
        body=body,
    )


def _response(answered: ScimResponse) -> Response:
    content = b"" if answered.body is None else json.dumps(answered.body).encode()
    headers = {"Cache-Control": "no-store", **answered.headers}
    return Response(content, int(answered.status), headers=headers)
