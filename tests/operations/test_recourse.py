"""What time does to escalations, and how webhooks are told, on both databases, and with a kill at every step."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.engine import Engine

from app.adapters.cedar_policy import CedarPolicyEngine
from app.adapters.fsspec_blobs import FsspecBlobs
from app.adapters.snowball_analyzer import SnowballAnalyzer
from app.bootstrap import new_id
from app.domain.access import ADMINISTRATORS, PrincipalRef, Proof
from app.domain.errors import NotPermitted, Unavailable
from app.domain.instants import Instant
from app.domain.memo import Memo
from app.domain.recourse import (
    HOUR_MS,
    MAX_TRIES,
    DeliveryState,
    Escalation,
    EscalationId,
    EscalationKind,
    EscalationState,
    Webhook,
    latency,
    pause_ms,
)
from app.operations import escalate, notify
from app.ports import Ports
from app.store import escalations, notices, webhooks
from app.store.database import reading, recording
from app.store.tables import NoticeRow
from ingest.web_client import post_to
from tests.conftest import STARTED_AT, Clock
from tests.fakes import ReferenceIndex
from tests.operations.test_erase import Fuse, Killed, SignEmbedder
from tests.operations.test_synchronize import WordTokenizer

COMPLIANCE, ANA = PrincipalRef("group:compliance"), PrincipalRef("user:ana")
HOOK = Webhook(
    name="desk",
    url="http://desk.example/hooks",
    recipients=frozenset({COMPLIANCE}),
    events=frozenset({"escalation-opened", "escalation-reminder"}),
    generation="one",
)


@pytest.fixture
def ports(engine: Engine, clock: Clock) -> Ports:
    clock.step_ms = 1
    return Ports(
        engine=engine,
        index=ReferenceIndex(),
        embedder=SignEmbedder(),
        tokenizer=WordTokenizer(),
        analyzer=SnowballAnalyzer(),
        policy_engine=CedarPolicyEngine(),
        blobs=FsspecBlobs("memory://"),
        memo=Memo(),
        pepper=b"pepper",
        now=clock.now,
        new_id=new_id,
        webhook_locations=("http://desk.example/",),
    )


def opened(ports: Ports) -> EscalationId:
    with recording(ports.engine, ports.now()) as (session, at):
        new = Escalation(
            id=EscalationId(f"esc_{new_id()}"),
            kind=EscalationKind.ASK,
            subject=ANA,
            actors=(),
            proof=Proof.PROVEN,
            team=None,
            codes={},
            reason="Why?",
            shares_question=False,
            desks=(frozenset({COMPLIANCE}),),
            opened_at=at,
            expires_at=Instant(at + ports.recourse.expire_after_ms),
        )
        escalations.open_escalation(session, new, ports.recourse)
        about = {"escalation": new.id}
        notices.add_notice(session, COMPLIANCE, "escalation-opened", id=f"ntc_{new_id()}", about=about, at=at)
    return new.id


def told(ports: Ports) -> Counter[tuple[str, str]]:
    with reading(ports.engine) as session:
        rows = session.execute(select(NoticeRow.kind, NoticeRow.recipient))  # type: ignore[call-overload]
        return Counter((kind, recipient) for kind, recipient in rows if kind != "escalation-opened")


def test_each_timer_acts_once_wherever_a_worker_is_killed(ports: Ports, clock: Clock) -> None:
    fuse, killed = Fuse(ports.engine), 0
    id = opened(ports)
    wanted: Counter[tuple[str, str]] = Counter()
    for hours, kind, recipients in (
        (25, "escalation-reminder", (COMPLIANCE,)),
        (73, "escalation-raised", (COMPLIANCE, ADMINISTRATORS, ANA)),
        (337, "escalation-expired", (COMPLIANCE, ADMINISTRATORS, ANA)),
    ):
        clock.set(Instant(STARTED_AT + hours * HOUR_MS))
        for steps in range(3):
            fuse.left = steps
            try:
                escalate.run_due(ports)
            except Killed:
                killed += 1
        fuse.left = None
        escalate.run_due(ports)
        wanted.update((kind, recipient) for recipient in recipients)
        assert told(ports) == wanted
    assert killed >= 6
    with reading(ports.engine) as session:
        found = escalations.escalation(session, id)
    assert found is not None
    assert (found.state, found.afterwards) == (EscalationState.EXPIRED, {ADMINISTRATORS})


def test_what_is_done_when_its_time_has_come_is_undone_with_its_transaction(ports: Ports, clock: Clock) -> None:
    """Killed before the commit, nothing was told and nothing is forgotten."""
    opened(ports)
    clock.set(Instant(STARTED_AT + 25 * HOUR_MS))

    def kill(_: object) -> None:
        raise Killed

    event.listen(ports.engine, "commit", kill)
    with pytest.raises(Killed):
        escalate.run_due(ports)
    event.remove(ports.engine, "commit", kill)
    assert told(ports) == Counter()
    assert escalate.run_due(ports) == 1
    assert told(ports) == Counter({("escalation-reminder", COMPLIANCE): 1})


class Desk:
    """Takes what is posted, as often as it is: a stand-in for the web, which no test reaches."""

    def __init__(self, *answers: int | Exception) -> None:
        self.taken: list[dict[str, str]] = []
        self._answers = list(answers)

    def post(self, url: str, header: Mapping[str, str], body: bytes) -> int:
        self.taken.append({"url": url, "body": body.decode(), **header})
        answer = self._answers.pop(0) if self._answers else 204
        if isinstance(answer, Exception):
            raise answer
        return answer


def laid_down(ports: Ports, webhook: Webhook = HOOK) -> None:
    with recording(ports.engine, ports.now()) as (session, at):
        webhooks.record_webhook(session, webhook, at=at, by=PrincipalRef("user:adam"))


def states(ports: Ports) -> list[tuple[DeliveryState, int, str | None]]:
    with reading(ports.engine) as session:
        return [(each.state, each.tries, each.problem) for each in webhooks.deliveries(session, "desk", limit=99)]


def test_a_notice_is_sent_at_least_once_wherever_a_worker_is_killed_and_always_under_one_id(
    ports: Ports, clock: Clock
) -> None:
    laid_down(ports)
    fuse, steps = Fuse(ports.engine), 0
    while True:
        opened(ports)
        desk = Desk()
        fuse.left = steps
        try:
            notify.deliver_due(ports, desk.post)
            through = True
        except Killed:
            through = False
        fuse.left = None
        clock.set(Instant(clock.now() + HOUR_MS // 2))
        notify.deliver_due(ports, desk.post)
        assert 1 <= len(desk.taken) <= 2
        assert len({each["webhook-id"] for each in desk.taken}) == 1
        assert {state for state, _, _ in states(ports)} == {DeliveryState.DELIVERED}
        if through:
            break
        steps += 1
    assert steps >= 4


def test_what_is_not_taken_is_tried_again_later_and_later_and_given_up_in_sight(ports: Ports, clock: Clock) -> None:
    laid_down(ports)
    opened(ports)
    failures: list[int | Exception] = [500, Unavailable("Nobody answers."), 302, NotPermitted("Not there."), *[503] * 9]
    desk = Desk(*failures)
    for tries in range(1, MAX_TRIES + 1):
        notify.deliver_due(ports, desk.post)
        notify.deliver_due(ports, desk.post)
        assert len(desk.taken) == tries
        [(state, tried, problem)] = states(ports)
        assert (state, tried) == (DeliveryState.WAITING if tries < MAX_TRIES else DeliveryState.GIVEN_UP, tries)
        assert problem is not None
        clock.set(Instant(clock.now() + (pause_ms(tries) or 0) + 1))
    assert [problem for _, _, problem in states(ports)] == ["It was answered with status 503."]
    assert len({each["webhook-id"] for each in desk.taken}) == 1
    assert len({each["webhook-timestamp"] for each in desk.taken}) > 1
    clock.set(Instant(clock.now() + 999 * HOUR_MS))
    assert notify.deliver_due(ports, desk.post) == 0


def test_a_webhook_is_told_of_its_own_kinds_and_recipients_and_where_it_is_allowed_to_be(ports: Ports) -> None:
    laid_down(ports)
    laid_down(ports, replace(HOOK, name="others", recipients=frozenset({ANA})))
    laid_down(ports, replace(HOOK, name="kinds", events=frozenset({"escalation-decided"})))
    laid_down(ports, replace(HOOK, name="elsewhere", url="http://elsewhere.example/hooks"))
    opened(ports)
    desk = Desk()
    notify.deliver_due(ports, desk.post)
    assert [each["url"] for each in desk.taken] == [HOOK.url]
    with reading(ports.engine) as session:
        [refused] = webhooks.deliveries(session, "elsewhere", limit=9)
        assert session.scalar(select(func.count()).select_from(NoticeRow)) == 1
    assert refused.problem is not None
    assert "MUNIMENT_WEBHOOKS__ALLOW" in refused.problem


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "0.0.0.0"])
def test_a_webhook_never_leads_where_clouds_keep_their_secrets(address: str) -> None:
    with pytest.raises(NotPermitted):
        post_to("http://desk.example:9/hooks", {}, b"{}", resolve=lambda *_: [address])


def test_latencies_are_of_the_nearest_rank() -> None:
    found = latency([9, 1, 5, 3, 7], [2, 8])
    assert (found.decided, found.median_ms, found.p90_ms, found.waiting, found.oldest_waiting_ms) == (5, 5, 9, 2, 8)
    nothing = latency([], [])
    assert (nothing.median_ms, nothing.p90_ms, nothing.oldest_waiting_ms) == (None, None, None)
