"""Where this repository is, and the real data beside it."""
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SHARED = REPO.parent / "shared"
REFERENCE = REPO / "tests" / "reference"
