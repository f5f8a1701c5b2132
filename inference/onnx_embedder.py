"""Images to embeddings by onnxruntime: as `Embedder`, but of an ONNX file, on CPUs."""
from __future__ import annotations

import concurrent.futures
import re
from typing import Any, Iterable, Iterator, List, Tuple

import numpy as np

from common.environment import threads
from common.errors import RunError, UserError
from common.files import PathLike
from inference.onnx_file import OnnxModel, parse_onnx, read_onnx

RUNTIME_PLACE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |\S*/onnxruntime_src/\S+ .*?\) ")
TILE = 8  # images per thread and forward pass: the maps of many more do not fit in its core's cache
# A batch's pending results: for each tile and view the embeddings to come, and how many of them are valid.
Started = List[Tuple[List["concurrent.futures.Future[np.ndarray]"], int]]


class OnnxEmbedder:
    """A network in an ONNX file, ready for inference on this machine's cores.

    model: its path, its bytes, or what `read_onnx` made of it. batch_size: images a step. image_size: (H, W), needed
    only where the file has a dynamic size. UserError where onnxruntime does not run the network on images of this size.

    Each core computes different images, as `Embedder`'s streams do: faster than all cores on the same ones.
    """

    def __init__(self, model: PathLike | bytes | OnnxModel, batch_size: int = 64,
                 image_size: tuple[int, int] | None = None) -> None:
        self.model = model if isinstance(model, OnnxModel) else (
            parse_onnx(model) if isinstance(model, bytes) else read_onnx(model))
        own = self.model.image_size
        if image_size is not None and own is not None and tuple(image_size) != own:
            raise UserError(f"{self.model.path}: takes images of {own[0]}x{own[1]}, not of "
                            f"{image_size[0]}x{image_size[1]}")
        size = image_size or own
        if size is None:
            raise UserError(f"{self.model.path}: has a dynamic image size; give one, as 112,112")
        self.image_size = (int(size[0]), int(size[1]))
        self.batch_size = max(int(batch_size), 1)
        self._lanes = max(threads(), 1)
        self._tile = self.model.batch or min(TILE, -(-self.batch_size // self._lanes))
        self._session = _open(self.model)
        try:
            self.dimension = self._compute(np.zeros((1, *self.image_size, 3), np.uint8)).shape[1]
        except RunError as error:
            raise UserError(str(error)) from None

    def embed(self, batches: Iterable[np.ndarray], flip: bool = False) -> Iterator[np.ndarray]:
        """Yield the float32 embeddings, (1, n, D), of each batch, (n, H, W, 3) uint8 RGB with n up to `batch_size`.

        With flip (2, n, D): those of the images and those of their mirror images. While one batch is computed,
        `batches` prepares the next.
        """
        with concurrent.futures.ThreadPoolExecutor(self._lanes) as pool:
            started = None
            try:
                for batch in batches:
                    following = self._start(pool, batch, flip)
                    if started is not None:
                        yield _finish(started)
                    started = following
                if started is not None:
                    yield _finish(started)
            finally:
                for futures, _ in started or []:
                    for future in futures:
                        future.cancel()

    def _start(self, pool: concurrent.futures.Executor, batch: np.ndarray, flip: bool) -> Started:
        if batch.dtype != np.uint8 or batch.shape[1:] != (*self.image_size, 3) or len(batch) > self.batch_size:
            raise ValueError(f"a batch is up to {self.batch_size} images of {self.image_size} in uint8, "
                             f"not {batch.shape} in {batch.dtype}")
        views = [batch, batch[:, :, ::-1]] if flip else [batch]
        return [([pool.submit(self._compute, view[first:first + self._tile]) for view in views],
                 min(self._tile, len(batch) - first)) for first in range(0, len(batch), self._tile)]

    def _compute(self, images: np.ndarray) -> np.ndarray:
        """(n, D) of up to a tile's images, padded with black ones where the file has a fixed batch size."""
        model, count = self.model, len(images)
        if model.batch and count < model.batch:
            images = np.concatenate([images, np.zeros((model.batch - count, *images.shape[1:]), np.uint8)])
        data = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
        if (model.mean, model.scale) != (0.0, 1.0):
            data = (data - np.float32(model.mean)) * np.float32(model.scale)
        alone = "; `batch_size` 1 gives it one at a time" if len(images) > 1 and not model.batch else ""
        try:
            out = self._session.run([model.output], {model.input: data})[0]
        except Exception as error:  # of classes that onnxruntime does not export
            raise RunError(f"{model.path}: onnxruntime does not compute it for {len(images)} images of "
                           f"{self.image_size[0]}x{self.image_size[1]} ({_one_line(error)}){alone}") from None
        if getattr(out, "dtype", np.dtype(object)).kind != "f":  # or a list, of an output that is no tensor
            raise RunError(f"{model.path}: its output {model.output} is not floating-point numbers, as embeddings are")
        if out.shape[:1] != (len(images),):
            raise RunError(f"{model.path}: its output {model.output} is of shape {out.shape} for {len(images)} images"
                           + alone)
        return np.asarray(out, np.float32).reshape(len(out), -1)[:count]


def _open(model: OnnxModel) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # this module has its own threads
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes that onnxruntime does not export
        raise UserError(f"{model.path}: onnxruntime does not load it ({_one_line(error)})") from None


def _finish(started: Started) -> np.ndarray:
    parts = [np.stack([future.result()[:count] for future in futures]) for futures, count in started]
    return np.concatenate(parts, axis=1)


def _one_line(error: Exception) -> str:
    """Its reason, without the place in onnxruntime's source; of a long one the beginning, and the end, where it is."""
    text = RUNTIME_PLACE.sub("", " ".join(str(error).split()))
    return text if len(text) <= 240 else f"{text[:80]} ... {text[-150:]}"
