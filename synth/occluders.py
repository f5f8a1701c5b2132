"""Occluders: glasses, rendered in 3D with the head, and objects held before the camera."""
from __future__ import annotations

import cv2
import numpy as np

from synth import render
from synth.model import FaceModel
from synth.shot import Shot
from synth.texture import dyed, linear


def solid(shot: Shot, model: FaceModel, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) in camera axes (cm) of glasses and their (N, 3) linear colours; none without glasses."""
    if shot.occluder not in ("glasses", "sunglasses"):
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    person = model.person
    frame = linear(random.uniform(5, 90, 3) * random.uniform(0.2, 1.6))
    width, height = random.uniform(1.9, 2.5), random.uniform(1.3, 1.9)
    power, thick = random.uniform(2.0, 4.0), random.uniform(0.10, 0.28)
    z = float(model.shape[:, :, 2][(np.abs(model.shape[:, :, 1] - 0.6) < 0.4)].max()) + 0.15
    turn = np.linspace(0, 2 * np.pi, 150, endpoint=False)
    unit = (np.abs(np.cos(turn)) ** power + np.abs(np.sin(turn)) ** power) ** (-1 / power)
    parts, tones = [], []
    for sign in (-1, 1):
        for share in np.linspace(1, 1 + thick / height, 4):
            x = sign * (person.eye_x + 0.1) + width * share * unit * np.cos(turn)
            parts.append(np.stack([x, height * share * unit * np.sin(turn) - 0.15, z - 0.028 * x * x], 1))
            tones.append(np.broadcast_to(frame, (len(turn), 3)))
        if shot.occluder == "sunglasses":
            across, up = np.meshgrid(np.linspace(-1, 1, 50), np.linspace(-1, 1, 40))
            inside = np.abs(across) ** power + np.abs(up) ** power < 1
            x = sign * (person.eye_x + 0.1) + width * across[inside]
            parts.append(np.stack([x, height * up[inside] - 0.15, z - 0.028 * x * x], 1))
            tones.append(np.outer(0.5 + 0.5 * up[inside] ** 2, linear((34, 30, 30))))
        hinge = person.eye_x + 0.1 + width
        back = np.linspace(0, 1, 160)
        for offset in np.linspace(0, thick, 3):
            x = sign * (hinge + (person.skull_width + 0.5 - hinge) * np.minimum(back * 2.2, 1))
            depth = (z - 0.028 * hinge ** 2) * (1 - back) - 1.5 * back
            parts.append(np.stack([x, 0.6 - offset - 0.3 * back, depth], 1))
            tones.append(np.broadcast_to(frame, (len(back), 3)))
    bridge = np.linspace(-1, 1, 40) * (person.eye_x + 0.1 - width)
    for offset in np.linspace(0, thick, 3):
        parts.append(np.stack([bridge, np.full_like(bridge, 0.45 - offset), z - 0.028 * bridge ** 2], 1))
        tones.append(np.broadcast_to(frame, (len(bridge), 3)))
    points = np.concatenate(parts).astype(np.float32)
    points[:, 1] *= np.where(points[:, 1] > 0, person.upper_height, person.lower_height)
    camera = shot.camera
    return (render.turned(points, render.rotation(camera.yaw, camera.pitch, camera.roll)).astype(np.float32),
            np.concatenate(tones).astype(np.float32))


def flat(image: np.ndarray, shot: Shot, random: np.random.RandomState) -> np.ndarray:
    """The (H, W, 3) image with, if the shot has one, an object that enters from a side and occludes part of the
    face."""
    if shot.occluder != "object":
        return image
    height, width = image.shape[:2]
    x, y = shot.camera.centre
    angle = random.uniform(0, 2 * np.pi)
    reach = shot.camera.scale * random.uniform(3.5, 8.5)
    centre = np.array([x + reach * np.cos(angle), y + reach * np.sin(angle)])
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = shot.camera.scale * random.uniform(2.0, 3.8) * (1 + 0.12 * random.normal(size=24))
    outward = np.array([np.cos(angle), np.sin(angle)]) * width
    edge = centre + np.stack([np.cos(turn), np.sin(turn)], 1) * radius[:, None]
    edge = np.where(((edge - centre) @ outward > 0)[:, None], edge + outward, edge)
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [np.rint(edge).astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), 1.2)[..., None]
    shade = cv2.resize(random.uniform(0.6, 1.2, (5, 5)).astype(np.float32), (width, height))[..., None]
    return image * (1 - mask) + dyed(random) * shade * mask
