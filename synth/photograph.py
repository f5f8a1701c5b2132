"""Renders one photograph: pose, texture, light, background, occluders, and the camera's degradations."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from synth import features, render, scene
from synth import occluders as occluders
from synth.grid import smoothstep
from synth.model import FaceModel
from synth.shot import Shot
from synth.texture import GAMMA, dyed, linear


@dataclass(frozen=True)
class Photograph:
    """image: (H, W, 3) uint8 RGB; points: (5, 2) true landmarks in pixels (x, y); hidden: (5,) depth (cm) of each
    behind the surface visible there, 0 where it is visible itself."""

    image: np.ndarray
    points: np.ndarray
    hidden: np.ndarray


def take(model: FaceModel, shot: Shot, random: np.random.RandomState) -> Photograph:
    """Render the photograph; `random` samples background, noise and the occluder's place."""
    camera = shot.camera
    mesh = model.shape.copy()
    for weight, move in zip(shot.moves, model.moves):
        if weight:
            mesh += weight * move
    mesh = render.turned(mesh, render.rotation(camera.yaw, camera.pitch, camera.roll))
    normal = render.normals_of(mesh)
    points = render.samples_of(mesh)
    columns = model.fine.x.shape[1]
    marks = points[[row * columns + column for row, column in model.landmarks]]
    in_sight = np.flatnonzero(render.samples_of(normal[..., 2:])[:, 0] > -0.15)
    things, their_colour = occluders.solid(shot, model, random)
    points = np.concatenate([points.take(in_sight, 0), things])
    depth = np.ascontiguousarray(points[:, 2])
    shown = render.nearest(render.project(points, camera), depth, camera.size)
    image = scene.background(shot, random)
    thing = shown >= len(in_sight)
    image[thing] = their_colour[shown[thing] - len(in_sight)]
    head = (shown >= 0) & ~thing
    samples = in_sight.take(shown[head])  # colour and light only for visible samples
    light = render.samples_of(_light(mesh, normal, shot)).take(samples, 0)
    image[head] = _paint(model, shot, samples, random) * light
    image = occluders.flat(image, shot, random)
    true = render.project(marks, camera)
    column = np.clip(np.rint(true[:, 0]).astype(int), 0, camera.size[1] - 1)
    row = np.clip(np.rint(true[:, 1]).astype(int), 0, camera.size[0] - 1)
    surface = np.where(shown[row, column] >= 0, depth[shown[row, column]], marks[:, 2])
    return Photograph(_camera(image, shot, random), true, np.maximum(surface - marks[:, 2] - 0.6, 0))


def _paint(model: FaceModel, shot: Shot, chosen: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """(N, 3) linear colour of the samples with the indices `chosen`."""
    person, colour = model.person, model.skin.copy()
    features.paint_mouth(colour, person, model.fine, float(shot.moves[1]), shot.teeth)
    features.paint_eyes(colour, person, model.fine, shot.gaze, shot.lids)
    colour = colour.reshape(-1, 3).take(chosen, 0)
    stubble = min(0.95, person.beard + shot.beard)
    if person.beard > 0 and stubble > 0:
        share = np.clip(model.beard.take(chosen) * np.float32(0.3 + 0.7 * stubble), 0, 1)[:, None]
        colour += (linear(person.hair) * np.float32(0.7) - np.float32(0.9) * colour) * share
    height, side = model.fine.y.take(chosen), np.abs(model.fine.x.take(chosen))
    strands = model.strands.take(chosen)
    field = model.hair.take(chosen) + np.float32(shot.hair_shift) + (strands - 1) * np.float32(0.6)
    share = smoothstep(field, -0.15, 0.45)
    tone = linear(person.hair) * shot.hair_tone.astype(np.float32) * strands[:, None]
    if shot.occluder == "cap":
        worn = smoothstep(height - np.float32(0.12) * side, 3.6, 3.8)
        share = np.maximum(share, worn)
        tone += (dyed(random) * strands[:, None] ** np.float32(0.4) - tone) * worn[:, None]
    colour += (tone - colour) * share[:, None]
    cloth = dyed(random)
    colour += (cloth - colour) * smoothstep(-height, 14.2, 14.6)[:, None]
    return colour


def _light(mesh: np.ndarray, normal: np.ndarray, shot: Shot) -> np.ndarray:
    """(ROWS, COLUMNS, 3) light reflected by the mesh's points, as a factor of their colour."""
    facing = render.dot(normal, shot.light)
    seen = render.visible_from(mesh, shot.light)
    soft = np.array([0.22, 0.10, 0.07], np.float32)  # subsurface scattering, largest for red
    diffuse = np.clip((facing[..., None] + soft) / (1 + soft), 0, 1) * seen[..., None]
    up = (normal[..., 1:2] * 0.5 + 0.5)
    around = shot.sky.astype(np.float32) * up + shot.ground.astype(np.float32) * (1 - up)
    around = around * (0.55 + 0.45 * np.clip(normal[..., 2:], 0, 1))
    half = shot.light + np.array([0, 0, 1])
    bright = np.clip(render.dot(normal, half / np.linalg.norm(half)), 0, 1)
    bright = bright * bright
    gloss = ((bright * bright * bright) ** 2 * bright ** 2 * np.float32(2.2 * shot.shine) * seen)[..., None]
    return (diffuse + gloss) * shot.key.astype(np.float32) + 0.75 * around


def _camera(image: np.ndarray, shot: Shot, random: np.random.RandomState) -> np.ndarray:
    """Linear light to a camera's image: uint8 RGB, blurred, noisy, JPEG-compressed."""
    image = np.clip(image * (shot.gain * shot.balance).astype(np.float32), 0, None).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 0.45 + shot.blur)
    level = image / (1 + 0.35 * image) * 1.25  # a smooth shoulder, so that highlights do not clip
    level = cv2.pow(np.clip(level, 0, 1), 1 / GAMMA)  # ten times faster than numpy's
    level = np.clip(0.5 + (level - 0.5) * shot.contrast, 0, 1)
    if shot.grey:
        level = np.repeat((level * np.array([0.3, 0.59, 0.11], np.float32)).sum(-1, keepdims=True), 3, -1)
    if shot.shrink > 1:
        height, width = level.shape[:2]
        small = cv2.resize(level, (int(width / shot.shrink), int(height / shot.shrink)), interpolation=cv2.INTER_AREA)
        level = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    grain = random.normal(size=level.shape[:2]).astype(np.float32)[..., None] * np.float32(shot.noise)
    return np.clip(np.rint(level * 255 + grain), 0, 255).astype(np.uint8)
