"""From what an owner states with a document to the boundary of its version. Pure."""

from app.domain.access import Boundary, Collection
from app.domain.corpus import Metadata


def labelled(metadata: Metadata, collection: Collection) -> Boundary:
    """The boundary that is stated, with the collection's default label where none is.

    A stated label is the owner's own word and is taken whole: its categories are not mixed with the default's, and
    it may be lower than the default. Readers, jurisdictions and purposes left empty stay empty here, so that they
    follow the collection as it is on the day of the question (`Boundary.within`).
    """
    return Boundary(
        collection=collection.name,
        label=collection.default_label if metadata.label is None else metadata.label,
        readers=metadata.readers,
        denied=metadata.denied,
        jurisdictions=metadata.jurisdictions,
        purposes=metadata.purposes,
        consents=metadata.consents,
    )
