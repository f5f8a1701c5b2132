"""Collects a checkpoint's model card: files, network, training, scores, use, limits."""
from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any, Iterable, Sequence

import mxnet as mx

from common.errors import UserError
from common.files import read_regular
from common.foreign import shown
from common.run_files import METRICS
from deploy.run_folder import command_of, numbers, resolved, run_config, size_of_run, step_of, verifications
from eval.models import checkpoint_digest
from inference.embedder import check_parameters
from inference.model import load_model
from symbols.count import flops_and_params
from symbols.graph import to_json

SIZE = (112, 112)
EVERY = 2  # --ckpt: each verification is saved
FIRST = 3  # operators that form a normalisation
LAYERS = ("Convolution", "Convolution_v1", "FullyConnected")
LARGEST = 1 << 28  # bytes of a JSON file with scores
NETWORK = ("network", "version_output", "emb_size", "version_input", "version_unit", "version_se", "version_act")
TRAINING = ("preset", "loss_type", "margin_s", "margin_m", "margin_a", "margin_b", "lr", "lr_mode", "wd", "mom",
            "dtype", "seed", "rand_mirror", "cutoff", "color", "images_filter", "pretrained", "started", "git_commit")
COMBINED = 5
LOSSES = {0: "softmax", 2: "CosFace", 4: "ArcFace", COMBINED: "combined margin"}
CONVENTIONS = [
    "the embeddings of an image and its mirror image are summed, then L2-normalised; the score of a pair is the "
    "squared L2 distance",
    "accuracy: 10 consecutive folds, each at the threshold of the grid 0..4, step 0.01, that is best on the other "
    "nine; +- is the standard deviation over the folds",
    "TPR at an FPR: over all pairs at once, at the largest observed FPR that does not exceed the target, without "
    "interpolation; ~ marks one based on fewer than 10 false accepts, which is unreliable",
    "EER: where FPR and FNR cross; brackets are 95% intervals by percentile bootstrap"]
LIMITS = [
    "It measures how similar two faces are; it does not name anyone. A score is not a probability, and a threshold "
    "is valid for images, identities and alignment like those that it was chosen on: choose yours on your own pairs.",
    "Of N comparisons of different people, about FPR x N are accepted. Searching a large gallery needs an FPR far "
    "below that of one comparison, and a person who reviews the matches.",
    "Rates over a whole set hide groups with more errors: by age, gender, skin, pose, image quality. This card has no "
    "rates by group unless they are under scores; measure them (`eval allpairs --groups`) before use.",
    "Relatives and look-alikes are accepted more often than others. It does not detect photographs of photographs, "
    "masks or generated faces.",
    "It expects faces aligned by five landmarks to the template. Badly aligned, rotated, occluded, small or blurred "
    "faces reduce accuracy (`eval robustness` measures it)."]
CONSENT = [
    "Photographs of faces, and embeddings made from them, are personal data; used to identify people they are "
    "biometric data (in the EU GDPR, article 9; in Illinois BIPA; other places have laws of their own). Whoever uses "
    "this model needs a legal ground for each person in gallery and photographs, most often their consent.",
    "Embeddings are not anonymous: faces can be recognised, and roughly restored, from them. Keep them as you would "
    "keep the photographs, and delete both when a person asks.",
    "Not for mass surveillance, nor for decisions about people without a person who answers for them."]


def make_card(prefix: str, epoch: int, layer: str = "fc1", image_size: tuple[int, int] | None = None,
              scores: Sequence[str] = (), data: str = "", terms: str = "") -> dict[str, Any]:
    """The card of a checkpoint, for JSON.

    image_size: (H, W), by default what it was trained on, else 112x112. scores: files by `eval verify --json`; without
    any, the run's own verifications. data, terms: the user's text on the training data, and on consent and terms.
    UserError where the checkpoint or a file is invalid, or a file has no scores of this model.
    """
    symbol, arguments, auxiliary = load_model(prefix, epoch, layer)
    config, size = run_config(prefix), image_size or size_of_run(prefix) or SIZE
    try:
        dimension = check_parameters(symbol, arguments, auxiliary, (1, 3, *size))
    except UserError as error:
        raise UserError(f"`model` {prefix},{epoch}: {error}; set `image_size` H,W to its input size") from None
    multiply_adds, parameters = flops_and_params(symbol, (1, 3, *size))
    return {
        "model": f"{Path(prefix).name},{epoch}", "sha256": checkpoint_digest(prefix, epoch),
        "sha256_of": "the bytes of the symbol, then those of the parameters",
        "files": [_file(Path(name)) for name in (f"{prefix}-symbol.json", f"{prefix}-{epoch:04d}.params")],
        "network": {**_plain(config, NETWORK), "parameters": parameters,
                    "multiply_adds": multiply_adds},
        "training": _training(config, data), "scores": _scores(prefix, epoch, layer, config, scores),
        "conventions": CONVENTIONS,
        "input": {"name": "data", "shape": ["N", 3, *size], "type": "float32", "colour": "RGB", "range": [0, 255],
                  "normalisation": _normalisation(symbol), "alignment": "similarity transform of five landmarks to the "
                  "112x112 template of ArcFace (`recordio_tools align`)"},
        "output": {"name": symbol.list_outputs()[0], "shape": ["N", dimension], "type": "float32",
                   "normalised": _has_unit_length(symbol)},
        "limits": LIMITS, "consent": CONSENT, "terms": terms or None}


def _normalisation(symbol: mx.sym.Symbol) -> str:
    """Whether the network begins with a normalisation, before its first layer: third-party ones may not."""
    operators = [node["op"] for node in json.loads(to_json(symbol))["nodes"] if node["op"] != "null"]
    before = itertools.takewhile(lambda op: op not in LAYERS, operators[:FIRST])
    if set(before) & {"_minus_scalar", "_MinusScalar", "_sub", "_minus", "broadcast_sub", "elemwise_sub", "BatchNorm"}:
        return "inside the network"
    return "none found at the network's beginning; ask its author"


def _has_unit_length(symbol: mx.sym.Symbol) -> bool:
    """Whether the network ends by dividing each embedding by its length."""
    graph = json.loads(to_json(symbol))
    last = graph["nodes"][graph["heads"][0][0]]
    return last["op"] == "L2Normalization" and last.get("attrs", {}).get("mode", "instance") == "instance"


def _file(path: Path) -> dict[str, Any]:
    content = read_regular(path)
    return {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _training(config: dict[str, Any], data: str) -> dict[str, Any]:
    """How it was trained; unknown values are None."""
    found = _plain(resolved(config), ("images", "num_classes", "total_batch"))
    told = _plain(config, TRAINING)
    if "loss_type" in told:
        loss = told.pop("loss_type")
        for name in () if loss == COMBINED else ("margin_a", "margin_b"):
            told.pop(name, None)
        told["loss"] = LOSSES.get(loss, "unknown")
    versions = config.get("versions")
    devices = resolved(config).get("devices")
    devices = list(map(str, devices)) if isinstance(devices, list) else None
    return {"known": bool(config), "data": data or None, "data_dir": Path(str(config.get("data_dir", ""))).name or None,
            "images": found.get("images"), "identities": found.get("num_classes"),
            "total_batch": found.get("total_batch"), "devices": devices, "settings": told,
            "command": command_of(config) or None,
            "versions": _plain(versions, versions) if isinstance(versions, dict) else {}}


def _plain(content: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The values of some keys in untrusted JSON, where they are text or a number."""
    return {name: content[name] for name in names
            if isinstance(content.get(name), (str, int, float)) and content[name] != ""}


def _scores(prefix: str, epoch: int, layer: str, config: dict[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """source: where the numbers are from; step: of the run's verification; rows: by set."""
    if files:
        rows: dict[str, Any] = {}
        of_set: dict[str, str] = {}
        for file in files:
            found = _rows_of(file, f"{prefix},{epoch}", checkpoint_digest(prefix, epoch), layer)
            for name in found:
                if rows.get(name, found[name]) != found[name]:
                    raise UserError(f"`scores` {file}: has other scores of {shown(name)[:80]} than {of_set[name]}; "
                                    "leave one of the two out, or rename the set in one of them")
            rows.update(found)
            of_set.update(dict.fromkeys(found, file))
        best = [name for name, row in rows.items() if "best" in row]
        return {"source": [Path(file).name for file in files], "step": None, "of_this_checkpoint": True, "rows": rows,
                "chosen_on": best[0] if best else None}
    by_step = verifications(prefix)
    step = step_of(prefix, epoch)
    if step is None and config.get("ckpt") == EVERY and 0 < epoch <= len(by_step):
        step = sorted(by_step)[epoch - 1]
    known = step in by_step
    step = step if known else max(by_step, default=None)
    rows = {} if step is None else by_step[step]
    chosen = known and config.get("ckpt") in (1, 3) and rows
    return {"source": [METRICS] if rows else [], "step": step, "of_this_checkpoint": known, "rows": rows,
            "chosen_on": list(rows)[-1] if chosen else None}


def _rows_of(file: str, model: str, sha256: str, layer: str) -> dict[str, Any]:
    """The rows of exactly this model, by set; of one of that name, where rows have no sha256. UserError for another
    layer's."""
    try:
        content = json.loads(read_regular(file, LARGEST).decode("utf-8"))
        told = {str(name): rows for name, rows in content.items() if isinstance(rows, dict)}
    except FileNotFoundError:
        raise UserError(f"`scores` {file}: there is no such file") from None
    except (OSError, ValueError, RecursionError, AttributeError):
        raise UserError(f"`scores` {file}: is not JSON output of `eval verify --json`") from None
    found = {}
    for name, rows in told.items():
        for target, row in rows.items():
            if not isinstance(row, dict):
                continue
            own = row["model_sha256"] == sha256 if "model_sha256" in row else _same_name(name, model)
            if not own:
                continue
            if row.get("layer", layer) != layer:
                theirs = shown(row["layer"])[:60]
                raise UserError(f"`scores` {file}: holds scores of the layer {theirs}, not of {layer}; give `layer` "
                                f"{theirs}, or scores of this layer")
            flip = {"flip": row["flip"]} if isinstance(row.get("flip"), bool) else {}
            found[str(target)[:200]] = {**numbers(row), **flip, **{part: row[part] for part in (
                "tpr_at_fpr", "false_accepts", "interval", "thresholds", "best") if isinstance(row.get(part), dict)}}
    if not found:
        others = f"{', '.join(list(told)[:4]) or 'no model'}"
        raise UserError(f"`scores` {file}: has scores of {others}, and none of this {Path(model).name} (sha256 "
                        f"{sha256[:12]})")
    return found


def _same_name(name: str, model: str) -> bool:
    return name == model or Path(name).name == Path(model).name
