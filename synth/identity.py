"""An identity: the shape of the head and face, the skin, brows, eyes and hair, sampled from a seed."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REACH = 2.0  # largest deviation from the mean, in standard deviations
# name: mean, standard deviation (cm, unless noted); identities differ more than real ones do, so that a network
# separates them after minutes of training
SHAPE = {
    "skull_width": (7.5, 0.54), "skull_depth": (9.5, 0.61), "upper_height": (1.0, 0.07),  # upper, lower: factors
    "lower_height": (1.0, 0.08), "forehead_slope": (0.0, 0.68), "brow_ridge": (0.45, 0.38),
    "cheekbone": (0.45, 0.38), "cheek_fullness": (0.0, 0.61), "jaw_width": (5.9, 0.74), "jaw_rise": (3.4, 0.94),
    "chin_width": (1.0, 0.30), "chin_forward": (0.45, 0.68), "chin_drop": (0.0, 0.50), "face_square": (2.2, 0.22),
    "eye_x": (3.1, 0.26), "eye_y": (0.0, 0.13), "eye_width": (1.42, 0.18), "eye_open": (0.60, 0.13),
    "eye_tilt": (0.06, 0.12), "eye_depth": (0.9, 0.34), "eye_bulge": (0.5, 0.16),
    "nasion_depth": (0.25, 0.38), "nose_tip_y": (-3.75, 0.49), "nose_forward": (2.1, 0.51), "nose_hump": (0.0, 0.35),
    "nose_bridge_width": (0.72, 0.15), "nose_width": (1.45, 0.32), "nose_ball": (0.45, 0.22),
    "nose_turn": (0.0, 0.31), "philtrum": (0.0, 0.22), "mouth_y": (-6.85, 0.24), "mouth_width": (2.5, 0.36),
    "lip_upper": (0.50, 0.20), "lip_lower": (0.68, 0.23), "lip_forward": (0.45, 0.24), "lip_bow": (0.12, 0.09),
    "ear_size": (1.0, 0.15), "ear_out": (1.1, 0.61), "ear_y": (-1.4, 0.54), "neck_width": (4.9, 0.68),
}
LOOK = {  # texture, dimensionless unless noted
    "brow_height": (2.05, 0.31), "brow_thickness": (0.42, 0.17), "brow_arch": (0.22, 0.21), "brow_tilt": (0.0, 0.13),
    "brow_length": (1.95, 0.24), "brow_gap": (1.15, 0.26), "brow_density": (0.75, 0.21), "lip_redness": (0.6, 0.24),
    "hairline": (6.6, 1.17), "hair_recess": (0.7, 0.96), "hair_volume": (1.0, 0.60), "hair_curl": (0.5, 0.36),
    "eye_shadow": (0.35, 0.24), "freckles": (0.0, 0.60), "beard": (-0.2, 0.60), "folds": (0.25, 0.30),
    "redness": (0.5, 0.33), "hair_length": (0.3, 0.75),
}
HAIR = np.array([(20, 17, 17), (46, 30, 23), (84, 52, 32), (116, 76, 46), (128, 54, 26), (172, 130, 78),
                 (216, 188, 136), (168, 164, 160)], np.float32)  # black, browns, red, fair, grey
IRIS = np.array([(48, 28, 16), (74, 46, 24), (98, 84, 48), (84, 112, 134), (92, 116, 92)], np.float32)
SKIN = np.array([(238, 202, 182), (226, 182, 154), (204, 156, 124), (170, 118, 86), (122, 80, 58), (86, 56, 42)],
                np.float32)  # from light to dark


@dataclass(frozen=True)
class Person:
    """values: SHAPE and LOOK by name. skin, hair, iris: sRGB, 0 to 255. marks: moles as (M, 4) azimuth (radians),
    height (cm), radius (cm), darkness. grain: seed of the person's skin and strands."""

    values: dict[str, float]
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    marks: np.ndarray
    grain: int

    def __getattr__(self, name: str) -> float:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None


def draw_person(random: np.random.RandomState) -> Person:
    """Sample one identity; generators in the same state give the same identity."""
    values = {}
    for name, (mean, deviation) in {**SHAPE, **LOOK}.items():
        values[name] = mean + deviation * float(np.clip(random.normal(), -REACH, REACH))
    values["beard"] -= 0.9 * (values["hair_length"] > 0.6)
    darkness = random.uniform()
    skin = np.array([np.interp(darkness, np.linspace(0, 1, len(SKIN)), SKIN[:, c]) for c in range(3)])
    skin = skin * (1 + random.normal(0, 0.03, 3))
    hair = HAIR[int(random.uniform() ** (1 + 0.6 * darkness) * len(HAIR))]  # the darker the skin, the rarer fair hair
    hair = hair * random.uniform(0.85, 1.15)
    iris = IRIS[int(random.randint(len(IRIS)) * (random.uniform() > 1.4 * darkness))] * random.uniform(0.8, 1.2)
    count = random.poisson(2.5)
    marks = np.stack([random.uniform(-1.4, 1.4, count), random.uniform(-10, 5, count),
                      random.uniform(0.09, 0.2, count), random.uniform(0.3, 0.8, count)], 1)
    return Person(values, skin.astype(np.float32), hair.astype(np.float32), iris.astype(np.float32), marks,
                  int(random.randint(1 << 31)))
