"""The errors of a build; after a `QuantizationError` an archive can still be built in float."""


class BuildError(Exception):
    """An archive cannot be built; the text says why, and what to do."""


class QuantizationError(BuildError):
    """The run has too few photos for int8, or the accuracy gate refuses it."""
