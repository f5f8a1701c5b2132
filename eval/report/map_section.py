"""The report's maps of local features on faces: norms, GNAP's weights, and those of average pooling."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Sequence

import cv2
import numpy as np
from matplotlib import colormaps

from eval.report.html import Html, Text, figure, join, paragraph, picture, section, table, tag
from eval.report.pair_sets import small

if TYPE_CHECKING:
    from eval.report.feature_maps import FeatureMaps

COLOURS = colormaps["viridis"]
TOP = 0.25  # fraction of the positions with the largest norms


@dataclass(frozen=True)
class FaceGroup:
    """Faces of one kind (frontal, profile): `shown` of them as images, all in the mean."""

    name: str
    images: list[np.ndarray]
    shown: int


def map_section(groups: Sequence[FaceGroup], models: Sequence[str],
                found: Sequence[Sequence[FeatureMaps] | str]) -> Html:
    """found: of each model its maps by group, or why it has none."""
    parts: list[Text] = [
        paragraph("Local features of the last feature map, before the head. Average pooling (GAP) adds them as they "
                  "are, so those of large norm dominate the direction of the sum: the share is the fraction that each "
                  "has of all lengths. GNAP multiplies each by the mean norm over its own, so that all weigh the same "
                  "(equations 1 to 3; figures 1 and 2 of the paper). Of a network without GNAP, its weights are "
                  "what GNAP would have."), _scale()]
    for model, maps in zip(models, found):
        if isinstance(maps, str):
            parts += [tag("h3", model), paragraph(f"No maps: {maps}.")]
            continue
        doing = "reweighted by GNAP" if maps[0].gnap else "this network has no GNAP"
        parts += [tag("h3", f"{model}: layer {maps[0].layer}, {doing}"), _model(groups, maps)]
    return section("Local features", *parts)


def _model(groups: Sequence[FaceGroup], maps: Sequence[FeatureMaps]) -> Html:
    seen = list(zip(groups, maps))
    most = max(float(one.norms[:group.shown].max()) for group, one in seen)
    weight = max(float(one.weights[:group.shown].max()) for group, one in seen)
    share = max(float(one.shares[:group.shown].max()) for group, one in seen)
    blocks, rows = [], []
    for group, found in zip(groups, maps):
        mean = replace(found, norms=found.norms.mean(axis=0, keepdims=True))
        pictures = [(f"{group.name} {number + 1}", image, found, number)
                    for number, image in enumerate(group.images[:group.shown])]
        average = np.mean(np.stack(group.images), axis=0).astype(np.uint8)
        for name, image, source, number in [*pictures, (f"mean of {len(group.images)} {group.name}", average, mean, 0)]:
            cells = [_cell(picture(small(image), f"{name}, the face"), name)]
            for label, values, top in (("norm", source.norms[number], most), ("GNAP's weight", source.weights[number],
                                                                              weight),
                                       ("GAP's share", source.shares[number], share)):
                cells.append(_cell(picture(_colour(values / (top or 1)), f"{name}, {label}", True, class_="map"),
                                   label))
            blocks.append(tag("div", *cells, class_="face"))
            rows.append([name, *_numbers(source, number)])
    head = ["face", "norm: least", "mean", "largest", "largest / least", "GNAP's weight: least", "largest",
            f"GAP: share of the strongest {100 * TOP:g}%", "with GNAP"]
    caption = (f"Face, norms (0 to {most:.3g}), GNAP's weights (0 to {weight:.3g}), shares in average pooling (0 to "
               f"{100 * share:.3g}%). {maps[0].norms.shape[1]} x {maps[0].norms.shape[2]} positions.")
    return figure(join(blocks), caption, table(head, rows))


def _numbers(maps: FeatureMaps, number: int) -> list[str]:
    norms, weights, shares = maps.norms[number], maps.weights[number], np.sort(maps.shares[number].ravel())[::-1]
    strongest = max(round(TOP * len(shares)), 1)
    least = norms.min()
    return [f"{least:.3g}", f"{norms.mean():.3g}", f"{norms.max():.3g}",
            f"{norms.max() / least:.2f}" if least > 0 else "-", f"{weights.min():.2f}", f"{weights.max():.2f}",
            f"{100 * shares[:strongest].sum():.1f}%", f"{100 * strongest / len(shares):.1f}%"]


def _cell(image: Html, label: str) -> Html:
    return tag("div", image, tag("span", label))


def _colour(values: np.ndarray) -> np.ndarray:
    """(h, w) from 0 to 1 as (8h, 8w, 3) colours, each position a square: browsers that smooth then blur its edge
    only."""
    colours = (255 * COLOURS(np.clip(values, 0, 1))[..., :3]).astype(np.uint8)
    return cv2.resize(colours, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)


def _scale() -> Html:
    stripe = (255 * COLOURS(np.linspace(0, 1, 120))[None, :, :3]).astype(np.uint8)
    return tag("p", "0 ", picture(stripe, "the scale of colours, from 0 to the largest", True, class_="scale",
                                  style="width:10rem;height:.7rem"), " the largest of the model", class_="note")
