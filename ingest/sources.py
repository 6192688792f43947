"""The connectors there are: how the source of each is opened for a run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.domain.errors import Invalid
from app.domain.runs import Connector
from app.domain.sources import SourceSettings
from app.operations.collect import PREFIX
from ingest.ports import Source

Opener = Callable[[SourceSettings, Path], Source]
"""Given the settings and a folder of the worker's own, to keep things in between two runs."""

WATCH = "watch"
"""The option of a folder, and of nothing else, that is looked at all the time: `true`."""

_ENGINE_OPTIONS = frozenset({PREFIX})
"""What is not the connector's to know."""


def open_source(settings: SourceSettings, scratch: Path) -> Source:
    """The source as its settings have it. Raises `Invalid` where there is none for them, and what its opener raises."""
    opener = OPENERS.get(settings.connector)
    if opener is None:
        raise Invalid(f"This server has no connector named {settings.connector}.")
    own = _ENGINE_OPTIONS | ({WATCH} if settings.connector == Connector.FOLDER else set())
    if WATCH in own and settings.options.get(WATCH, "true") not in ("true", "false"):
        raise Invalid(f"The option {WATCH!r} is either true or false.")
    options = {name: value for name, value in settings.options.items() if name not in own}
    return opener(replace(settings, options=options), scratch)


def _folder(settings: SourceSettings, _: Path) -> Source:
    from ingest.folder_source import open_folder

    return open_folder(settings)


def _git(settings: SourceSettings, scratch: Path) -> Source:
    from ingest.git_source import open_git

    return open_git(settings, clones=scratch)


def _objects(settings: SourceSettings, _: Path) -> Source:
    from ingest.objects_source import open_objects

    return open_objects(settings)


def _web(settings: SourceSettings, _: Path) -> Source:
    """A site may be within the institution: the operator has allowed its location, or there would be no source."""
    from ingest.web_source import open_web

    return open_web(settings, private_networks_allowed=True)


def _mail(settings: SourceSettings, _: Path) -> Source:
    from ingest.mail_source import open_mail

    return open_mail(settings)


def _push(_: SourceSettings, __: Path) -> Source:
    raise Invalid("This source is pushed to: there is nothing to fetch.")


OPENERS: dict[str, Opener] = {
    Connector.FOLDER: _folder,
    Connector.GIT: _git,
    Connector.OBJECTS: _objects,
    Connector.WEB: _web,
    Connector.MAIL: _mail,
    Connector.PUSH: _push,
}
"""Each imports what it needs when it is first called."""
