"""Everything that can go wrong, as the product tells it.

    MunimentError
    |-- Unauthenticated       nobody is known by that key or token                          401
    |-- NotPermitted          a rule forbids it, and its existence is no secret             403
    |-- NotFound              absent or hidden: the two look the same                       404
    |-- Conflict              it is in a state that does not allow this                     409
    |-- TooLarge              over a size that the gate sets                                413
    |-- UnsupportedMedia      not a format that is read here                                415
    |-- RateLimited           more than is taken at once: go on in a while                  429
    |-- Invalid               the request is not of the contract's form                     422
    |   `-- Unparseable       a document that its parser cannot read                        422
    |       |-- NeedsOcr      its text is in pictures alone                                 422
    |       `-- NoText        there is nothing in it to be found                            422
    `-- Unavailable           a part is down or starting: try again                         503
        |-- Damaged           what is stored is not what was put there
        |-- IndexUnavailable
        |-- ModelChanged      an index was made with another model than what is there
        `-- DatabaseUnavailable

Numbers are for the reader: only `app/api/problems.py` maps kinds to HTTP. A message is one or two sentences that
help, and never holds a secret, other people's data or a third party's exception text.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One mistake in a request: what is wrong, and a JSON pointer to where."""

    detail: str
    pointer: str


class MunimentError(Exception):
    """The root. `detail` is the sentence for whoever asked."""

    kind = "internal"
    title = "Something failed on our side"

    def __init__(self, detail: str, *, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class Unauthenticated(MunimentError):
    kind = "unauthenticated"
    title = "Not authenticated"


class NotPermitted(MunimentError):
    kind = "not-permitted"
    title = "Not permitted"


class NotFound(MunimentError):
    kind = "not-found"
    title = "Not found"


class Conflict(MunimentError):
    kind = "conflict"
    title = "Conflict"


class TooLarge(MunimentError):
    kind = "too-large"
    title = "Too large"


class UnsupportedMedia(MunimentError):
    kind = "unsupported-media-type"
    title = "Unsupported format"


class RateLimited(MunimentError):
    kind = "rate-limited"
    title = "Too much at once"


class Invalid(MunimentError):
    kind = "invalid"
    title = "Invalid request"


class Unparseable(Invalid):
    kind = "unparseable-document"
    title = "Document cannot be read"


class NeedsOcr(Unparseable):
    kind = "needs-ocr"
    title = "Document must be read off its pictures"


class NoText(Unparseable):
    kind = "no-text"
    title = "Document holds no text"


class Unavailable(MunimentError):
    kind = "unavailable"
    title = "Temporarily unavailable"


class Damaged(Unavailable):
    """What is stored no longer has its digest: it is not given out, and trying again does not help."""


class IndexUnavailable(Unavailable):
    pass


class ModelChanged(Unavailable):
    pass


class DatabaseUnavailable(Unavailable):
    pass
