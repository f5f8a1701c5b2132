"""What tests of several files use of synth."""
from __future__ import annotations

from pathlib import Path


def contents(folder):
    """Every file's bytes by its path below the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*"))
            if path.is_file()}
