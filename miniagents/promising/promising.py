"""Values that are not there yet: the public names of this package in one place.

`PromisingContext` owns the background work, `Promise` is a value, `StreamedPromise` one that comes in pieces, and
`StreamAppender` writes pieces from outside.
"""

from miniagents.promising.appender import StreamAppender
from miniagents.promising.context import PromisingContext
from miniagents.promising.promise import Promise
from miniagents.promising.streamed import StreamedPromise

__all__ = ["Promise", "PromisingContext", "StreamAppender", "StreamedPromise"]
