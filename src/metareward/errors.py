"""The one exception that stands for a mistake of the user's."""


class UserError(Exception):
    """A mistake in params, data or model folder: one line that says what, why and what to do.

    Stages and the CLI print it without a traceback and exit with code 2.
    """
