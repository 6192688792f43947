"""Old Office formats and rich text, turned into new ones by LibreOffice where that is installed, and read as these."""

from pathlib import Path
from typing import Final

from app.domain.errors import Unparseable, UnsupportedMedia
from ingest import programs
from ingest.gate import MediaType, admitted

_INTO: Final = {
    MediaType.DOC: (".doc", "docx", MediaType.DOCX),
    MediaType.RTF: (".rtf", "docx", MediaType.DOCX),
    MediaType.PPT: (".ppt", "pptx", MediaType.PPTX),
}
_CALLED: Final = {
    MediaType.DOC: "an old Word document (DOC)",
    MediaType.RTF: "a rich text file (RTF)",
    MediaType.PPT: "an old presentation (PPT)",
}
CONVERTED: Final = frozenset(_INTO)


def converted(content: bytes, media_type: MediaType) -> tuple[bytes, MediaType]:
    """The document in the new format, which the gate has let pass too.

    Raises `UnsupportedMedia` where LibreOffice is not installed, and `Unparseable` where it can make nothing of it.
    """
    suffix, wanted, becomes = _INTO[media_type]
    office = programs.installed(programs.LIBREOFFICE)
    if office is None:
        raise UnsupportedMedia(
            f"It is {_CALLED[media_type]}, which is read through LibreOffice, and that is not installed here. "
            f"Install it (Debian: libreoffice-writer-nogui, libreoffice-impress-nogui), or save it as {wanted.upper()}."
        )
    here = Path.cwd()
    given = here / f"given{suffix}"
    given.write_bytes(content)
    own = (f"-env:UserInstallation={(here / 'profile').as_uri()}",)
    options = ("--headless", "--norestore", "--nologo", "--nodefault", "--nolockcheck", "--convert-to", wanted)
    done = programs.run(office, [*own, *options, "--outdir", here / "out", given], what="LibreOffice")
    made = here / "out" / f"given.{wanted}"
    if not done or not made.exists():
        raise Unparseable(
            f"LibreOffice could not read the document: it may be damaged or protected. Save it as {wanted.upper()}."
        )
    result = made.read_bytes()
    return result, admitted(result, declared=becomes, filename=made.name)
