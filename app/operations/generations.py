"""Which generation of the index a request meets: its index, its models and its analyzer, chosen together.

INVARIANT: a request begins and ends with one generation. A query's vector never meets the index of another model.
"""

from dataclasses import replace

from app.domain.access import Epochs
from app.domain.generations import Generation, GenerationId, GenerationState
from app.ports import Ports
from app.store import generations
from app.store.database import reading
from app.store.directory import epochs_and_instant


def answering(ports: Ports, epochs: Epochs) -> Ports:
    """The ports of the generation that answers under these epochs. Raises `IndexUnavailable`."""
    if ports.generations is None or epochs.generation == ports.generation:
        return ports
    found = ports.memo.recall(("generation", epochs.generation), lambda: _read(ports, epochs.generation))
    return ports_of(ports, found)


def active(ports: Ports) -> Ports:
    """As `answering`, at this moment."""
    if ports.generations is None:
        return ports
    with reading(ports.engine) as session:
        epochs, _ = epochs_and_instant(session)
    return answering(ports, epochs)


def told(ports: Ports) -> list[Ports]:
    """The ports of each generation that is told of changes, the one that answers first."""
    return _several(ports, GenerationState.ACTIVE, GenerationState.BUILDING)


def holding(ports: Ports) -> list[Ports]:
    """The ports of each generation that has an index, the one that answers first."""
    return _several(ports, GenerationState.ACTIVE, GenerationState.BUILDING, GenerationState.RETIRED)


def _several(ports: Ports, *states: GenerationState) -> list[Ports]:
    if ports.generations is None:
        return [ports]
    with reading(ports.engine) as session:
        found = generations.in_state(session, *states)
    return [ports_of(ports, each) for each in sorted(found, key=lambda each: states.index(each.state))]


def ports_of(ports: Ports, generation: Generation) -> Ports:
    assert ports.generations is not None
    opened = ports.generations.opened(generation)
    return replace(
        ports,
        generation=generation.id,
        index=opened.index,
        embedder=opened.embedder,
        tokenizer=opened.tokenizer,
        analyzer=opened.analyzer,
    )


def _read(ports: Ports, id: GenerationId) -> Generation:
    with reading(ports.engine) as session:
        return generations.generation(session, id)
