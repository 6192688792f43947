"""Who-sees-what tables: what is not of their form is told with its place, and what fails is told in one line."""

import pytest

from app.adapters.cedar_policy import CedarPolicyEngine, default_policies
from app.domain.errors import Fault, Invalid
from app.operations.who_sees_what import Outcome, outcome, read_table

TABLE = """
groups: {group:inner: [group:outer], group:outer: [group:inner]}
principals: {user:ana: {groups: [group:inner], clearance: confidential, categories: [pii]}, assistant:bot: {}, assistant:desk: {}}
collections: {files: {default_readers: [group:outer]}, other: {owners: [user:ana]}}
boundaries: {everyday: {}, personal: {level: confidential, categories: [pii]}, elsewhere: {collection: other}}
cases:
  - {who: user:ana, asks: read, sees: [everyday, personal, elsewhere]}
"""  # noqa: E501
ROW = "{who: user:ana, asks: read, sees: [everyday, personal, elsewhere]}"


def with_row(row: str) -> str:
    assert ROW in TABLE
    return TABLE.replace(ROW, row)


def held(text: str, policies: str | None = None) -> Outcome:
    return outcome(CedarPolicyEngine(), policies or default_policies(), [read_table("t", text)])


def test_groups_that_hold_each_other_and_the_first_collection_are_as_stated() -> None:
    assert held(TABLE) == Outcome(rows=1, decisions=3, failures=())


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            "{who: user:ana, through: assistant:bot, asks: read, for: support, sees: [personal]}",
            "user:ana through assistant:bot read for support 'personal': expected seen, got missed by "
            'above-actor-clearance ("A label\'s level has to be within the clearance of the assistant that acts."); '
            'category-not-held-by-actor ("The assistant that acts has to hold every category of a label.").',
        ),
        (
            "{who: user:ana, asserted: true, asks: discover, misses: [other]}",
            "user:ana (asserted) discover 'other': expected missed, got seen by owners-curate "
            '("Owners find their collections and decide what is in them and who sees it.").',
        ),
        (
            "{who: assistant:bot, asks: read, misses: [everyday], by: denied-subject}",
            "assistant:bot read 'everyday': expected missed by denied-subject, got missed by nothing that permits it.",
        ),
        (
            "{who: user:ana, asks: read, sees: [everyday], thanks to: readers-see, owes: [no-export]}",
            "user:ana read 'everyday': expected seen by readers-see with no-export, got seen with no obligation by "
            'readers-see ("Readers, by name or through a group, see what they were given.").',
        ),
        (
            "{who: user:ana, through: [assistant:bot, assistant:desk], granted: [files], asks: ask, misses: [institution]}",  # noqa: E501
            "user:ana through assistant:desk through assistant:bot ask 'institution': expected missed, got seen by "
            'all-may-ask ("Everybody may ask; what the answer draws on is decided apart.").',
        ),
    ],
)
def test_a_row_that_fails_is_one_line_with_what_decided_it(row: str, told: str) -> None:
    assert [each.sentence for each in held(with_row(row)).failures] == [told]


def test_a_chain_of_assistants_is_a_ceiling_each() -> None:
    row = "{who: user:ana, through: [assistant:bot, assistant:desk], asks: read, sees: [everyday], misses: [personal]}"
    assert held(with_row(row)).failures == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("principals: [\n", Fault(detail="This is not YAML. See line 2.", pointer="/t")),
        ("\x07", Fault(detail="This is not YAML. It may hold a character that YAML does not have.", pointer="/t")),
        ("[" * 300_000, Fault(detail="This cannot be read as YAML.", pointer="/t")),
        ("- " * 150_000, Fault(detail="This cannot be read as YAML.", pointer="/t")),
        ("&a [*a]", Fault(detail="Input should be a valid dictionary or instance of _WrittenTable.", pointer="/t")),
        (
            TABLE.replace("who: user:ana", "who: ana"),
            Fault(detail="Write user:ID, group:ID or assistant:ID.", pointer="/t/cases/0/who"),
        ),
        (
            TABLE.replace("clearance: confidential", "clearance: secret"),
            Fault(
                detail="Write public, internal, confidential, restricted.", pointer="/t/principals/user:ana/clearance"
            ),
        ),
        ("cases: []", Fault(detail="Field required.", pointer="/t/principals")),
        (TABLE.replace("who: ", "whom: "), Fault(detail="Extra inputs are not permitted.", pointer="/t/cases/0/whom")),
        (
            TABLE.replace("clearance: confidential", "clearance: 2"),
            Fault(detail="Input should be a valid string.", pointer="/t/principals/user:ana/clearance"),
        ),
        (
            TABLE.replace("who: user:ana", "who: user:bo"),
            Fault(detail="user:bo is not among the table's principals.", pointer="/t/cases/0"),
        ),
        (
            TABLE.replace("groups: [group:inner]", "groups: [group:none]"),
            Fault(detail="group:none is not among the table's groups.", pointer="/t/principals/user:ana/groups"),
        ),
        (
            TABLE.replace("asks: read", "asks: discover"),
            Fault(detail="'everyday' is nothing that 'discover' is asked of.", pointer="/t/cases/0"),
        ),
        (
            TABLE.replace("{collection: other}", "{collection: none}"),
            Fault(detail="Name one of the table's collections.", pointer="/t/boundaries/elsewhere/collection"),
        ),
        (
            with_row("{who: user:ana, asks: read}"),
            Fault(detail="Say what is seen or missed.", pointer="/t/cases/0"),
        ),
        (
            with_row("&row {who: user:ana, asks: read, sees: [" + "everyday, " * 1000 + "]}" + "\n  - *row" * 20),
            Fault(detail="The rows ask about more than 20,000 things: make several tables of it.", pointer="/t/cases"),
        ),
    ],
)
def test_what_is_not_of_the_form_is_told_with_its_place(text: str, fault: Fault) -> None:
    with pytest.raises(Invalid) as refusal:
        read_table("t", text)
    assert fault in refusal.value.faults
