"""Errors that end a command with one line on the screen and a documented exit status."""


class UserError(Exception):
    """Unusable arguments or data, found before any work is done: exit status 2.

    The message is one line that names the file or the flag, and the way out.
    """

    exit_status = 2


class RunError(Exception):
    """A failure of work that had begun: exit status 1."""

    exit_status = 1
