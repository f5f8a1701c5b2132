"""Small folders of real faces and of odd images, and a way to run a command as a user does."""
from __future__ import annotations

import shutil

import cv2
import numpy as np

from common.cli import Parser
from common.errors import RunError, UserError
from common.settings import as_flags
from recordio_tools.__main__ import main
from recordio_tools.records.dataset import open_dataset


def command(*argv):
    """(exit status, the one line on the screen or '') of `python -m recordio_tools *argv`."""
    try:
        return main([str(word) for word in argv]) or 0, ""
    except (UserError, RunError) as error:
        assert "\n" not in str(error)
        return error.exit_status, as_flags(str(error), Parser.names)
    except SystemExit as error:  # argparse
        return error.code, ""


def real_faces(shared_data, folder, identities=4, images=3):
    """Copy faces of LFW identities that have enough images to folder/<identity>/."""
    taken = 0
    for source in sorted((shared_data / "lfw/images").iterdir()):
        files = sorted(source.iterdir())
        if len(files) >= images:
            (folder / source.name).mkdir(parents=True)
            for file in files[:images]:
                shutil.copy(file, folder / source.name / file.name)
            taken += 1
            if taken == identities:
                return folder
    raise AssertionError("too few identities")


def picture(seed=0, height=112, width=112, channels=3, dtype=np.uint8):
    """A smooth picture, (H, W, C), that survives JPEG well."""
    small = np.random.RandomState(seed).randint(0, 256, (5, 5, channels)).astype(np.float32)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    image = np.clip(image, 0, 255)
    return (image * 257).astype(np.uint16) if dtype == np.uint16 else image.astype(np.uint8)


def write_image(path, image):
    """Write (H, W, C) RGB by the name's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[image.shape[2]]
    done, data = cv2.imencode(path.suffix, image[..., order])
    assert done
    path.write_bytes(data.tobytes())
    return path


def drawn_faces(folder, identities=3, images=2, **size):
    """folder/person<i>/<j>.jpg, pictures of noise."""
    for identity in range(identities):
        for index in range(images):
            write_image(folder / f"person{identity}" / f"{index}.jpg", picture(100 * identity + index, **size))
    return folder


def packed_images(folder):
    """The image files' bytes in a packed set, in its order."""
    dataset = open_dataset(folder)
    with dataset.record_file:
        return [dataset.record_file.read(key).content for key in dataset.keys.tolist()]
