"""Whether each part that an answer needs is there."""

from collections.abc import Callable, Mapping

from app.domain.errors import MunimentError, Unavailable
from app.operations.generations import active
from app.ports import Ports
from app.store import registry
from app.store.database import reading
from app.store.directory import epochs_and_instant

_PROBED = "model-probed-at"
_PROBE_EVERY_MS = 5_000
"""A model that gave a vector will give the next one: asking it at every look would take from those who wait for one."""


def readiness(ports: Ports) -> Mapping[str, MunimentError | None]:
    """Each part by name, with what is wrong with it or None."""

    def database() -> None:
        with reading(ports.engine) as session:
            epochs_and_instant(session)

    def policies() -> None:
        with reading(ports.engine) as session:
            active = registry.active_policies(session)
        if active is None:
            raise Unavailable("No policies are active.")
        ports.policy_engine.rules(active)

    def index() -> None:
        active(ports).index.size()

    def model() -> None:
        own = active(ports)
        probed = ports.memo.get((_PROBED, own.generation))
        if isinstance(probed, int) and 0 <= ports.now() - probed < _PROBE_EVERY_MS:
            return
        if not own.embedder.embed_queries([f"ready at {ports.now()}?"]):
            raise Unavailable("The embedding model gives no vectors.")
        ports.memo.put((_PROBED, own.generation), int(ports.now()))

    return {name: _tried(part) for name, part in _named(database, index, model, policies)}


def _named(*parts: Callable[[], None]) -> list[tuple[str, Callable[[], None]]]:
    return [(part.__name__, part) for part in parts]


def _tried(part: Callable[[], None]) -> MunimentError | None:
    try:
        part()
    except MunimentError as error:
        return error
    return None
