"""What the readers raise."""
from __future__ import annotations

from common.errors import UserError


class DataError(UserError):
    """Unusable data; the message names the file and, for a record, its key and the byte where it begins."""
