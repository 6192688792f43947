"""Who an access list means: knowing less, or a list that says more against somebody, never shows an item to more."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.access import ALL_STAFF, NOBODY, PrincipalRef
from app.domain.foreign import OWNERS_ALONE, Audience, ForeignName, audience
from app.domain.sources import Access, Acl, AclEntry, ForeignKind

_NAMES = st.sampled_from(["ana", "bo", "legal", "", "tenant"])
_ENTRIES = st.builds(AclEntry, access=st.sampled_from(Access), kind=st.sampled_from(ForeignKind), value=_NAMES)
_ACLS = st.builds(Acl, entries=st.frozensets(_ENTRIES, max_size=6))
_KNOWN = st.dictionaries(
    st.tuples(st.sampled_from([ForeignKind.USER, ForeignKind.GROUP]), _NAMES),
    st.sampled_from([PrincipalRef("user:ana"), PrincipalRef("user:bo"), PrincipalRef("group:legal")]),
)
_PEOPLE = [PrincipalRef("user:ana"), PrincipalRef("user:bo"), PrincipalRef("group:legal"), ALL_STAFF, NOBODY]


def _sees(who: Audience, ref: PrincipalRef) -> bool:
    return ref in who.readers and ref not in who.denied


def _reads_at_the_source(acl: Acl, known: dict[ForeignName, PrincipalRef], ref: PrincipalRef) -> bool:
    """The plainest reading of the rule, to hold the other against."""

    def means(entry: AclEntry) -> PrincipalRef | None:
        everyone = entry.kind in (ForeignKind.EVERYONE, ForeignKind.EVERYONE_EXCEPT_GUESTS)
        return ALL_STAFF if everyone else known.get((entry.kind, entry.value))

    denies = [entry for entry in acl.entries if entry.access is Access.DENY]
    if any(means(entry) in (None, ALL_STAFF, ref) for entry in denies):
        return False
    return any(means(entry) == ref for entry in acl.entries if entry.access is Access.GRANT)


@given(_ACLS, _KNOWN)
def test_an_audience_is_whom_the_list_grants_and_does_not_deny(
    acl: Acl, known: dict[ForeignName, PrincipalRef]
) -> None:
    who = audience(acl, known)
    assert who.readers
    for ref in _PEOPLE[:-1]:
        assert _sees(who, ref) == _reads_at_the_source(acl, known, ref)


@given(_ACLS, _KNOWN, st.data())
def test_knowing_less_never_shows_an_item_to_more(
    acl: Acl, known: dict[ForeignName, PrincipalRef], data: st.DataObject
) -> None:
    less = {name: ref for name, ref in known.items() if data.draw(st.booleans())}
    for ref in _PEOPLE[:-1]:
        assert not _sees(audience(acl, less), ref) or _sees(audience(acl, known), ref)


@given(_ACLS, _ENTRIES, _KNOWN)
def test_one_deny_more_never_shows_an_item_to_more(
    acl: Acl, entry: AclEntry, known: dict[ForeignName, PrincipalRef]
) -> None:
    deny = AclEntry(access=Access.DENY, kind=entry.kind, value=entry.value)
    stricter = audience(Acl(entries=acl.entries | {deny}), known)
    for ref in _PEOPLE[:-1]:
        assert not _sees(stricter, ref) or _sees(audience(acl, known), ref)


@given(_ACLS, _ACLS, _KNOWN)
def test_narrowing_leaves_only_who_reads_by_both(one: Acl, other: Acl, known: dict[ForeignName, PrincipalRef]) -> None:
    a, b = audience(one, known), audience(other, known)
    for ref in _PEOPLE[:-1]:
        assert _sees(a.narrowed_to(b), ref) == (_sees(a, ref) and _sees(b, ref))


def test_a_list_that_grants_nothing_leaves_an_item_to_its_owners() -> None:
    assert audience(Acl(), {}) == Audience(readers=OWNERS_ALONE)
