"""Values that are not there yet: promises, streams of pieces, and the context that owns their work.

This package knows nothing of agents or models; `promising.promising` has its public names.
"""
