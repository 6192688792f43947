"""Notices: what somebody is to hear of, written with what it is about."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.domain.access import PrincipalRef
from app.domain.instants import Instant
from app.store.tables import NoticeRow


def add_notice(
    session: Session, recipient: PrincipalRef, kind: str, *, id: str, about: Mapping[str, Any], at: Instant
) -> None:
    """In the caller's transaction: it is told if that is committed, and only then."""
    session.add(NoticeRow(public_id=id, recipient=recipient, kind=kind, about=dict(about), created_at=at))
