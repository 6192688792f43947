"""What can be configured, by `MUNIMENT_*` in the environment (nested with `__`) or in muniment.toml."""

import json
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from app.domain.answering import MIN_CONFIDENCE
from app.domain.ranking import DEFAULT, Fusion, Ranking

TOML = "muniment.toml"
_GROUP = r"^group:[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$"


class IndexSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str | None = Field(default=None, description="A Qdrant server; unset: the embedded index.")
    api_key: SecretStr | None = None
    collection: str = Field(default="muniment", description="The name of the qdrant collection.")
    budget_ms: float = Field(
        default=1.0, gt=0, description="What the embedded index may take for a search before it lays out arrays."
    )


DECIDES_NO_VECTOR: Final = {"threads", "engine", "remembered_queries"}


class EmbeddingSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str | None = Field(default=None, description="A name or a folder; unset: the packaged all-MiniLM-L6-v2.")
    engine: Literal["onnx", "torch"] = Field(
        default="onnx", description="What runs it: ONNX Runtime, where a graph can be made of the model; or torch."
    )
    threads: int = Field(
        default=0, ge=0, description="Texts that are embedded at once in a process; 0: as many as there are cores."
    )
    query_prompt: str | None = Field(default=None, description="Before a question; unset: as the model's files say.")
    document_prompt: str | None = Field(default=None, description="Before a passage; unset: as the model's files say.")
    dimension: int | None = Field(
        default=None, ge=1, description="Only so many numbers of a vector, for models that were trained for it."
    )
    max_tokens: int | None = Field(
        default=None, ge=8, description="Read of one text, special tokens included; unset: all that the model reads."
    )
    quantization: Literal["none", "int8"] = Field(
        default="none", description="int8: the weights in 8 bits; other vectors, and less memory."
    )
    remembered_queries: int = Field(
        default=2_048, ge=0, description="Questions whose vectors are kept in memory, for when they are asked again."
    )

    @property
    def spec(self) -> str:
        """What of this decides vectors, as canonical JSON: another spec, another generation of the index.

        What is as by default is left out, so that a setting that is new changes nothing of what there is.
        """
        decisive = self.model_dump(mode="json", exclude=DECIDES_NO_VECTOR, exclude_defaults=True)
        return json.dumps(decisive, sort_keys=True, separators=(",", ":"))


class RerankSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str | None = Field(default=None, description="A cross-encoder, by name or folder; unset: nothing reranks.")
    engine: Literal["onnx", "torch"] = Field(default="onnx", description="As of the embedding model.")
    max_tokens: int = Field(default=256, ge=16, description="Read of question and text together.")
    threads: int = Field(default=0, ge=0, description="Texts that are read at once; 0: as many as there are cores.")


class RankingSettings(BaseModel):
    """As `app.domain.ranking.Ranking` has them: what is unset is as measured there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    fusion: Fusion = Field(default=DEFAULT.fusion, description="convex, min-max, dbsf or rrf.")
    dense_weight: float = Field(
        default=DEFAULT.dense_weight, ge=0, le=1, description="What meaning counts for beside shared words."
    )
    adaptation: float = Field(
        default=DEFAULT.adaptation,
        ge=0,
        le=1,
        description="How far a question's own hits may move that; 0: not at all.",
    )
    rrf_k: int = Field(default=DEFAULT.rrf_k, ge=0)
    depth: int = Field(default=DEFAULT.depth, ge=1, le=1000, description="Hits taken from each of both.")
    min_cosine: float = Field(
        default=DEFAULT.min_cosine, ge=-1, le=1, description="Below it, a text has nothing to do with a question."
    )
    document_decay: float = Field(
        default=DEFAULT.document_decay,
        ge=0,
        le=1,
        description="What each further passage of one document counts for; 1: as much as the one before.",
    )
    rerank_candidates: int = Field(
        default=DEFAULT.rerank_candidates, ge=0, le=200, description="Hits whose text a reranker reads."
    )
    rerank_weight: float = Field(
        default=DEFAULT.rerank_weight, ge=0, le=1, description="What a reranker's score counts for beside fusion."
    )

    def domain(self) -> Ranking:
        return Ranking(**self.model_dump())


class IngestSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    max_queued: int = Field(default=50_000, ge=1, description="Jobs that wait at once; more are told to come later.")
    max_queued_in_collection: int = Field(default=20_000, ge=1, description="Of these, of one collection.")
    max_setbacks: int = Field(
        default=150, ge=0, description="Tries of a job that may meet a part that is down; 150 take about half a day."
    )
    dead_after_s: float = Field(default=15.0, ge=1, description="Silence after which a worker is taken for dead.")


class KeysSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    max_days: int | None = Field(
        default=None, ge=1, le=36_500, description="How long an API key lives at the most; unset: as long as was said."
    )


class DetectionSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    presidio: str | None = Field(
        default=None, description="A spaCy model, by name or folder, for presidio to look on with; unset: it does not."
    )


def words(stated: tuple[str, ...] | str) -> tuple[str, ...]:
    """What a setting lists, one by one: a list in the file, commas between in the environment."""
    listed = stated.split(",") if isinstance(stated, str) else stated
    return tuple(each.strip() for each in listed if each.strip())


class SourcesSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    allow: tuple[str, ...] | str = Field(
        default=(),
        description="Paths and URLs that sources may fetch from, with what lies below and commas between; unset: none.",
    )
    scheduled: bool = Field(
        default=True, description="Whether the worker runs sources by schedule and watches folders."
    )

    @property
    def locations(self) -> tuple[str, ...]:
        """What `allow` names, one by one."""
        return words(self.allow)


class OidcSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    issuer: str | None = Field(default=None, description="Whose access tokens are taken; unset: nobody's.")
    audience: str | None = Field(default=None, description="What `aud` of a token has to name: this server.")
    jwks_url: str | None = Field(default=None, description="The issuer's keys; unset: where its metadata say.")
    algorithms: tuple[str, ...] | str = Field(default=(), description="Unset: every asymmetric one.")
    leeway_s: float = Field(default=30, ge=0, le=300, description="How far clocks may be apart.")
    subject_claim: str = Field(default="sub", description="The claim that names the person.")
    identities: str | None = Field(
        default=None, description="The namespace of /v1/identities that says whom names mean; unset: they are ids here."
    )
    second_factor_acr: tuple[str, ...] | str = ()
    second_factor_amr: tuple[str, ...] | str = "mfa"
    refresh_s: float = Field(default=300, ge=1, description="After which it is looked whether keys still hold.")
    max_stale_s: float = Field(default=3600, ge=1, description="How long keys are used while the issuer is down.")


class BreakGlassSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    max_minutes: int = Field(default=60, ge=1, le=1440, description="The longest that a broken glass stays open.")


class PolicySettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    approvals: int = Field(
        default=0, ge=0, le=20, description="Administrators other than its author who approve a policy set first."
    )


class RecourseSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    remind_after_hours: float = Field(default=24, gt=0, description="Until those who decide are reminded, once.")
    escalate_after_hours: float = Field(default=72, gt=0, description="Until others may decide in their place.")
    expire_after_hours: float = Field(default=336, gt=0, description="Until a request that nobody decided is over.")
    max_grant_hours: float = Field(default=720, gt=0, description="The longest that an approval may last.")
    compliance: str | None = Field(
        default=None,
        pattern=_GROUP,
        description="Who is asked when no rule and no collection says who; unset: group:auditors.",
    )
    escalate_to: str = Field(
        default="group:administrators", pattern=_GROUP, description="Who may decide when nobody did in time."
    )


class WebhooksSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    allow: tuple[str, ...] | str = Field(
        default=(), description="URLs that webhooks may be at, with what lies below and commas between; unset: none."
    )

    @property
    def locations(self) -> tuple[str, ...]:
        """What `allow` names, one by one."""
        return words(self.allow)


class AnswerSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    min_confidence: float = Field(
        default=MIN_CONFIDENCE, ge=0, le=1, description="Below it, a question is not in the documents."
    )


class GenerationSettings(BaseModel):
    """A model elsewhere that writes answers. Whatever it is sent is exported."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str | None = Field(
        default=None, description="An OpenAI-compatible API, as in https://models.example.org/v1; unset: no model."
    )
    model: str | None = Field(default=None, description="Its name there.")
    api_key: SecretStr | None = None
    timeout_s: float = Field(default=60, gt=0, le=600, description="For a whole answer.")
    max_tokens: int = Field(default=500, ge=1, le=4000)
    max_level: Literal["public", "internal", "confidential", "restricted"] = Field(
        default="internal", description="The highest label of what is sent to it."
    )
    categories: tuple[str, ...] | str = Field(
        default=(), description="Categories that may be sent to it, with commas between; unset: none."
    )
    jurisdiction: str | None = Field(
        default=None, description="Where it runs; unset: what is bound to jurisdictions is not sent."
    )
    unsupported: Literal["mark", "drop"] = Field(
        default="drop", description="What becomes of a sentence that no passage supports."
    )


class Settings(BaseSettings):
    """Frozen; made once at start and passed on."""

    model_config = SettingsConfigDict(
        env_prefix="MUNIMENT_",
        env_nested_delimiter="__",
        toml_file=TOML,
        frozen=True,
        extra="ignore",
    )

    home: Path = Field(default=Path(".muniment"), description="The data folder.")
    database_url: str | None = Field(default=None, description="SQLite in the home, if unset; or postgresql+psycopg://")
    blobs_url: str | None = Field(default=None, description="An fsspec URL; unset: a folder in the home.")
    admin_key: SecretStr | None = Field(default=None, min_length=32)
    url: str | None = Field(default=None, description="A running server, for the command line.")
    key: SecretStr | None = Field(default=None, description="The API key that the command line sends.")
    public_url: str | None = Field(
        default=None, description="Where others reach this server, as in https://muniment.example.org; for metadata."
    )
    index: IndexSettings = IndexSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    ranking: RankingSettings = RankingSettings()
    rerank: RerankSettings = RerankSettings()
    ingest: IngestSettings = IngestSettings()
    keys: KeysSettings = KeysSettings()
    detection: DetectionSettings = DetectionSettings()
    sources: SourcesSettings = SourcesSettings()
    policies: PolicySettings = PolicySettings()
    oidc: OidcSettings = OidcSettings()
    break_glass: BreakGlassSettings = BreakGlassSettings()
    recourse: RecourseSettings = RecourseSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    answer: AnswerSettings = AnswerSettings()
    generation: GenerationSettings = GenerationSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment outranks the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def database(self) -> str:
        """The database's SQLAlchemy URL; psycopg 3 is the driver for any PostgreSQL URL."""
        if self.database_url is None:
            return f"sqlite:///{self.home.absolute() / 'muniment.sqlite'}"
        scheme, separator, rest = self.database_url.partition("://")
        return f"postgresql+psycopg{separator}{rest}" if scheme in ("postgres", "postgresql") else self.database_url

    @property
    def blobs(self) -> str:
        return self.blobs_url or f"file://{self.home.absolute() / 'blobs'}"
