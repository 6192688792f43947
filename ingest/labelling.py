"""The label step: from what an owner states with a document to the boundary of its version. Pure.

What an owner states is all there is to go by yet; what is found in the text is to raise it here.
"""

from app.domain.corpus import stated_boundary as labelled

__all__ = ["labelled"]
