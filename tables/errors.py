"""The one error of the lake."""


class TableError(ValueError):
    """A table or the lake cannot be used as asked. The message is one sentence: what, where, what to do."""
