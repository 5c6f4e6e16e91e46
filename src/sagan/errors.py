"""Errors meant for the person at the keyboard."""


class SaganError(ValueError):
    """A fault of the input, told in one line that names the cause and the remedy.

    The command prints the message without a traceback and exits with code 2.
    """
