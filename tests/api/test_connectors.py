"""Places of each kind behind a source, over HTTP: what they say is in, from when, for whom, and fetched no more than
it must be."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import sites
from tests.contracts.places import git
from tests.running import Running
from tests.sites import Site

AT = "/v1/collections/handbook/sources"


@pytest.fixture
def owned(run: Running) -> Running:
    run.put_principal("group:owners")
    run.put_principal("user:lena", groups=["group:owners"])
    run.put_principal("user:ana")
    run.put_principal("user:bo")
    run.put_collection("handbook", owners=["group:owners"], default_readers=["group:all-staff"])
    run.places.mkdir()
    return run


@pytest.fixture
def site() -> Iterator[Site]:
    with sites.site() as made:
        yield made


def _registered(run: Running, connector: str, location: str, **stated: Any) -> None:
    body = {"connector": connector, "location": location, **stated}
    response = run.request("PUT", f"{AT}/it", "user:lena", json=body)
    assert response.status_code == 200, response.text


def _ran(run: Running) -> dict[str, int]:
    """The counts of a run that was asked for and carried out, those that are not 0."""
    asked = run.request("POST", f"{AT}/it/run", "user:lena", json={})
    assert asked.status_code == 202, asked.text
    run.work()
    report = run.request("GET", asked.headers["Location"], "user:lena").json()
    assert report["state"] == "succeeded", report["problem"]
    return {name: number for name, number in report["counts"].items() if number}


def _commit(folder: Path, at: str, **files: str | None) -> None:
    for name, text in files.items():
        place = folder / f"{name}.md"
        if text is None:
            place.unlink()
        else:
            place.write_text(text)
    git(folder, "add", "--all")
    date = f"{at}T12:00:00+00:00"
    git(
        folder,
        "-c",
        "core.editor=true",
        "commit",
        "--quiet",
        "-m",
        at,
        "--date",
        date,
        env={"GIT_COMMITTER_DATE": date},
    )


def test_a_repository_answers_as_of_each_commit_and_follows_renames_and_deletions(owned: Running) -> None:
    folder = owned.places / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    _commit(folder, "2020-01-01", horse="The horse eats oats.", cow="The cow eats hay.")
    _commit(folder, "2021-01-01", horse="The horse eats carrots.")
    _registered(owned, "git", str(folder))
    assert _ran(owned) == {"listed": 3, "new": 2, "changed": 1}

    def told(animal: str, **rest: Any) -> list[str]:
        found = owned.retrieve("user:ana", f"What does the {animal} eat?", **rest)["passages"]
        return [each["text"] for each in found if animal in each["text"]]

    assert told("horse", as_of="2020-06-01") == ["The horse eats oats."]
    assert told("horse") == ["The horse eats carrots."]
    assert told("horse", as_of="2019-06-01") == []
    git(folder, "mv", "cow.md", "ox.md")
    _commit(folder, "2022-01-01", horse=None)
    counts = _ran(owned)
    assert counts["new"] == 1
    assert owned.found("user:ana", "What does the cow eat?") == ["ox.md"]
    assert told("horse") == []
    assert told("horse", as_of="2021-06-01") == ["The horse eats carrots."]
    assert _ran(owned) == {}


def test_a_site_is_asked_whether_a_page_is_still_the_same_before_it_is_fetched(owned: Running, site: Site) -> None:
    site.put("/sitemap.xml", _sitemap(f"{site.url}/horse", f"{site.url}/cow"), "application/xml")
    for name in ("horse", "cow"):
        site.put(f"/{name}", f"<html><body><p>The {name} eats oats.</p></body></html>", ETag=f'"{name}-1"')
    open_to = replace(owned, ports=replace(owned.ports, source_locations=(site.url,)))
    open_to.client.app.state.ports = open_to.ports  # type: ignore[attr-defined]
    _registered(open_to, "web", f"{site.url}/sitemap.xml", options={"requests_per_second": "20"})
    assert _ran(open_to) == {"listed": 2, "new": 2}
    site.put("/cow", "<html><body><p>The cow eats hay.</p></body></html>", ETag='"cow-2"')
    assert _ran(open_to) == {"listed": 2, "unchanged": 1, "changed": 1}
    assert site.paths(304) == ["/horse"]
    first = open_to.retrieve("user:ana", "What does the cow eat?")["passages"][0]
    assert first["text"].endswith("hay.")


def _sitemap(*pages: str) -> str:
    listed = "".join(f"<url><loc>{page}</loc></url>" for page in pages)
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{listed}</urlset>'


MAIL = """From bo@example.org Thu Jan  2 10:00:00 2020
From: Bo <bo@example.org>
To: Ana <ana@example.org>
Subject: Oats
Date: Thu, 2 Jan 2020 10:00:00 +0000
Message-ID: <oats@example.org>
Content-Type: text/plain; charset=utf-8

The horse has eaten all the oats.
"""


def test_a_mail_is_read_by_its_sender_and_recipients_as_the_directory_knows_them(owned: Running) -> None:
    owned.put_principal("user:cy")
    known = [{"kind": "user", "value": f"{who}@example.org", "principal": f"user:{who}"} for who in ("ana", "bo")]
    owned.admin("PUT", "/v1/identities/mail", {"identities": known})
    (owned.places / "box.mbox").write_text(MAIL)
    _registered(owned, "mail", str(owned.places / "box.mbox"), namespace="mail")
    assert _ran(owned) == {"listed": 1, "new": 1}
    people = ("user:ana", "user:bo", "user:cy")
    assert [who for who in people if owned.found(who, "Who has eaten the oats?")] == ["user:ana", "user:bo"]
