"""OpenID AuthZEN Authorization API 1.0: decisions for applications that enforce them themselves.

Its requests are read as it says: what is not known is passed over, and what is not of its form is 400 with a sentence
(`problems.py` knows that of these paths).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.config import JsonDict
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import faults_of
from app.api.wire import NAME, Name, Storable
from app.domain.access import PrincipalRef
from app.domain.errors import Invalid, NotFound
from app.domain.stated import NOTHING_STATED, Stated, stated
from app.operations import evaluate
from app.operations.evaluate import MAX_EVALUATIONS, MAX_PAGE, Inquiry, Page, Semantic, Setting, Somebody, Unreadable
from app.operations.read import Circumstances
from app.ports import Ports, Thing

PREFIX = "/access/v1/"
TRACE = "Muniment-Trace"
"""The header that says under which id a decision is on record: the body is the same for the same decision."""

_DEFAULT_PAGE = 50
_ALICE: JsonDict = {"type": "user", "id": "alice@example.com"}
_RECORD: JsonDict = {"type": "account", "id": "123"}
_READ: JsonDict = {"name": "can_read"}


def _said(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


_ERRORS: dict[int | str, dict[str, Any]] = {
    400: _said("Not of the form: a sentence says what is wrong, and where"),
    401: _said("Whoever asks is not known"),
    403: _said("Only enforcement points ask about others"),
    413: _said("Too large"),
    503: _said("Cannot be decided now: nothing may be let through"),
    "4XX": _said("Anything else that is wrong with the request"),
}

routes = APIRouter(tags=["decisions for others"], responses=_ERRORS)


def _limited(properties: dict[str, Any]) -> dict[str, Any]:
    try:
        stated(properties)
    except Invalid as error:
        raise ValueError(error.detail) from None
    return properties


class Heard(BaseModel):
    """What an application sends: members that are not known here are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


Word = Annotated[str, StringConstraints(min_length=1, max_length=500), Storable]
PageToken = Annotated[str, StringConstraints(max_length=8_000), Storable]
Properties = Annotated[dict[str, Any], AfterValidator(_limited)]
Assistant = Annotated[str, StringConstraints(pattern=NAME.replace("^", "^assistant:"), max_length=140)]


class SubjectTypeIn(Heard):
    type: Word = Field(examples=["user"])
    properties: Properties | None = None


class SubjectIn(SubjectTypeIn):
    model_config = ConfigDict(json_schema_extra={"example": _ALICE})
    id: Word = Field(examples=["alice@example.com"])


class ActionIn(Heard):
    model_config = ConfigDict(json_schema_extra={"example": _READ})
    name: Word = Field(examples=["can_read"])
    properties: Properties | None = None


class ResourceTypeIn(Heard):
    type: Word = Field(examples=["account"])
    properties: Properties | None = None


class ResourceIn(ResourceTypeIn):
    model_config = ConfigDict(json_schema_extra={"example": _RECORD})
    id: Word = Field(examples=["123"])


class ContextIn(BaseModel):
    """Of these members we know the meaning; others are for policies about the application's own things."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, json_schema_extra={"example": {"time": "09:15"}})
    purpose: Name | None = Field(default=None, description="Why it is asked: a registered purpose.")
    client: Name | None = Field(default=None, description="Whose data it is about.")
    destination: Name | None = Field(default=None, description="The jurisdiction where it will be used.")
    actor: Assistant | Annotated[list[Assistant], Field(max_length=8)] | None = Field(
        default=None, description="The assistant that acts for the subject; or several, whoever sends it first."
    )
    discharges: Annotated[list[Word], Field(max_length=50)] | None = Field(
        default=None, description="Obligations that the application knows and does."
    )

    @model_validator(mode="after")
    def _limited(self) -> "ContextIn":
        _limited(self.model_extra or {})
        return self

    def domain(self) -> Setting:
        actors = [self.actor] if isinstance(self.actor, str) else self.actor or []
        return Setting(
            circumstances=Circumstances(purpose=self.purpose, client=self.client, destination=self.destination),
            actors=tuple(map(PrincipalRef, actors)),
            stated=stated(self.model_extra or {}),
            discharges=frozenset(self.discharges or ()),
        )


class _About(Heard):
    context: ContextIn | None = None

    def setting(self) -> Setting:
        return (self.context or ContextIn()).domain()

    def account(self) -> dict[str, Any]:
        """What was asked, without what was passed over."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"page"})


class EvaluationIn(_About):
    model_config = ConfigDict(json_schema_extra={"example": {"subject": _ALICE, "action": _READ, "resource": _RECORD}})
    subject: SubjectIn
    action: ActionIn
    resource: ResourceIn

    def domain(self) -> Inquiry:
        return _inquiry(self.setting(), self.subject, self.action, self.resource)


class OptionsIn(Heard):
    evaluations_semantic: Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"] = "execute_all"


class EvaluationsIn(Heard):
    """Without `evaluations`, one evaluation; with them, what stands beside them is what each does not say itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "subject": _ALICE,
                "action": _READ,
                "evaluations": [{"resource": _RECORD}, {"resource": {"type": "account", "id": "456"}}],
                "options": {"evaluations_semantic": "execute_all"},
            }
        }
    )
    subject: dict[str, Any] | None = None
    action: dict[str, Any] | None = None
    resource: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    evaluations: list[dict[str, Any]] = Field(default=[], max_length=MAX_EVALUATIONS)
    options: OptionsIn = OptionsIn()

    @property
    def _defaults(self) -> dict[str, dict[str, Any]]:
        named = {"subject": self.subject, "action": self.action, "resource": self.resource, "context": self.context}
        return {name: value for name, value in named.items() if value is not None}

    def each(self) -> list[EvaluationIn | Unreadable]:
        """Every evaluation with its defaults; one that is not of the form is denied by itself, and says why."""
        return [self._one(each) for each in self.evaluations]

    def single(self) -> EvaluationIn:
        return EvaluationIn.model_validate(self._defaults)

    def _one(self, own: Mapping[str, Any]) -> EvaluationIn | Unreadable:
        whole = {**self._defaults, **own}
        for name, needed in (("subject", ("type", "id")), ("action", ("name",)), ("resource", ("type", "id"))):
            if isinstance(own.get(name), dict):  # it stands for the default, save for what has to be said
                default = self._defaults.get(name, {})
                whole[name] = {key: default[key] for key in needed if key in default} | own[name]
        try:
            return EvaluationIn.model_validate(whole)
        except ValidationError as error:
            return Unreadable(because=_first_fault(error))


class PageIn(Heard):
    token: PageToken | None = Field(default=None, description="`next_token` of the page before.")
    next_token: PageToken | None = Field(
        default=None, description="As `token`: drafts of the specification called it so."
    )
    limit: Annotated[int, Field(ge=1)] | None = Field(default=None, description=f"At most {MAX_PAGE} are given.")


class _SearchIn(_About):
    page: PageIn | None = None

    def where(self, of: str) -> Page:
        page = self.page or PageIn()
        return Page(
            query={"search": of, **self.account()},
            token=page.token or page.next_token or "",
            limit=min(page.limit or _DEFAULT_PAGE, MAX_PAGE),
        )


class SubjectSearchIn(_SearchIn):
    model_config = ConfigDict(
        json_schema_extra={"example": {"subject": {"type": "user"}, "action": _READ, "resource": _RECORD}}
    )
    subject: SubjectTypeIn
    action: ActionIn
    resource: ResourceIn


class ResourceSearchIn(_SearchIn):
    model_config = ConfigDict(
        json_schema_extra={"example": {"subject": _ALICE, "action": _READ, "resource": {"type": "account"}}}
    )
    subject: SubjectIn
    action: ActionIn
    resource: ResourceTypeIn


class ActionSearchIn(_SearchIn):
    model_config = ConfigDict(json_schema_extra={"example": {"subject": _ALICE, "resource": _RECORD}})
    subject: SubjectIn
    resource: ResourceIn


class DecisionOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "decision": False,
                "context": {"reason_user": {"en-403": "No policy permits this. Ask an administrator."}},
            }
        }
    )
    decision: bool
    context: dict[str, Any] | None = Field(
        default=None,
        description="Of a denial, `reason_user`: a sentence for whoever is denied. About the application's own things "
        "also `reason_admin`, the policies that decided, and `obligations` that a permit is bound to.",
    )


class DecisionsOut(BaseModel):
    evaluations: list[DecisionOut]


class PageOut(BaseModel):
    next_token: str = Field(description="Empty at the end.")
    count: int


class FoundSubject(BaseModel):
    type: str
    id: str


class FoundResource(BaseModel):
    type: str
    id: str


class FoundAction(BaseModel):
    name: str


class SubjectsOut(BaseModel):
    results: list[FoundSubject]
    page: PageOut


class ResourcesOut(BaseModel):
    results: list[FoundResource]
    page: PageOut


class ActionsOut(BaseModel):
    results: list[FoundAction]
    page: PageOut


class MetadataOut(BaseModel):
    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str
    search_subject_endpoint: str
    search_resource_endpoint: str
    search_action_endpoint: str


@routes.post("/access/v1/evaluation", summary="May this subject do this?", response_model_exclude_none=True)
def post_evaluation(body: EvaluationIn, asking: Asking, ports: PortsOf, response: Response) -> DecisionOut:
    """A decision is always 200, `decision` says which. Everybody may ask about themselves; about others, members of
    `group:enforcement-points`.

    Resources of the types `document` (by its `doc_...` id), `collection` and `institution` are ours: the actions are
    `read`, `describe` and `curate`; `discover` and `curate`; and `ask`. A denial of these does not say why, or whether
    there is such a thing. Whatever else is asked about belongs to the application, and policies on `use` decide.
    """
    return _evaluated(ports, asking, body, response)


@routes.post("/access/v1/evaluations", summary="Several of these at once", response_model_exclude_none=True)
def post_evaluations(
    body: EvaluationsIn, asking: Asking, ports: PortsOf, response: Response
) -> DecisionsOut | DecisionOut:
    """At most 500. One that is not of the form is denied, and `context.error` says why; the others are decided. With
    `deny_on_first_deny` and `permit_on_first_permit`, decisions end with the one that tells."""
    if not body.evaluations:
        try:
            return _evaluated(ports, asking, body.single(), response)
        except ValidationError as error:
            raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from None
    several = body.each()
    semantic = Semantic(body.options.evaluations_semantic)
    decisions, response.headers[TRACE] = evaluate.evaluate(
        ports,
        asking,
        [each if isinstance(each, Unreadable) else each.domain() for each in several],
        semantic=semantic,
        request={
            "evaluations": [
                {"unreadable": each.because} if isinstance(each, Unreadable) else each.account() for each in several
            ],
            "semantic": semantic,
        },
    )
    out = [_decision(each) for each in decisions]
    if semantic is Semantic.DENY_ON_FIRST_DENY and not out[-1].decision:
        out[-1] = DecisionOut(decision=False, context={**(out[-1].context or {}), "code": "200", "reason": semantic})
    return DecisionsOut(evaluations=out)


@routes.post("/access/v1/search/subject", summary="Who may do this?")
def search_subject(body: SubjectSearchIn, asking: Asking, ports: PortsOf, response: Response) -> SubjectsOut:
    """Active users or assistants, for members of `group:enforcement-points`."""

    def ask(name: str) -> Inquiry:
        subject = Somebody(type=body.subject.type, id=name, stated=_stated(body.subject.properties))
        return _inquiry(body.setting(), subject, body.action, body.resource)

    found = evaluate.search_subjects(ports, asking, body.subject.type, ask, body.where("subject"))
    response.headers[TRACE] = found.trace
    results = [FoundSubject(type=body.subject.type, id=name) for name in found.names]
    return SubjectsOut(results=results, page=PageOut(next_token=found.next_token, count=len(results)))


@routes.post("/access/v1/search/resource", summary="What may it do this to?")
def search_resource(body: ResourceSearchIn, asking: Asking, ports: PortsOf, response: Response) -> ResourcesOut:
    """Of ours, what whoever asks may know of itself; of an application's own things, those that policies name."""

    def ask(name: str) -> Inquiry:
        resource = Thing(type=body.resource.type, name=name, stated=_stated(body.resource.properties))
        return _inquiry(body.setting(), body.subject, body.action, resource)

    found = evaluate.search_resources(ports, asking, body.resource.type, ask, body.where("resource"))
    response.headers[TRACE] = found.trace
    results = [FoundResource(type=body.resource.type, id=name) for name in found.names]
    return ResourcesOut(results=results, page=PageOut(next_token=found.next_token, count=len(results)))


@routes.post("/access/v1/search/action", summary="What may it do to this?")
def search_action(body: ActionSearchIn, asking: Asking, ports: PortsOf, response: Response) -> ActionsOut:
    """Of the actions on what is ours; on an application's own things, those that policies name."""
    resource = _thing(body.resource)

    def ask(name: str) -> Inquiry:
        return _inquiry(body.setting(), body.subject, name, resource)

    found = evaluate.search_actions(ports, asking, resource, ask, body.where("action"))
    response.headers[TRACE] = found.trace
    results = [FoundAction(name=name) for name in found.names]
    return ActionsOut(results=results, page=PageOut(next_token=found.next_token, count=len(results)))


@routes.get(
    "/.well-known/authzen-configuration",
    summary="Where decisions are to be had",
    responses={404: _said("Not configured")},
)
def metadata(ports: PortsOf, response: Response) -> MetadataOut:
    """Needs no key. The address is the configured one, MUNIMENT_PUBLIC_URL, and never what a request calls us."""
    base = ports.public_url
    if base is None:
        raise NotFound("This server was not told its public address: set MUNIMENT_PUBLIC_URL to an https:// address.")
    response.headers["Cache-Control"] = "public, max-age=3600"
    return MetadataOut(
        policy_decision_point=base,
        access_evaluation_endpoint=f"{base}/access/v1/evaluation",
        access_evaluations_endpoint=f"{base}/access/v1/evaluations",
        search_subject_endpoint=f"{base}/access/v1/search/subject",
        search_resource_endpoint=f"{base}/access/v1/search/resource",
        search_action_endpoint=f"{base}/access/v1/search/action",
    )


class RequestIds:
    """Gives every answer of the decision point the X-Request-ID that it was asked with."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        ids = [header for header in scope["headers"] if header[0] == b"x-request-id"]

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *ids]}
            await send(message)

        await self._app(scope, receive, identified)


def _evaluated(ports: Ports, asking: Asking, body: EvaluationIn, response: Response) -> DecisionOut:
    (decision,), response.headers[TRACE] = evaluate.evaluate(
        ports, asking, [body.domain()], semantic=Semantic.EXECUTE_ALL, request={"evaluations": [body.account()]}
    )
    return _decision(decision)


def _decision(decision: evaluate.Decision) -> DecisionOut:
    context: dict[str, Any] = {}
    if decision.error is not None:
        context = {"error": {"status": 400, "message": decision.error}}
    elif not decision.allowed:
        told = () if decision.ours else decision.policies
        context = {"id": told[0] if told else "0"}
        if told:
            context["reason_admin"] = {"en": f"Decided by {', '.join(told)}."}
        context["reason_user"] = {"en-403": " ".join(decision.reasons)}
    elif decision.obligations:
        context = {"obligations": [*decision.obligations]}
    return DecisionOut(decision=decision.allowed, context=context or None)


def _inquiry(
    setting: Setting, subject: SubjectIn | Somebody, action: ActionIn | str, resource: ResourceIn | Thing
) -> Inquiry:
    return Inquiry(
        subject=subject
        if isinstance(subject, Somebody)
        else Somebody(type=subject.type, id=subject.id, stated=_stated(subject.properties)),
        operation=action if isinstance(action, str) else action.name,
        of_operation=NOTHING_STATED if isinstance(action, str) else _stated(action.properties),
        resource=resource if isinstance(resource, Thing) else _thing(resource),
        setting=setting,
    )


def _thing(resource: ResourceIn) -> Thing:
    return Thing(type=resource.type, name=resource.id, stated=_stated(resource.properties))


def _stated(properties: Mapping[str, Any] | None) -> Stated:
    return stated(properties or {})


def _first_fault(error: ValidationError) -> str:
    fault = faults_of(error.errors()[:1])[0]
    return f"{fault.pointer}: {fault.detail}"
