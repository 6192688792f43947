"""Obligations, discharged: what is owed for content that is shown, done before it leaves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.domain.access import Obligation, Principal
from app.domain.corpus import Span
from app.domain.errors import NotPermitted
from app.domain.instants import Instant
from app.domain.obligations import Duty, DutyKind, duty
from app.domain.recourse import NoticeKind
from app.domain.redaction import Excerpt, Redaction, redacted, redactions
from app.domain.trace import TraceId
from app.ports import Ports
from app.store import notices

AROUND_CHARS = 300
"""How far around a text is looked when it is redacted: what announces a number may stand before it."""

_WHOLE_TEXT = frozenset({DutyKind.CITE, DutyKind.NOTIFY, DutyKind.VERIFIED_ONLY})
"""What is done when a whole text or original is read: each comes with its document, version and digest."""

_QUOTE_ALONE = frozenset({DutyKind.NO_EXPORT, DutyKind.MAX_PASSAGES})
"""What a text could be got around by, quote after quote, if each was shown with what is around it."""


def can_be(ports: Ports, obligation: str) -> bool:
    """Whether an obligation is known and can be discharged here: else whatever carries it is denied."""
    asked = duty(obligation)
    return asked is not None and (asked.kind is not DutyKind.REDACT or asked.category in ports.redactors)


def categories_redacted(obligations: Iterable[Obligation]) -> frozenset[str]:
    return frozenset(each.category for each in _duties(obligations) if each.category is not None)


def most_passages(obligations: Iterable[Obligation]) -> int | None:
    """The least of the limits; None if there is none."""
    return min((each.passages for each in _duties(obligations) if each.passages is not None), default=None)


def quote_alone(obligations: Iterable[Obligation]) -> bool:
    """Whether a quote is shown without what is around it."""
    return any(each.kind in _QUOTE_ALONE for each in _duties(obligations))


def may_be_sent(obligations: Iterable[Obligation]) -> bool:
    """Whether passages may be sent to a model elsewhere."""
    return all(each.kind is not DutyKind.NO_EXPORT for each in _duties(obligations))


def verified_only(obligations: Iterable[Obligation]) -> bool:
    """Whether of what a model writes only what the passages support is shown."""
    return any(each.kind is DutyKind.VERIFIED_ONLY for each in _duties(obligations))


def found(ports: Ports, categories: Iterable[str], excerpt: Excerpt, *, within: Span) -> tuple[Redaction, ...]:
    """What is not to be shown of the span; the excerpt is the span with what is around it."""
    spotted = [
        each
        for category in sorted(categories)
        for each in ports.redactors[category].spotted(excerpt.text)
        if each.category == category
    ]
    return redactions(excerpt, spotted, within=within)


def without(ports: Ports, categories: frozenset[str], line: str) -> str:
    """A line of its own, such as a heading, without what is not to be shown."""
    if not categories:
        return line
    whole = Excerpt(text=line, start=0)
    return redacted(whole, found(ports, categories, whole, within=Span(start=0, end=len(line))))


def whole(obligations: Iterable[Obligation]) -> bool:
    """Whether whole texts and originals may be shown."""
    asked = [duty(each.id) for each in obligations]
    return all(each is not None and each.kind in _WHOLE_TEXT for each in asked)


def require_whole(obligations: Sequence[Obligation]) -> None:
    """Pass if whole texts and originals may be shown; else raise `NotPermitted`, naming the rule.

    INVARIANT: only for what the principal may read, so that its existence is no secret.
    """
    for each in obligations:
        if not whole([each]):
            raise NotPermitted(
                f"This may be read passage by passage and not as a whole: {', '.join(each.policies)} obliges to "
                f"{each.id}. Ask with POST /v1/retrieve, or ask the collection's owner."
            )


def notify(
    ports: Ports, session: Session, obligations: Iterable[Obligation], principal: Principal, trace: TraceId, at: Instant
) -> None:
    """Tell whoever is to hear of it, in the transaction of the trace: neither is there without the other."""
    groups = {each.group for each in _duties(obligations) if each.group is not None}
    actors = [actor.ref for actor in principal.actors]
    about: Mapping[str, Any] = {"trace": trace, "subject": principal.subject.ref, "actors": actors}
    for group in sorted(groups):
        notices.add_notice(session, group, NoticeKind.CONTENT_SHOWN, id=f"ntc_{ports.new_id()}", about=about, at=at)


def _duties(obligations: Iterable[Obligation]) -> list[Duty]:
    return [asked for each in obligations if (asked := duty(each.id)) is not None]
