"""Webhooks: whom to tell over the web, by administrators."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import NAME, Ref, Storable, Wire, refs
from app.domain.instants import iso
from app.domain.recourse import DeliveryState, NoticeKind, Webhook
from app.operations import notify
from app.store.webhooks import Delivery

routes = APIRouter(tags=["recourse"], responses=ASKED)

HookName = Annotated[str, Path(pattern=NAME, max_length=128)]


class WebhookBody(Wire):
    """Told of notices of these kinds to these groups or people. The address must be one that the server allows."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "url": "https://desk.example.org/hooks/muniment",
                "recipients": ["group:compliance"],
                "events": ["escalation-opened", "escalation-reminder"],
            }
        }
    )
    url: Annotated[str, StringConstraints(min_length=1, max_length=2000), Storable]
    recipients: list[Ref] = Field(min_length=1, max_length=100)
    events: list[Annotated[NoticeKind, Field(strict=False)]] = Field(min_length=1, max_length=50)


class WebhookOut(BaseModel):
    name: str
    url: str
    recipients: list[str]
    events: list[str]


class LaidWebhookOut(WebhookOut):
    secret: str | None = Field(
        description="`whsec_...`, as Standard Webhooks has it. Shown with a new webhook or address, and never again."
    )


class WebhooksOut(BaseModel):
    webhooks: list[WebhookOut]


class DeliveryOut(BaseModel):
    id: str = Field(description="Sent as `webhook-id`, with every try.")
    notice: str
    kind: str
    state: DeliveryState
    tries: int
    next_at: str | None
    problem: str | None
    ended_at: str | None


class DeliveriesOut(BaseModel):
    deliveries: list[DeliveryOut]


@routes.put("/v1/webhooks/{name}", summary="Let an address be told of notices", responses=SENT)
def put_webhook(
    name: HookName, body: WebhookBody, asking: Asking, ports: PortsOf, response: Response
) -> LaidWebhookOut:
    """For administrators. What is sent holds ids and kinds, is signed as Standard Webhooks has it, and is tried eight
    times in a day and a half."""
    laid = notify.put_webhook(
        ports, asking, name, url=body.url, recipients=refs(body.recipients), events=frozenset(body.events)
    )
    response.headers["Cache-Control"] = "no-store"
    return LaidWebhookOut(**_webhook(laid.webhook).model_dump(), secret=laid.secret)


@routes.get("/v1/webhooks", summary="The webhooks")
def get_webhooks(asking: Asking, ports: PortsOf) -> WebhooksOut:
    return WebhooksOut(webhooks=[_webhook(each) for each in notify.webhooks(ports, asking)])


@routes.get("/v1/webhooks/{name}/deliveries", summary="What went to a webhook, newest first", responses=problems(404))
def get_deliveries(name: HookName, asking: Asking, ports: PortsOf) -> DeliveriesOut:
    """The last fifty, with what was given up and why."""
    return DeliveriesOut(deliveries=[_delivery(each) for each in notify.deliveries(ports, asking, name)])


@routes.delete(
    "/v1/webhooks/{name}",
    status_code=204,
    summary="Tell an address nothing more",
    responses=problems(404),
    response_class=Response,
)
def delete_webhook(name: HookName, asking: Asking, ports: PortsOf) -> Response:
    notify.remove_webhook(ports, asking, name)
    return Response(status_code=204)


def _webhook(webhook: Webhook) -> WebhookOut:
    return WebhookOut(
        name=webhook.name,
        url=webhook.url,
        recipients=sorted(webhook.recipients),
        events=sorted(webhook.events),
    )


def _delivery(each: Delivery) -> DeliveryOut:
    return DeliveryOut(
        id=each.id,
        notice=each.notice.id,
        kind=each.notice.kind,
        state=each.state,
        tries=each.tries,
        next_at=iso(each.next_at) if each.state is DeliveryState.WAITING else None,
        problem=each.problem,
        ended_at=iso(each.ended_at) if each.ended_at is not None else None,
    )
