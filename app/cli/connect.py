"""To whom a command speaks: the server at MUNIMENT_URL, or one of its own on the data folder while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from app.cli.client import Server
from app.cli.console import Failed
from app.domain.access import PrincipalRef
from app.settings import TOML, Settings

_GONE: Final = {
    "MUNIMENT_RANKING__LEAN": "Take it away: MUNIMENT_RANKING__ADAPTATION is in its place, with a meaning of its own."
}
"""Settings that there were, and what to do about one that is still set."""


def load_settings(home: Path | None = None) -> Settings:
    """The settings of this run, for this data folder if one is given.

    Raises `Failed` naming the first that cannot be used, never its value.
    """
    try:
        return Settings() if home is None else Settings(home=home)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = "MUNIMENT_" + "__".join(str(part) for part in first["loc"]).upper()
        if first["type"] == "extra_forbidden" and name in _GONE:
            raise Failed(f"{name}, from the environment or {TOML}, is a setting no more. {_GONE[name]}") from None
        if first["type"] == "extra_forbidden":
            raise Failed(f"{name}, from the environment or {TOML}, is no setting. The README has a table.") from None
        raise Failed(f"{name} cannot be used, from the environment or {TOML}: {first['msg']}.") from None
    except ValueError:
        raise Failed(f"The settings cannot be read: look for a mistake in {TOML} or in MUNIMENT_* values.") from None


@contextmanager
def asking(settings: Settings, person: PrincipalRef | None) -> Iterator[Server]:
    """A server to put questions to: as oneself or, with `person`, for somebody else."""
    if settings.url:
        with remote(settings, person) as server:
            yield server
        return
    from app.cli.local import opened

    with opened(settings, worker=False) as desk:
        yield desk.operator() if person is None else desk.acting_for(person)


@contextmanager
def administering(settings: Settings, *, worker: bool) -> Iterator[Server]:
    """A server to an administrator, whose key is MUNIMENT_KEY or, without it, MUNIMENT_ADMIN_KEY."""
    if settings.url:
        key = settings.key or settings.admin_key
        if key is None:
            raise Failed("Set MUNIMENT_KEY, or MUNIMENT_ADMIN_KEY, to the key of an administrator.")
        with Server(settings.url, key.get_secret_value()) as server:
            yield server
        return
    from app.cli.local import opened

    with opened(settings, worker=worker) as desk:
        yield desk.administrator()


def remote(settings: Settings, person: PrincipalRef | None) -> Server:
    """The server at MUNIMENT_URL to the holder of MUNIMENT_KEY: an assistant that may assert, to name a person."""
    if settings.key is None:
        raise Failed("Set MUNIMENT_KEY to your key for the server at MUNIMENT_URL.")
    return Server(settings.url or "", settings.key.get_secret_value(), on_behalf_of=person)
