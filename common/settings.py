"""Library code names its own settings, in backquotes, as `lr_steps`; a command shows them as its user types them.

So a message suits a notebook too, and library code does not know the flags.

    >>> as_flags("`lr_steps` 5,3: must rise", {"lr_steps"})
    '--lr-steps 5,3: must rise'
"""
from __future__ import annotations

import contextlib
import logging
import re
from typing import Any, Collection, Iterator

from common.errors import RunError, UserError

SETTING = re.compile(r"`([a-z][a-z0-9_]*)`")


def as_flags(text: str, names: Collection[str]) -> str:
    """`text` with those settings in backquotes that are among `names` as flags."""
    return SETTING.sub(lambda found: flag_name(found[1]) if found[1] in names else found[0], text)


def flag_name(name: str) -> str:
    """`lr_steps` as it is typed: `--lr-steps`."""
    return "--" + name.replace("_", "-")


@contextlib.contextmanager
def settings_as_flags(names: Collection[str]) -> Iterator[None]:
    """Inside the block the errors that end a command, and all lines of the log, name flags."""
    make = logging.getLogRecordFactory()

    def make_record(*arguments: Any, **more: Any) -> logging.LogRecord:
        record = make(*arguments, **more)
        message = record.getMessage()
        if "`" in message:
            record.msg, record.args = as_flags(message, names), ()
        return record
    logging.setLogRecordFactory(make_record)
    try:
        yield
    except (UserError, RunError) as error:
        error.args = (as_flags(str(error), names),)
        raise
    finally:
        logging.setLogRecordFactory(make)
