"""Principals of other directories: who a source's access list means here, and who may read by it."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.access import ALL_STAFF, NOBODY, PrincipalRef
from app.domain.sources import Access, Acl, AclEntry, ForeignKind

ForeignName = tuple[ForeignKind, str]
"""A kind and the exact id that a source uses. Exact, letter for letter: what only resembles a name is another one."""

ForeignPrincipals = Mapping[ForeignName, PrincipalRef]
"""Who is meant here by the names of one namespace."""

_EVERYONE = (ForeignKind.EVERYONE, ForeignKind.EVERYONE_EXCEPT_GUESTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Readers and denied of a boundary, as an access list has them. `readers` is never empty: that would mean the
    collection's; where nobody is granted anything it is `NOBODY`, and the owners are left."""

    readers: frozenset[PrincipalRef]
    denied: frozenset[PrincipalRef] = frozenset()

    def narrowed_to(self, other: "Audience") -> "Audience":
        """Only who is a reader of both and denied by neither."""
        return Audience(readers=(self.readers & other.readers) or OWNERS_ALONE, denied=self.denied | other.denied)


OWNERS_ALONE = frozenset({NOBODY})


def audience(acl: Acl, known: ForeignPrincipals) -> Audience:
    """Who may read by an access list.

    INVARIANT: whoever is not known is nobody. An unknown grant gives nothing. An unknown deny shuts the item to all
    but the owners: whom it keeps out cannot be told. So knowing less never shows an item to more.
    """
    granted = {_meant(entry, known) for entry in acl.entries if entry.access is Access.GRANT}
    denied = {_meant(entry, known) for entry in acl.entries if entry.access is Access.DENY}
    to_all = any(entry.access is Access.DENY and entry.kind in _EVERYONE for entry in acl.entries)
    shut = to_all or None in denied
    by_name = frozenset(
        ref
        for entry in acl.entries
        if entry.access is Access.DENY and entry.kind not in _EVERYONE and (ref := _meant(entry, known)) is not None
    )
    readers = frozenset(ref for ref in granted if ref is not None)
    return Audience(readers=OWNERS_ALONE if shut or not readers else readers, denied=by_name)


def _meant(entry: AclEntry, known: ForeignPrincipals) -> PrincipalRef | None:
    found = known.get((entry.kind, entry.value))
    if found is None and entry.kind in _EVERYONE:
        return ALL_STAFF
    return found
