"""Telling people: what they ask for themselves, and what goes to webhooks, signed, until it is taken or given up."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from app.domain.access import PrincipalRef, Proof
from app.domain.errors import Fault, Invalid, MunimentError, NotFound
from app.domain.instants import Instant, iso
from app.domain.recourse import Webhook, pause_ms
from app.domain.trace import TraceKind
from app.operations import authorize, route
from app.operations.attest import record_with
from app.operations.identify import Credentials, identify
from app.operations.locate import check_webhook
from app.ports import Ports
from app.store import directory
from app.store import notices as notice_store
from app.store import webhooks as webhook_store
from app.store.database import reading, recording, writing
from app.store.notices import Notice
from app.store.webhooks import Delivery

logger = logging.getLogger(__name__)

NO_WEBHOOK: Final = "There is no webhook by that name."
_CLAIM_MS: Final = 180_000
"""How long one try may take before another worker begins the next."""
_AT_ONCE: Final = 100
_SHOWN: Final = 50

Post = Callable[[str, Mapping[str, str], bytes], int]
"""Sends a body to a URL with a header, and says with which status it was answered: no redirect is followed. Raises
`Unavailable` when nothing answers, and `NotPermitted` when the name leads where we may not go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A webhook as it is now; its secret is shown when it is new, and never again."""

    webhook: Webhook
    secret: str | None


def notices(ports: Ports, credentials: Credentials, *, after: str | None, limit: int) -> list[Notice]:
    """Oldest first, what was addressed to the principal or to a group that it is proven to be in.

    Nothing to a credential that is limited. Raises `Invalid` if `after` is none of these.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        if standing.principal.limited or not route.active(standing):
            return []
        subject, proven = standing.principal.subject, standing.principal.proof is Proof.PROVEN
        recipients = subject.groups | {subject.ref} if proven else frozenset({subject.ref})
        found = notice_store.notices(session, recipients, after=after, limit=limit)
    if found is None:
        raise Invalid("That cursor is not one that was given out here. Begin again without one.")
    return list(found)


# -- webhooks, by administrators ---------------------------------------------------------------------------------------


def put_webhook(
    ports: Ports,
    credentials: Credentials,
    name: str,
    *,
    url: str,
    recipients: frozenset[PrincipalRef],
    events: frozenset[str],
) -> Laid:
    """Let an address be told from now on. Another address has another secret: who knew the first cannot sign for it.

    Raises `NotPermitted` for an address that is not allowed, and `Invalid` naming each unknown recipient.
    """
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
        check_webhook(ports.webhook_locations, url)
        unknown = directory.missing(session, recipients)
        if unknown:
            faults = tuple(Fault(detail=f"{ref} is not in the directory.", pointer="/recipients") for ref in unknown)
            raise Invalid("Some names are not known; nothing was changed.", faults=faults)
    new = Webhook(name=name, url=url, recipients=recipients, events=events, generation=ports.new_id())
    with recording(ports.engine, ports.now()) as (session, at):
        old = webhook_store.webhook(session, name)
        if old is not None and old.url == url:
            new = replace(new, generation=old.generation)
        webhook_store.record_webhook(session, new, at=at, by=standing.principal.subject.ref)
        request = {"what": "put-webhook", "about": name}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
    fresh = old is None or old.generation != new.generation
    return Laid(webhook=new, secret=secret_of(new, pepper=ports.pepper) if fresh else None)


def remove_webhook(ports: Ports, credentials: Credentials, name: str) -> None:
    """Tell it nothing more, and give up what is on its way."""
    with reading(ports.engine) as session:
        standing = authorize.administrator(ports, session, credentials)
    with recording(ports.engine, ports.now()) as (session, at):
        if not webhook_store.remove_webhook(session, name, at=at):
            raise NotFound(NO_WEBHOOK)
        request = {"what": "remove-webhook", "about": name}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)


def webhooks(ports: Ports, credentials: Credentials) -> list[Webhook]:
    with reading(ports.engine) as session:
        authorize.administrator(ports, session, credentials)
        return webhook_store.webhooks(session)


def deliveries(ports: Ports, credentials: Credentials, name: str) -> list[Delivery]:
    """The last that went or go to a webhook, newest first: what was given up is there, and why."""
    with reading(ports.engine) as session:
        authorize.administrator(ports, session, credentials)
        if webhook_store.webhook(session, name) is None:
            raise NotFound(NO_WEBHOOK)
        return webhook_store.deliveries(session, name, limit=_SHOWN)


# -- delivery, by the worker -------------------------------------------------------------------------------------------


def deliver_due(ports: Ports, post: Post) -> int:
    """Send what is due; how many tries it was. What was sent when a worker is killed is sent again, with its old id.

    Nothing is open in the database while something is sent.
    """
    tried = 0
    while True:
        now = ports.now()
        with reading(ports.engine) as session:
            if not webhook_store.anything_to_do(session, now=now):
                return tried
        with writing(ports.engine) as session:
            passed_on = webhook_store.pass_on(session, at=now, limit=_AT_ONCE)
            delivery = webhook_store.claim_due(session, now=now, until=Instant(now + _CLAIM_MS))
            webhook = webhook_store.webhook(session, delivery.webhook) if delivery else None
        if delivery is None:
            if not passed_on:
                return tried  # others see to it
            continue
        problem = _sent(ports, post, webhook, delivery) if webhook else "The webhook was removed."
        pause = pause_ms(delivery.tries) if problem is not None and webhook is not None else None
        with writing(ports.engine) as session:
            _settle(ports, session, delivery, problem, pause)
        tried += 1


def _settle(ports: Ports, session: Session, delivery: Delivery, problem: str | None, pause: int | None) -> None:
    at = ports.now()
    again_at = Instant(at + pause) if pause is not None else None
    webhook_store.settle(session, delivery, problem=problem, again_at=again_at, at=at)
    if problem is not None and again_at is None:
        logger.warning("%s was given up after %d tries: %s", delivery.id, delivery.tries, problem)


def _sent(ports: Ports, post: Post, webhook: Webhook, delivery: Delivery) -> str | None:
    """Why it was not taken; None if it was."""
    try:
        check_webhook(ports.webhook_locations, webhook.url)  # what is allowed may have changed since
        status = post(webhook.url, *signed(webhook, delivery, pepper=ports.pepper, at=ports.now()))
    except MunimentError as error:
        return error.detail
    return None if 200 <= status < 300 else f"It was answered with status {status}."


def signed(webhook: Webhook, delivery: Delivery, *, pepper: bytes, at: Instant) -> tuple[dict[str, str], bytes]:
    """Header and body as Standard Webhooks has them: HMAC-SHA256 over id, timestamp in seconds, and body."""
    notice = delivery.notice
    data = {"id": notice.id, "recipient": notice.recipient, "about": dict(notice.about)}
    body = json.dumps({"type": notice.kind, "timestamp": iso(notice.at), "data": data}, separators=(",", ":")).encode()
    timestamp = str(at // 1000)
    content = b".".join((delivery.id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.new(_key(webhook, pepper), content, hashlib.sha256).digest()).decode()
    header = {
        "Content-Type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }
    return header, body


def secret_of(webhook: Webhook, *, pepper: bytes) -> str:
    """What a receiver checks signatures with. It is made anew whenever it is needed, and kept nowhere."""
    return f"whsec_{base64.b64encode(_key(webhook, pepper)).decode()}"


def _key(webhook: Webhook, pepper: bytes) -> bytes:
    return hmac.new(pepper, f"webhook:{webhook.name}:{webhook.generation}".encode(), hashlib.sha256).digest()
