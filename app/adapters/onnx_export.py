"""The packaged weights as an ONNX graph: made once, in a process of its own, and kept whole or not at all.

python -m app.adapters.onnx_export KIND MODEL_FOLDER INTO_FOLDER
python -m app.adapters.onnx_export installed      the packaged embedding model's, beside the installed packages

torch is needed to write the graph, and not to run it: the process that writes it ends.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from app.adapters.model_files import (
    Quantization,
    file_digest,
    model_folder,
    onnx_file,
    stay_offline,
    weights_digest,
)
from app.domain.errors import Unavailable

if TYPE_CHECKING:
    import torch

Kind = Literal["embedder", "reranker"]

_GRAPH, _NOTE = "model.onnx", "made.json"
_FORMAT: Final = "2"
"""Of what is made: another is made anew."""

_INSTALLED: Final = Path(sys.prefix) / "share" / "muniment" / "models"
"""What `make install` has made, for every data folder."""

_OPSET: Final = 17
_EXAMPLES: Final = ("May we share this with a partner?", "No.")
_NEAR: Final = 1e-4
"""How far numbers of the graph may be from torch's, of the largest of them. Measured: 3e-6 for all-MiniLM-L6-v2."""

_BLOCK: Final = 16
"""Channels that ONNX Runtime keeps together where it lays out a convolution's weights itself: 8 or 16."""

_PATIENCE_S: Final = 600


def graph_of(folder: Path, *, kind: Kind, made: Path, quantization: Quantization = "none") -> Path | None:
    """The ONNX file of a model's folder: its own, or the one made of its weights under `made`, now if need be.

    None if torch cannot write this model as a graph that says the same: that is tried once, and noted. Raises
    `Unavailable` if it cannot be written now.
    """
    if not any(folder.glob("*.safetensors")) and (own := onnx_file(folder)):
        return own
    key = _key(folder, kind, quantization)
    if made != _INSTALLED and _whole(_INSTALLED / key):
        return _INSTALLED / key / _GRAPH
    kept = made / key
    with _alone(made):
        if not (kept / _NOTE).is_file():
            _make(folder, kept, kind, quantization)
        if (note := json.loads((kept / _NOTE).read_text()))["refusal"] is not None:
            return None
        if file_digest(kept / _GRAPH) != note["digest"]:
            _make(folder, kept, kind, quantization)
    return kept / _GRAPH


def _whole(kept: Path) -> bool:
    """Whether a graph is there, and is what was made."""
    try:
        return bool(file_digest(kept / _GRAPH) == json.loads((kept / _NOTE).read_text())["digest"])
    except (OSError, ValueError):
        return False


def is_made(model: str | None, kind: Kind, *, made: Path, quantization: Quantization = "none") -> bool:
    """Whether `graph_of` would write nothing. Raises `Unavailable` if the model is not there."""
    folder = model_folder(model)
    if not any(folder.glob("*.safetensors")) and onnx_file(folder):
        return True
    key = _key(folder, kind, quantization)
    return any((place / key / _NOTE).is_file() for place in (made, _INSTALLED))


def _key(folder: Path, kind: Kind, quantization: Quantization) -> str:
    """Names all that the graph is made of. What is made of its numbers afterwards is not in it."""
    read = (folder / name for name in ("config.json", "tokenizer_config.json"))
    settings = [file_digest(path) if path.is_file() else "" for path in read]
    parts = (_FORMAT, kind, quantization, weights_digest(folder), *settings, version("torch"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _make(folder: Path, kept: Path, kind: Kind, quantization: Quantization) -> None:
    """In a process of its own, beside where it is kept, and moved there when it is whole."""
    shutil.rmtree(kept, ignore_errors=True)
    for left in kept.parent.glob("making-*"):
        shutil.rmtree(left)
    making = Path(tempfile.mkdtemp(prefix="making-", dir=kept.parent))
    command = [sys.executable, "-m", "app.adapters.onnx_export", kind, str(folder), str(making)]
    try:
        ended = subprocess.run(
            [*command, "--quantization", quantization], capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"No ONNX graph of {folder} could be made: {type(error).__name__}.") from error
    if ended.returncode or not (making / _NOTE).is_file():
        said = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it was ended"]
        raise Unavailable(f"No ONNX graph of {folder} could be made: {said[0].rstrip('.')}.")
    making.rename(kept)
    _flush(kept.parent)


@contextmanager
def _alone(made: Path) -> Iterator[None]:
    """One process at a time; another waits until the graph is there."""
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (made / "lock").open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    if (sys.argv[1:] if arguments is None else list(arguments)) == ["installed"]:
        return _install()
    options = argparse.ArgumentParser(prog="app.adapters.onnx_export", description="A model's weights as a graph.")
    options.add_argument("kind", choices=("embedder", "reranker"))
    options.add_argument("folder", type=Path)
    options.add_argument("into", type=Path)
    options.add_argument("--quantization", choices=("none", "int8"), default="none")
    chosen = options.parse_args(arguments)
    stay_offline()
    warnings.simplefilter("ignore")
    file = chosen.into / _GRAPH
    refusal = _written(chosen.kind, chosen.folder, file, convolved=chosen.quantization == "none")
    if refusal is None and chosen.quantization == "int8":
        _quantize(file)
    if refusal is None:
        _flush(file)
    note = {"digest": None if refusal else file_digest(file), "refusal": refusal}
    (chosen.into / _NOTE).write_text(json.dumps(note))
    _flush(chosen.into / _NOTE)
    _flush(chosen.into)
    return 0


def _install() -> int:
    try:
        graph = graph_of(model_folder(None), kind="embedder", made=_INSTALLED)
    except Unavailable as error:
        print(error.detail, file=sys.stderr)
        return 1
    if graph is None:
        print("ONNX Runtime does not run the packaged model here, so torch will: slower.", file=sys.stderr)
        return 1
    for folder in (_INSTALLED, graph.parent):
        folder.chmod(0o755)  # whoever may run the program may read it
    return 0


def _written(kind: Kind, folder: Path, file: Path, *, convolved: bool) -> str | None:
    """Write the graph, and hold it against torch; why it cannot be used, if it cannot.

    `convolved`: its layers as convolutions, which give the same and are sooner run.
    """
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    loader: Any = AutoModel if kind == "embedder" else AutoModelForSequenceClassification
    model = loader.from_pretrained(
        str(folder), local_files_only=True, attn_implementation="eager", dtype=torch.float32
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    names = [name for name in tokenizer.model_input_names if name in ("input_ids", "attention_mask", "token_type_ids")]
    model.config.use_cache = False

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            return self.model(**dict(zip(names, given, strict=True)))[0]  # type: ignore[no-any-return]

    graph = Graph().eval()

    def features(texts: Sequence[str]) -> tuple[torch.Tensor, ...]:
        made = tokenizer(list(texts), padding=True, return_tensors="pt")
        return tuple(made[name] for name in names)

    texts = [*_EXAMPLES, "A longer text, of another length than any that the graph was written with. " * 2]
    given = [features(some) for some in (texts[:1], texts[2:], texts)]
    axes = {name: {0: "texts", 1: "tokens"} for name in names}
    axes["output"] = {0: "texts", 1: "tokens"} if kind == "embedder" else {0: "texts"}
    try:
        with torch.no_grad():
            expected = [graph(*some).numpy() for some in given]
            if convolved:
                _convolve(model)
            torch.onnx.export(
                graph,
                features(_EXAMPLES),
                str(file),
                input_names=names,
                output_names=["output"],
                dynamic_axes=axes,
                opset_version=_OPSET,
                dynamo=False,
            )
    except (RuntimeError, TypeError, ValueError, KeyError, NotImplementedError, torch.onnx.OnnxExporterError) as error:
        file.unlink(missing_ok=True)
        return f"torch cannot write this architecture as a graph: {type(error).__name__}"
    for some, numbers in zip(given, expected, strict=True):
        if not _same(file, dict(zip(names, some, strict=True)), numbers):
            file.unlink()
            return "the graph's numbers are not torch's"
    return None


def _convolve(model: "torch.nn.Module") -> None:
    """Have each linear layer written as the convolution, of single tokens, that it is.

    ONNX Runtime's convolution waits less than its matrix product for weights to come from memory.
    """
    import torch

    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.in_features % _BLOCK == layer.out_features % _BLOCK == 0:
            layer.forward = partial(_convolution, layer)  # type: ignore[method-assign]


def _convolution(layer: "torch.nn.Linear", given: "torch.Tensor") -> "torch.Tensor":
    """What the layer makes of (texts, tokens, features): features become an image's channels, texts its lines."""
    import torch

    if given.dim() != 3:
        return torch.nn.functional.linear(given, layer.weight, layer.bias)
    image = given.unsqueeze(0).permute(0, 3, 1, 2)
    return torch.nn.functional.conv2d(image, layer.weight[:, :, None, None], layer.bias).permute(0, 2, 3, 1).squeeze(0)


def _same(file: Path, given: dict[str, Any], expected: Any) -> bool:
    """Whether the graph gives what torch does, where there are tokens."""
    import numpy as np
    from onnxruntime import InferenceSession, SessionOptions  # type: ignore[import-untyped]

    options = SessionOptions()
    options.log_severity_level = 4
    session = InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    output: Any = session.run(None, {name: each.numpy() for name, each in given.items()})[0]
    if expected.ndim == 3:
        there = given["attention_mask"].numpy().astype(bool)
        output, expected = output[there], expected[there]
    return bool(np.abs(output - expected).max() <= _NEAR * max(1.0, float(np.abs(expected).max())))


def _quantize(file: Path) -> None:
    """The weights of matrices in 8 bits, 32 of them with a scale of their own; everything else as it was."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer  # type: ignore[import-untyped]

    quantizer = MatMulNBitsQuantizer(onnx.load(str(file)), bits=8, block_size=32, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    quantizer.model.save_model_to_file(str(file))


def _flush(path: Path) -> None:
    """Durable from here on: a file's content, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
