"""Writes TensorBoard event files, event by event.

mxboard makes the summaries and the checksums. Its SummaryWriter is not used: it keeps every scalar in memory, writes
from a thread that a full disk ends in silence (the run then hangs at its next event), and cannot say how far its file
is.
"""
from __future__ import annotations

import re
import socket
import struct
import time
from pathlib import Path

import numpy as np

from common.deferred_imports import deferred_imports
from training.saving.append_only import AppendOnlyFile
from training.saving.names import EVENT_MARK, EVENTS

with deferred_imports():
    from mxboard.proto import event_pb2
    from mxboard.record_writer import masked_crc32c
    from mxboard.summary import histogram_summary, image_summary, scalar_summary


class EventFile:
    """A new event file in a folder, named so that it sorts after the existing ones.

    first_step: where a resumed run continues; TensorBoard, which may have shown later steps already, then drops those.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        there = [path.name.split(".")[3] for path in folder.glob(EVENTS)]
        stamps = [int(part) for part in there if re.fullmatch(r"\d{1,11}", part, re.ASCII)]
        stamp = max([int(time.time()), *(stamp + 1 for stamp in stamps)])
        host = re.sub(r"[^\w.-]", "_", socket.gethostname(), flags=re.ASCII)[:100] or "host"
        self._file = AppendOnlyFile(folder / f"events.out.tfevents.{stamp:010d}.{host}{EVENT_MARK}", new=True)
        self._add(event_pb2.Event(file_version="brain.Event:2"))
        if first_step:
            self._add(event_pb2.Event(step=first_step, session_log=event_pb2.SessionLog(
                status=event_pb2.SessionLog.START)))

    def check(self) -> None:
        """OSError where the file was removed or changed by something else."""
        self._file.check()

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A point of the curve `tag`."""
        self._add(event_pb2.Event(step=step, summary=scalar_summary(_clean(tag), float(value))))

    def histogram(self, tag: str, values: np.ndarray, step: int, bins: int = 64) -> None:
        """The distribution of `values`, of any shape."""
        self._add(event_pb2.Event(step=step, summary=histogram_summary(_clean(tag), values, bins)))

    def image(self, tag: str, image: np.ndarray, step: int) -> None:
        """An image, (3, H, W) uint8."""
        self._add(event_pb2.Event(step=step, summary=image_summary(_clean(tag), image)))

    def length(self) -> int:
        """The file's length; OSError as by `check`."""
        return self._file.length()

    def flush(self) -> None:
        """Flush to the disk what was added before; another thread may add meanwhile."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, event: event_pb2.Event) -> None:
        event.wall_time = time.time()
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        self._file.append(length + struct.pack("<I", masked_crc32c(length)) + content
                          + struct.pack("<I", masked_crc32c(content)))


def _clean(tag: str) -> str:
    """A tag as mxboard would normalise it, without its notice on the screen: letters, digits and -_./ are kept."""
    return re.sub(r"[^-/\w.]", "_", tag).encode("utf-8", "replace").decode("utf-8")
