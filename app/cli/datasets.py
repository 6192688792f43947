"""What `muniment eval` reads: a dataset in the layout of BEIR, golden questions, and configurations to compare."""

import gzip
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError

from app.cli.client import Json
from app.cli.console import Failed
from app.domain.answer import Mode
from app.domain.errors import Invalid
from app.domain.instants import Instant, parse_instant
from app.domain.metrics import measured
from app.domain.ranking import Fusion, Ranking
from app.settings import RankingSettings

ACCESS = "who-sees-what"
"""The slice of golden questions that name none: they are about who is shown what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One of a dataset's corpus."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A corpus, the questions that were judged, and by question which documents answer it, and how well."""

    name: str
    corpus: tuple[Document, ...]
    queries: Mapping[str, str]
    judged: Mapping[str, Mapping[str, float]]


def read_dataset(folder: Path, *, limit: int | None = None) -> Dataset:
    """corpus.jsonl, queries.jsonl (each also .gz), and qrels/test.tsv or qrels.tsv; the first `limit` judged questions.

    A judged document that the corpus lacks is one that nothing finds, as for trec_eval. Raises `Failed`, naming file
    and line, for what is not of that form.
    """
    corpus: dict[str, Document] = {}
    for where, each in _objects(of_corpus := _one_of(folder, "corpus.jsonl")):
        id, text, title = (_text(where, each, name) for name in ("_id", "text", "title"))
        if id in corpus:
            raise Failed(f"{where}: {id} is there twice.")
        corpus[id] = Document(id=id, title=" ".join(title.split()), text=text)
    if not corpus:
        raise Failed(f"{of_corpus} holds no document, so there is nothing to be found.")
    queries: dict[str, str] = {}
    for where, each in _objects(_one_of(folder, "queries.jsonl")):
        id, text = (_text(where, each, name) for name in ("_id", "text"))
        if id in queries:
            raise Failed(f"{where}: {id} is there twice.")
        queries[id] = text
    judged: dict[str, dict[str, float]] = {}
    for where, query, document, gain in _judgements(_one_of(folder, "qrels/test.tsv", "qrels.tsv")):
        if query not in queries:
            raise Failed(f"{where}: there is no query {query}.")
        judged.setdefault(query, {})[document] = gain
    answerable = [query for query in queries if any(gain > 0 for gain in judged.get(query, {}).values())][:limit]
    if not answerable:
        raise Failed(f"{folder} has no question that any document answers.")
    return Dataset(
        name=folder.resolve().name,
        corpus=tuple(corpus.values()),
        queries={query: queries[query] for query in answerable},
        judged={query: judged[query] for query in answerable},
    )


def _one_of(folder: Path, *names: str) -> Path:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise Failed(f"{folder} has no {' and no '.join(names)}, packed by gzip or not: see the layout of BEIR datasets.")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where a line stands, and the line; those that are blank are passed over."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip("\r\n")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile):
        raise Failed(f"{path} cannot be read as UTF-8{' packed by gzip' * (path.suffix == '.gz')}.") from None


def _objects(path: Path) -> Iterator[tuple[str, Json]]:
    for where, line in _lines(path):
        try:
            read = json.loads(line)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise Failed(f"{where}: it is no JSON object.")
        yield where, read


def _text(where: str, each: Json, name: str) -> str:
    value = each.get(name)
    if value is None and name == "title":
        return ""
    if isinstance(value, int) and name == "_id":
        return str(value)
    if not isinstance(value, str) or (name == "_id" and not value):
        raise Failed(f"{where}: {name} is wanted, as a text.")
    if not _storable(value):
        raise Failed(f"{where}: {name} holds {_NO_TEXT}.")
    return value


_NO_TEXT = "a null character or half a character (a lone surrogate), which no text may"


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _judgements(path: Path) -> Iterator[tuple[str, str, str, float]]:
    for at, (where, line) in enumerate(_lines(path)):
        columns = line.split("\t")
        if len(columns) == 4:  # TREC's own form has an iteration in between
            columns = [columns[0], *columns[2:]]
        try:
            query, document, gain = columns[0], columns[1], float(columns[2])
        except (ValueError, IndexError):
            if at == 0:
                continue  # a header
            raise Failed(f"{where}: write query, document and score, with tabs between.") from None
        yield where, query, document, gain


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One way to rank, under the name it has in tables."""

    name: str
    ranking: Ranking
    mode: Mode = Mode.HYBRID
    rerank: bool = True
    """Whether a reranker that is configured is used."""


def standard_configurations(ranking: Ranking, *, reranks: bool) -> list[Configuration]:
    """As is configured, then what it is made of, each way to fuse, and without the reranker if there is one.

    What it is made of is not reranked: that would be something else, and costs as much again.
    """
    made = [Configuration(name="hybrid", ranking=ranking)]
    parts = (Mode.DENSE, Mode.LEXICAL)
    made += [Configuration(name=mode.value, ranking=ranking, mode=mode, rerank=False) for mode in parts]
    made += [
        Configuration(name=f"fusion {each}", ranking=replace(ranking, fusion=each))
        for each in Fusion
        if each is not ranking.fusion
    ]
    return [*made, Configuration(name="not reranked", ranking=ranking, rerank=False)] if reranks else made


def read_configurations(path: Path, ranking: Ranking) -> list[Configuration]:
    """Those of a YAML or TOML file: `configurations`, each with a name, and any of mode, rerank and what `Ranking` has.

    What one does not say is as in `ranking`. Raises `Failed` naming what cannot be used.
    """
    try:
        content = path.read_text(encoding="utf-8")
        read = tomllib.loads(content) if path.suffix == ".toml" else yaml.safe_load(content)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError):
        raise Failed(f"{path} cannot be read as {'TOML' if path.suffix == '.toml' else 'YAML'}.") from None
    listed = read.get("configurations") if isinstance(read, dict) else None
    if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
        raise Failed(f"{path} has `configurations`, a list, and in each a name and what is different.")
    made = [_configuration(path, each, ranking) for each in listed]
    if len({each.name for each in made}) < len(made):
        raise Failed(f"{path}: two configurations have one name.")
    return made


def _configuration(path: Path, stated: Mapping[str, Any], ranking: Ranking) -> Configuration:
    own = {name: stated[name] for name in stated if name in ("name", "mode", "rerank")}
    of_ranking = {name: stated[name] for name in stated if name not in own}
    known = [each.name for each in fields(Ranking)]
    if strange := sorted(set(of_ranking) - set(known)):
        raise Failed(f"{path}: {strange[0]} cannot be chosen. There are: name, mode, rerank, {', '.join(known)}.")
    try:
        ranked = RankingSettings.model_validate({**asdict(ranking), **of_ranking}).domain()
        return TypeAdapter(Configuration).validate_python({**own, "ranking": ranked})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise Failed(f"{path}: {stated.get('name', 'a configuration')}: {name}: {first['msg']}.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A document that a question is to be answered from."""

    uri: str
    version: int
    says: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenQuestion:
    """A question with what must come of it, asked as somebody, perhaps through an assistant."""

    id: str
    question: str
    who: str
    through: str | None
    purpose: str | None
    as_of: Instant | None
    finds: tuple[Wanted, ...]
    slice: str
    unanswerable: bool

    def judged(self, cited: Sequence[tuple[str, int]]) -> tuple[dict[str, float], bool]:
        """The measures of an answer that cites these versions, none if nothing answers it; and whether an expected
        document is cited by a version that is not the expected one."""
        wanted = {(each.uri, each.version) for each in self.finds}
        uris = {uri for uri, _ in wanted}
        wrong = any(uri in uris and (uri, version) not in wanted for uri, version in cited)
        if self.unanswerable or not self.finds:
            return {}, wrong
        found = list(dict.fromkeys(f"{uri} {version}" for uri, version in cited))
        return measured(found, {f"{uri} {version}": 1.0 for uri, version in wanted}), wrong


_FINDS: Final = TypeAdapter(tuple[Wanted, ...])
_LONGEST: Final = 4_000
"""Of a question, in characters: as the API takes it."""
_PRINCIPAL: Final = re.compile(r"(user|assistant):[A-Za-z0-9][A-Za-z0-9._@+-]*")


def read_golden(path: Path) -> list[GoldenQuestion]:
    """The questions of a file as in fixtures/golden; raises `Failed` naming the first that is not of that form."""
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise Failed(f"{path} cannot be read as YAML in UTF-8.") from None
    if not isinstance(listed, list):
        raise Failed(f"{path} is a list of questions.")
    made = [_golden(path, number, each) for number, each in enumerate(listed, start=1)]
    if len({each.id for each in made}) < len(made):
        raise Failed(f"{path}: two questions have one id.")
    return made


def _golden(path: Path, number: int, stated: Any) -> GoldenQuestion:
    try:
        as_of, question = stated.get("as_of"), str(stated["question"])
        if not _storable(question):
            raise Invalid(f"it holds {_NO_TEXT}")
        if not 1 <= len(question) <= _LONGEST:
            raise Invalid(f"question has 1 to {_LONGEST:,} characters")
        for name in ("who", "through"):
            if stated.get(name) is not None and not _PRINCIPAL.fullmatch(str(stated[name])):
                raise Invalid(f"{name} is written as in user:ana or assistant:hr-bot")
        return GoldenQuestion(
            id=str(stated["id"]),
            question=question,
            who=str(stated["who"]),
            through=stated.get("through"),
            purpose=stated.get("purpose"),
            as_of=parse_instant(str(as_of)) if as_of else None,
            finds=_FINDS.validate_python(stated.get("finds") or ()),
            slice=stated.get("slice", ACCESS),
            unanswerable=bool(stated.get("unanswerable", False)),
        )
    except KeyError as error:
        why = f"{error.args[0]} is wanted"
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = f"{'.'.join(map(str, ('finds', *first['loc'])))}: {first['msg']}"
    except Invalid as error:
        why = error.detail.rstrip(".")
    except (TypeError, AttributeError):
        why = "it has no names with values"
    raise Failed(f"{path}: question {number} is not of that form ({why}). See fixtures/golden.")


def chosen(configurations: Sequence[Configuration], names: Sequence[str]) -> list[Configuration]:
    """Those of these names, in that order; all, if none is named. Raises `Failed` for a name that there is not."""
    by_name = {each.name: each for each in configurations}
    if unknown := [name for name in names if name not in by_name]:
        raise Failed(f"There is no configuration {unknown[0]!r}. There are: {', '.join(by_name)}.")
    return [by_name[name] for name in names] or list(configurations)
