"""`muniment doctor`, from a machine on which nothing was ever started to one on which something is wrong."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from app.adapters.cedar_policy import default_policies
from app.bootstrap import initialise, secret
from app.cli.doctor import Finding, configured, findings
from app.domain.access import AUDITORS
from app.domain.errors import Invalid, Unavailable
from app.domain.instants import Instant
from app.domain.recourse import Webhook
from app.settings import RecourseSettings, Settings, WebhooksSettings
from app.store.database import open_engine, recording
from app.store.webhooks import record_webhook
from tests.cli.pages import pages
from tests.cli.running import muniment
from tests.issuer import issuing
from tests.tiny_models import tiny_embedder


def test_where_nothing_was_ever_started_nothing_is_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    home = tmp_path / "home"
    looked = muniment("doctor", folder=tmp_path, MUNIMENT_HOME=str(home))
    assert (looked.returncode, looked.stderr) == (0, "")
    assert looked.stdout.splitlines()[-1] == "Nothing is wrong."
    assert "the first start makes it" in looked.stdout
    assert not home.exists()


def test_json_is_alone_on_stdout_and_masks_secrets(tmp_path: Path) -> None:
    looked = muniment(
        "doctor",
        "--json",
        folder=tmp_path,
        MUNIMENT_ADMIN_KEY="an administrator's key of 32 characters",
        MUNIMENT_KEY="mun_mine",
        MUNIMENT_INDEX__API_KEY="of qdrant",
        MUNIMENT_DATABASE_URL="postgresql://ana:pa/ss@w0rd@127.0.0.1:9/muniment?password=pa/ss",
        MUNIMENT_BLOBS_URL="s3://bucket/x?secret=abc",
    )
    report = json.loads(looked.stdout)
    assert looked.returncode == 1, "no database is there"
    assert report["healthy"] is False
    measured = ("MUNIMENT_INGEST", "MUNIMENT_RANKING", "MUNIMENT_ANSWER", "MUNIMENT_GENERATION")
    settings = {name: shown for name, shown in report["settings"].items() if not name.startswith(measured)}
    told = {name: shown for name, shown in settings.items() if shown not in ("not set", "nothing")}
    assert told == {
        "MUNIMENT_SOURCES__SCHEDULED": "yes",
        "MUNIMENT_HOME": str(tmp_path / ".muniment"),
        "MUNIMENT_DATABASE_URL": "postgresql+psycopg://********@127.0.0.1:9/muniment?********",
        "MUNIMENT_BLOBS_URL": "s3://bucket/x?********",
        "MUNIMENT_INDEX__URL": "the embedded index",
        "MUNIMENT_INDEX__API_KEY": "********",
        "MUNIMENT_INDEX__COLLECTION": "muniment",
        "MUNIMENT_INDEX__BUDGET_MS": "1",
        "MUNIMENT_EMBEDDING__MODEL": "the packaged all-MiniLM-L6-v2",
        "MUNIMENT_EMBEDDING__ENGINE": "onnx",
        "MUNIMENT_EMBEDDING__THREADS": "0",
        "MUNIMENT_EMBEDDING__QUERY_PROMPT": "as the model's files say",
        "MUNIMENT_EMBEDDING__DOCUMENT_PROMPT": "as the model's files say",
        "MUNIMENT_EMBEDDING__DIMENSION": "all that the model gives",
        "MUNIMENT_EMBEDDING__MAX_TOKENS": "all that the model reads",
        "MUNIMENT_EMBEDDING__QUANTIZATION": "none",
        "MUNIMENT_EMBEDDING__REMEMBERED_QUERIES": "2048",
        "MUNIMENT_RERANK__MODEL": "none",
        "MUNIMENT_RERANK__ENGINE": "onnx",
        "MUNIMENT_RERANK__MAX_TOKENS": "256",
        "MUNIMENT_RERANK__THREADS": "0",
        "MUNIMENT_POLICIES__APPROVALS": "0",
        "MUNIMENT_OIDC__LEEWAY_S": "30",
        "MUNIMENT_OIDC__SUBJECT_CLAIM": "sub",
        "MUNIMENT_OIDC__SECOND_FACTOR_AMR": "mfa",
        "MUNIMENT_OIDC__REFRESH_S": "300",
        "MUNIMENT_OIDC__MAX_STALE_S": "3600",
        "MUNIMENT_BREAK_GLASS__MAX_MINUTES": "60",
        "MUNIMENT_RECOURSE__REMIND_AFTER_HOURS": "24",
        "MUNIMENT_RECOURSE__ESCALATE_AFTER_HOURS": "72",
        "MUNIMENT_RECOURSE__EXPIRE_AFTER_HOURS": "336",
        "MUNIMENT_RECOURSE__MAX_GRANT_HOURS": "720",
        "MUNIMENT_RECOURSE__ESCALATE_TO": "group:administrators",
        "MUNIMENT_ADMIN_KEY": "********",
        "MUNIMENT_KEY": "********",
    }
    assert [each["part"] for each in report["parts"] if each["state"] == "wrong"] == ["database"]


def test_settings_that_cannot_be_used_are_what_is_wrong(tmp_path: Path) -> None:
    looked = muniment("doctor", "--json", folder=tmp_path, MUNIMENT_ADMIN_KEY="short")
    report = json.loads(looked.stdout)
    assert looked.returncode == 1
    assert [(each["part"], each["state"]) for each in report["parts"]] == [("settings", "wrong")]
    assert "MUNIMENT_ADMIN_KEY" in report["parts"][0]["detail"]
    looked = muniment("doctor", folder=tmp_path, MUNIMENT_EMBEDDING__MODLE="x")
    assert "MUNIMENT_EMBEDDING__MODLE" in looked.stdout
    assert "is no setting" in " ".join(looked.stdout.split())


def test_a_setting_that_is_gone_is_told_with_what_is_in_its_place(tmp_path: Path) -> None:
    refused = muniment("retrieve", "x", folder=tmp_path, MUNIMENT_RANKING__LEAN="0.2")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "MUNIMENT_RANKING__LEAN, from the environment or muniment.toml, is a setting no more. "
        "Take it away: MUNIMENT_RANKING__ADAPTATION is in its place, with a meaning of its own."
    ]


@pytest.fixture
def started(tmp_path: Path) -> Settings:
    """A data folder in which a server has been."""
    settings = Settings(home=tmp_path / "home")
    initialise(settings)
    secret(settings.home, "index")
    return settings


def test_a_folder_that_was_started_is_well(started: Settings) -> None:
    assert _wrong(started) == {}


def test_others_who_can_read_the_secrets_are_wrong(started: Settings) -> None:
    (started.home / "secrets" / "pepper").chmod(0o640)
    assert _wrong(started) == {"secrets": f"chmod -R go= {started.home / 'secrets'}"}


def test_a_pepper_that_is_lost_is_wrong(started: Settings) -> None:
    (started.home / "secrets" / "pepper").unlink()
    assert _wrong(started) == {"secrets": "Bring it back from a backup. Without one, issue every key anew."}


def test_a_migration_of_another_version_is_wrong(started: Settings) -> None:
    with sqlite3.connect(started.home / "muniment.sqlite") as database:
        database.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
    database.close()
    assert _wrong(started) == {"database": "Install the newer version that made it."}


def test_a_file_that_is_no_database_is_wrong(started: Settings) -> None:
    (started.home / "muniment.sqlite").write_bytes(b"not a database" * 100)
    assert list(_wrong(started)) == ["database"]


def test_policies_that_do_not_parse_are_wrong(started: Settings) -> None:
    with sqlite3.connect(started.home / "muniment.sqlite") as database:
        database.execute("UPDATE policy_texts SET cedar = 'permit (principal, action'")
    database.close()
    assert _wrong(started) == {"policies": "Activate a valid set."}


def test_policies_of_an_earlier_version_keep_deciding_and_what_they_lack_is_named(started: Settings) -> None:
    head, _, rest = default_policies().partition('@id("provisioners-provision")')
    earlier = head + rest.partition(";")[2]
    with sqlite3.connect(started.home / "muniment.sqlite") as database:
        database.execute("UPDATE policy_texts SET cedar = ?", [earlier])
    database.close()
    (told,) = [each for each in findings(started) if each.part == "policies"]
    assert told.state == "warned"
    assert told.detail.endswith(
        "Of the default policies of this version, the set in force lacks provisioners-provision."
    )
    assert "muniment policy diff " in told.mend


def test_a_public_address_that_nobody_could_rely_on_is_wrong(started: Settings) -> None:
    assert _wrong(started.model_copy(update={"public_url": "https://muniment.example.org"})) == {}
    assert list(_wrong(started.model_copy(update={"public_url": "http://muniment.example.org"}))) == ["public URL"]


def test_requests_that_would_reach_nobody_are_wrong(started: Settings) -> None:
    nobody = RecourseSettings(compliance="group:no-such", remind_after_hours=99)
    told = [each for each in findings(started.model_copy(update={"recourse": nobody})) if each.part == "recourse"]
    assert [each.state for each in told] == ["wrong", "warned"]
    assert "group:no-such is not in the directory" in told[0].detail


def test_a_webhook_at_an_address_that_is_no_longer_allowed_is_wrong(started: Settings) -> None:
    engine = open_engine(started.database)
    laid = Webhook(
        name="desk",
        url="https://desk.example.org/hooks",
        recipients=frozenset({AUDITORS}),
        events=frozenset(),
        generation="1",
    )
    with recording(engine, Instant(2_000_000_000_000)) as (session, at):
        record_webhook(session, laid, at=at, by=AUDITORS)
    engine.dispose()
    assert list(_wrong(started)) == ["webhooks"]
    allowed = WebhooksSettings(allow="https://desk.example.org/")
    assert _wrong(started.model_copy(update={"webhooks": allowed})) == {}


def test_a_model_whose_weights_are_damaged_is_wrong(started: Settings, tmp_path: Path) -> None:
    folder = tiny_embedder(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    damaged = Settings(home=started.home, embedding={"model": str(folder)})
    says = f"The weights in {folder} are damaged: fetch the model again."
    assert [each.detail for each in findings(damaged) if each.part == "model" and each.state == "wrong"] == [says]


def test_a_model_that_is_not_there_is_wrong(started: Settings, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    elsewhere = Settings(home=started.home, embedding={"model": str(tmp_path / "model")})
    assert list(_wrong(elsewhere)) == ["model"]
    unranked = Settings(home=started.home, rerank={"model": str(tmp_path / "model")})
    assert list(_wrong(unranked)) == ["reranker"]
    longer = Settings(home=started.home, embedding={"dimension": 385})
    assert "MUNIMENT_EMBEDDING__DIMENSION" in _wrong(longer)["model"]


def test_a_model_that_writes_answers_is_well_if_somebody_is_there(started: Settings) -> None:
    def at(**generation: str) -> dict[str, str]:
        return _wrong(Settings(home=started.home, generation=generation))

    with pages(lambda path: (200 if path == "/v1/models" else 404, {}, b"{}")) as url:
        assert at(url=f"{url}/v1", model="m") == {}
    with pages(lambda _: (401, {}, b"{}")) as url:
        assert "MUNIMENT_GENERATION__API_KEY" in at(url=f"{url}/v1", model="m")["generator"]
    assert "MUNIMENT_GENERATION__URL" in at(url="http://127.0.0.1:9/v1", model="m")["generator"]
    assert "no server starts" in at(url="http://127.0.0.1:9/v1")["generator"]
    unaddressed = Settings(home=started.home, generation={"model": "m"})
    (told,) = [each for each in findings(unaddressed) if each.part == "generator"]
    assert (told.state, "MUNIMENT_GENERATION__URL" in told.mend) == ("warned", True)


def test_a_reranker_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="neither a folder nor"):
        initialise(Settings(home=tmp_path / "home", rerank={"model": str(tmp_path / "nothing")}))
    assert not (tmp_path / "home").exists()


def test_an_index_server_that_is_not_there_is_wrong(started: Settings) -> None:
    elsewhere = Settings(home=started.home, index={"url": "http://127.0.0.1:9"})
    assert list(_wrong(elsewhere)) == ["index"]


def test_a_token_issuer_is_well_if_it_gives_its_keys_out_and_wrong_if_not(started: Settings) -> None:
    def trusting(**oidc: str) -> Settings:
        return Settings(home=started.home, oidc={"audience": "https://muniment.example", **oidc})

    with issuing(0) as issuer:
        settings = trusting(issuer=issuer.url)
        assert _wrong(settings) == {}
        assert "It publishes 1 key." in [each.detail for each in findings(settings)]
        issuer.down = True
        assert list(_wrong(settings)) == ["token issuer"]
    assert _wrong(trusting(issuer="http://login.example")) == {"token issuer": "Correct the setting."}
    assert _wrong(trusting(issuer="http://127.0.0.1:9", algorithms="HS256")) == {"token issuer": "Correct the setting."}
    assert _wrong(trusting(issuer="http://127.0.0.1:9", audience="")) == {"token issuer": "Correct the setting."}


def test_settings_of_an_issuer_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    for oidc in ({"issuer": "https://login.example"}, {"issuer": "http://login.example", "audience": "x"}):
        with pytest.raises(Invalid, match="MUNIMENT_OIDC__"):
            initialise(Settings(home=tmp_path / "home", oidc=oidc))
    assert not (tmp_path / "home").exists()


def test_a_folder_that_cannot_be_written_to_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "data folder" in _wrong(Settings(home=tmp_path / "file" / "home"))


def test_a_server_is_wrong_when_it_is_not_there_not_ours_or_not_ready(started: Settings) -> None:
    def at(url: str) -> dict[str, str]:
        return _wrong(Settings(home=started.home, url=url, key="mun_x"))

    assert list(at("http://127.0.0.1:9")) == ["MUNIMENT_URL"]
    with pages(lambda _: (200, {}, b"<p>Hello</p>")) as url:
        assert at(url) == {"MUNIMENT_URL": "Correct MUNIMENT_URL."}
    down: dict[str, Any] = {
        "detail": "Not ready: index.",
        "parts": {"index": "It cannot be reached.", "model": "ready"},
    }
    with pages(lambda path: (503 if path == "/readyz" else 401, {}, json.dumps(down).encode())) as url:
        assert list(at(url)) == ["MUNIMENT_URL: index", "MUNIMENT_KEY"]


def test_a_setting_that_is_misspelt_is_told_of(started: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNIMENT_SOURCE__ALLOW", "/srv")
    monkeypatch.setenv("MUNIMENT_INGEST__MAX_QUEUED", "9")
    (told,) = [each for each in findings(started) if each.part == "environment"]
    assert told.state == "warned"
    assert "MUNIMENT_SOURCE__ALLOW." in told.detail
    assert "MAX_QUEUED" not in told.detail


def test_every_setting_is_shown() -> None:
    shown = {name.removeprefix("MUNIMENT_").lower() for name in configured(Settings())}
    fields = {name: type(getattr(Settings(), name)) for name in Settings.model_fields}
    inner = {name: getattr(kind, "model_fields", None) for name, kind in fields.items()}
    assert shown == {f"{name}__{each}" if each else name for name, of in inner.items() for each in of or [""]}


def _wrong(settings: Settings) -> dict[str, str]:
    """How to mend each part that is wrong."""
    found: list[Finding] = list(findings(settings))
    return {each.part: each.mend for each in found if each.state == "wrong"}
