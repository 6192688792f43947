"""`muniment policy`: a policy set checked, held against tables, drafted, approved, put in force and brought back.

To check a file and to hold it against tables needs no server and no data folder: Cedar is asked here, by the same
adapter and the same reading of tables as the server's.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import quote

from app.cli.client import Json, Refused, Server
from app.cli.connect import administering
from app.cli.console import Failed, note, out, say, say_json, table, word
from app.domain.errors import Invalid
from app.domain.policies import policy_digest
from app.domain.simulation import Edit
from app.operations.who_sees_what import Change, Failure, Outcome, Table, outcome, read_table
from app.ports import PolicyEngine
from app.settings import Settings

_NOT_FOUND = 404
_ORDER = (Change.GAINS, Change.LOSES, Change.DECIDED_OTHERWISE)


def validate(settings: Settings, file: Path, *, strict: bool, as_json: bool) -> bool:
    """Whether a file has no faults, and with `strict` no warnings either. A server at MUNIMENT_URL is asked, which
    knows what is in force and who is in the directory; without one, the file speaks for itself."""
    cedar = text_of(file)
    if settings.url:
        with administering(settings, worker=False) as server:
            found = server.post("/v1/policies/validate", {"cedar": cedar})
    else:
        found = _validated(cedar)
    well = found["valid"] and not (strict and found["warnings"])
    if as_json:
        say_json(found)
        return bool(well)
    for each in found["faults"]:
        say(f"fault: {each['detail']}", style="red")
    _warn(found["warnings"])
    if found["valid"]:
        warned = len(found["warnings"])
        say(f"{file} can be put in force." + (f" {warned} warning{'s' if warned > 1 else ''}." if warned else ""))
    return bool(well)


def test(settings: Settings, file: Path | None, paths: Sequence[Path], *, as_json: bool) -> bool:
    """Whether everybody sees what the tables say: of the file, or of what is in force; by these tables, or by those
    that the server keeps."""
    alone = file is not None and bool(paths)
    with nullcontext() if alone else administering(settings, worker=False) as server:
        cedar = text_of(file) if file is not None else _in_force(server)["cedar"]
        written = _tables_at(paths) if paths else _stored(server)
    if not written:
        raise Failed("There are no tables: name some with --tables, or lay some down with muniment policy tables.")
    engine = _engine()
    if faults := engine.validate(cedar):
        raise Failed(f"The policies have faults: {' '.join(faults)}")
    found = outcome(engine, cedar, _read(written))
    if as_json:
        say_json(_outcome(found))
    else:
        _tell(found)
    return not found.failures


def draft(settings: Settings, file: Path, *, reason: str, as_json: bool) -> bool:
    with administering(settings, worker=False) as server:
        drafted = _drafted(server, file, reason)
    if as_json:
        say_json(drafted)
    else:
        _warn(drafted["warnings"])
        say(f"{drafted['id']} is a draft, and decides nothing yet. Its digest: {drafted['digest']}")
    return True


def approve(settings: Settings, id: str, *, digest: str | None, as_json: bool) -> bool:
    """Approve a draft as it is; only if it has the digest that was looked at, where one is stated."""
    with administering(settings, worker=False) as server:
        looked_at = digest or server.get(_path(id))["digest"]
        approved = server.post(f"{_path(id)}/approve", {"digest": looked_at})
    if as_json:
        say_json(approved)
    else:
        say(f"{id} is approved by {', '.join(each['by'] for each in approved['approvals'])}: {approved['digest']}")
    return True


def activate(settings: Settings, what: str, *, reason: str, strict: bool, as_json: bool) -> bool:
    """Put a draft in force, or a file, which is drafted first. A draft that is refused stays one."""
    with administering(settings, worker=False) as server:
        id = what if what.startswith("pol_") else _drafted(server, Path(what), reason)["id"]
        try:
            active = server.post(f"{_path(id)}/activate", {"reason": reason, "strict": strict})
        except Refused as refusal:
            kept = f" ({id} is kept as it is.)" if refusal.status != _NOT_FOUND else ""
            raise Failed(f"{refusal}{kept}") from None
    _told(active, as_json=as_json)
    return True


def roll_back(settings: Settings, *, reason: str, to: str | None, as_json: bool) -> bool:
    with administering(settings, worker=False) as server:
        _told(server.post("/v1/policies/rollback", {"reason": reason, "to": to}), as_json=as_json)
    return True


def discard(settings: Settings, id: str, *, as_json: bool) -> bool:
    with administering(settings, worker=False) as server:
        server.delete(_path(id))
        discarded = server.get(_path(id)) if as_json else None
    if as_json:
        say_json(discarded)
    else:
        say(f"{id} is discarded.")
    return True


def listed(settings: Settings, *, as_json: bool) -> bool:
    with administering(settings, worker=False) as server:
        found = server.get("/v1/policies")
        active = None if as_json else _in_force(server)
    if active is None:
        say_json(found)
        return True
    rows = [
        (each["id"], word(each["state"]), _minute(each["created_at"]), each["author"], each["reason"])
        for each in found["policies"]
    ]
    out().print(table(("version", "state", "drafted", "by", "why"), rows, whole="version"))
    if lacking := lacks_of_default(active["cedar"]):
        note(f"{lacking} {HOW_TO_RENEW}")
    return True


def show(settings: Settings, id: str | None, *, default: bool = False, as_json: bool) -> bool:
    """The text of a version, or of what is in force; nothing else is printed, so that it can be put into a file. With
    `default`, what a new Muniment starts with, which needs no server."""
    if default:
        cedar = default_policies()
        if as_json:
            say_json({"cedar": cedar, "digest": policy_digest(cedar)})
        else:
            say(cedar.rstrip("\n"))
        return True
    with administering(settings, worker=False) as server:
        found = server.get(_path(id)) if id is not None else _in_force(server)
    if as_json:
        say_json(found)
    else:
        say(found["cedar"].rstrip("\n"))
    return True


def diff(settings: Settings, what: str | None, *, as_json: bool) -> bool:
    """From what is in force to a version, to a file, or without either to the default of this version of Muniment."""
    with administering(settings, worker=False) as server:
        if what is not None and what.startswith("pol_"):
            told = server.get(_path(what))["diff"]
        else:
            cedar, named = (default_policies(), "the default") if what is None else (text_of(Path(what)), what)
            lines = (_in_force(server)["cedar"].splitlines(), cedar.splitlines())
            told = "\n".join(difflib.unified_diff(*lines, fromfile="in force", tofile=named, lineterm=""))
    if as_json:
        say_json({"diff": told})
    else:
        say(told or "Nothing differs from what is in force.")
    return True


def tables(settings: Settings, paths: Sequence[Path], *, reason: str | None, as_json: bool) -> bool:
    """Lay these tables down, for every activation to be held against; without any, show those that are."""
    with administering(settings, worker=False) as server:
        if not paths:
            kept = server.get("/v1/policies/tests")
        else:
            kept = server.put("/v1/policies/tests", {"tables": _tables_at(paths), "reason": reason})
    if as_json:
        say_json(kept)
        return True
    for name in kept["tables"]:
        say(name)
    if not kept["tables"]:
        say("There are none.")
    for failure in kept.get("in_force", {}).get("failures", ()):
        note(f"not so today: {failure['detail']}")
    return True


# ---- Without a server ------------------------------------------------------------------------------------------------

HOW_TO_RENEW = (
    "muniment policy diff shows how they differ, and muniment policy show --default > FILE gives the default, to be "
    "simulated and activated."
)


def lacks_of_default(cedar: str) -> str:
    """A sentence that names the rules of the default policies that are not in this text or are written otherwise there;
    empty if there are none. What is in force stays so when a newer version of Muniment is installed."""
    engine = _engine()
    if engine.validate(cedar):
        return ""
    edit = Edit.between(engine.rules(cedar), engine.rules(default_policies()))
    new = [rule.id for rule in edit.new if rule.id not in edit.rewritten]
    parts = (("lacks", new), ("has otherwise", sorted(edit.rewritten)))
    said = ", and ".join(f"{verb} {', '.join(rules)}" for verb, rules in parts if rules)
    return f"Of the default policies of this version, the set in force {said}." if said else ""


def default_policies() -> str:
    from app.adapters.cedar_policy import default_policies

    return default_policies()


def _engine() -> PolicyEngine:
    from app.adapters.cedar_policy import CedarPolicyEngine

    return CedarPolicyEngine()


def _validated(cedar: str) -> Json:
    """As POST /v1/policies/validate answers, without what only a server knows."""
    engine = _engine()
    faults = engine.validate(cedar)
    remarks = () if faults else engine.examine(cedar, in_force=None).remarks
    return {
        "valid": not faults,
        "faults": [{"detail": each} for each in faults],
        "warnings": [
            {"code": each.code, "policy": each.policy, "line": each.line, "detail": each.sentence} for each in remarks
        ],
    }


def text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Failed(f"{file} is no text in UTF-8.") from None


def _tables_at(paths: Sequence[Path]) -> dict[str, str]:
    """The tables at these paths by their file's name, those of a folder one by one."""
    files = [file for path in paths for file in (sorted(path.glob("*.y*ml")) if path.is_dir() else [path])]
    if len({file.name for file in files}) < len(files):
        raise Failed("Two of the tables have the same name.")
    return {file.name: text_of(file) for file in files}


def _read(written: Mapping[str, str]) -> list[Table]:
    try:
        return [read_table(name, text) for name, text in sorted(written.items())]
    except Invalid as error:
        faults = " ".join(f"{each.pointer.lstrip('/')}: {each.detail}" for each in error.faults)
        raise Failed(f"{error.detail} {faults}") from None


def _tell(found: Outcome) -> None:
    for each in sorted(found.failures, key=lambda each: _ORDER.index(each.change)):
        say(f"{each.change}: {each.sentence}", style="red")
    counts = ", ".join(f"{sum(each.change is change for each in found.failures)} {change}" for change in _ORDER)
    decided = f"{found.rows} rows, {found.decisions} decisions"
    say(f"{decided}: {counts}." if found.failures else f"{decided}: everybody sees what the tables say.")


def _outcome(found: Outcome) -> Json:
    """As POST /v1/policies/{id}/test answers."""
    return {
        "passed": not found.failures,
        "rows": found.rows,
        "decisions": found.decisions,
        "failures": [_failure(each) for each in found.failures],
    }


def _failure(each: Failure) -> Json:
    return {
        "table": each.table,
        "row": each.asks,
        "because": each.because,
        "thing": each.thing,
        "change": each.change,
        "expected": each.expected,
        "got": each.got,
        "policies": [{"id": id, "reason": reason} for id, reason in each.deciding],
        "detail": each.sentence,
    }


# ---- With one --------------------------------------------------------------------------------------------------------


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ")


def _path(id: str) -> str:
    return f"/v1/policies/{quote(id, safe='')}"


def _in_force(server: Server | None) -> Json:
    assert server is not None, "there is one wherever a file is not named"
    return server.get("/v1/policies/active")


def _stored(server: Server | None) -> dict[str, str]:
    assert server is not None, "there is one wherever tables are not named"
    return dict(server.get("/v1/policies/tests")["tables"])


def _drafted(server: Server, file: Path, reason: str) -> Json:
    return server.post("/v1/policies", {"cedar": text_of(file), "reason": reason})


def _told(active: Json, *, as_json: bool) -> None:
    if as_json:
        say_json(active)
    else:
        say(f"{active['id']} is in force. Its digest: {active['digest']}")


def _warn(warnings: Sequence[Json]) -> None:
    for line in _warned(warnings):
        say(line, style="magenta")


def _warned(warnings: Sequence[Json]) -> Iterator[str]:
    for each in warnings:
        where = f" on line {each['line']}" if each["line"] is not None else ""
        yield f"warning ({each['code']}){where}: {each['detail']}"
