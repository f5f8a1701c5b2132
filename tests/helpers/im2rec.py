"""MXNet's own im2rec.py, as a command would run it, in this process: `import mxnet` is most of its time."""
from __future__ import annotations

import random
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

import mxnet as mx

IM2REC = Path(mx.__file__).parent / "tools" / "im2rec.py"


def im2rec(*argv):
    state = random.getstate()
    with patch.object(sys, "argv", [str(IM2REC), *map(str, argv)]), patch.object(sys, "path", sys.path[:]):
        names = runpy.run_path(str(IM2REC), run_name="__main__")
    for value in names.values():
        if isinstance(value, mx.recordio.MXRecordIO):
            value.close()  # as the end of its process does
    random.setstate(state)
