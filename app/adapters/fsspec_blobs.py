"""Originals by digest, in a folder or in any object store that fsspec reaches."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import fsspec  # type: ignore[import-untyped]

from app.domain.corpus import Digest, digest_of
from app.domain.errors import Damaged, Invalid, NotFound, Unavailable


class FsspecBlobs:
    """The `BlobStore` port. `url` is an fsspec URL of a folder (file://..., s3://...); raises `Invalid` for others."""

    def __init__(self, url: str) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            scheme = url.partition("://")[0]
            raise Invalid(
                f"MUNIMENT_BLOBS_URL names a store, {scheme}, that is not known or not installed here. Use file://, or "
                "install the fsspec package for it."
            ) from error
        self._local = "file" in self._files.protocol or "local" in self._files.protocol

    def put(self, content: bytes) -> Digest:
        digest = digest_of(content)
        path = self._path(digest)
        try:
            if self._files.exists(path):
                return digest
            if self._local:
                _write_durably(Path(path), content)
            else:
                self._files.pipe_file(path, content)
        except OSError as error:
            raise Unavailable("The original could not be stored. Try again in a moment.") from error
        return digest

    def get(self, digest: Digest) -> bytes:
        try:
            content = bytes(self._files.cat_file(self._path(digest)))
        except FileNotFoundError as error:
            raise NotFound("The original is no longer kept.") from error
        except OSError as error:
            raise Unavailable("The original could not be read. Try again in a moment.") from error
        if digest_of(content) != digest:
            raise Damaged("The stored original is not what was submitted, so it is not given out. Tell its owner.")
        return content

    def remove(self, digest: Digest) -> bool:
        path = self._path(digest)
        try:
            there = bool(self._files.exists(path))
            if there:
                self._files.rm_file(path)
            if self._local:
                _remove_leftovers(Path(path))
        except OSError as error:
            raise Unavailable("The original could not be removed. Try again in a moment.") from error
        return there

    def _path(self, digest: Digest) -> str:
        name = digest.removeprefix("sha256:")
        return f"{self._root}/{name[:2]}/{name}"


def _write_durably(path: Path, content: bytes) -> None:
    """The whole file is there after a crash, or none of it: written aside, flushed, renamed, and the folder flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=_incoming(path), delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    for folder in (path.parent, path.parent.parent):
        _flush(folder)


def _remove_leftovers(path: Path) -> None:
    """What writers that were killed left of this file, whole or in part."""
    if path.parent.is_dir():
        for leftover in path.parent.glob(f"{_incoming(path)}*"):
            leftover.unlink(missing_ok=True)
        _flush(path.parent)


def _incoming(path: Path) -> str:
    """How the name of a file that is not whole yet begins."""
    return f".incoming-{path.name}-"


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
