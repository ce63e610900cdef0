"""Errors a user can mend."""


class EvergreenError(Exception):
    """Base of the errors that Evergreen raises on purpose. Its text is shown without a traceback."""

    exit_code = 1


class BadInputError(EvergreenError):
    """The input, a parameter or the surroundings are not as expected. The text says what was found and what to do."""

    exit_code = 2


class StoppedError(EvergreenError):
    """A run was stopped by a check of its own, e.g. too many bad rows. The text says which and what to do."""

    exit_code = 2
