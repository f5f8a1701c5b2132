"""`synth OUT`: the posed-face set of make demo."""
from __future__ import annotations

import argparse
import time
from pathlib import Path

from common.arguments import at_least, image_size
from common.environment import usable_cores
from synth.generate import generate

DESCRIPTION = """\
Render synthetic identities at yaw -90 to 90 degrees, and align the faces by five landmarks
with a detector's errors. The folder is laid out as real data sets are:

  OUT/train/0001/001.jpg              training identities           -> pack
  OUT/verify/images, verify/pairs.txt other identities, LFW's protocol -> pairs lfw
  OUT/cfp/Data, OUT/cfp/Protocol      the same, CFP's protocol         -> pairs cfp --kind FF or FP
  OUT/landmarks.csv                   detected and true landmarks in the photograph, yaw, pitch, roll

The same seed gives the same files, byte for byte, whatever the number of workers. The verification identities
depend on the seed alone.

  python -m recordio_tools synth faces/ --seed 1
  python -m recordio_tools pack faces/train data/
  python -m recordio_tools pairs cfp --images faces/cfp --protocol faces/cfp/Protocol --kind FP --out data/cfp_fp.bin"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("synth", help="render the posed-face set of make demo", description=DESCRIPTION)
    parser.add_argument("out", metavar="OUT", help="folder to make; it must be empty or absent")
    parser.add_argument("--identities", type=at_least(0, 99999), default=100, metavar="N", help="training identities")
    parser.add_argument("--images-per-identity", type=at_least(1, 999), default=40, metavar="K",
                        help="images per training identity")
    parser.add_argument("--verify-identities", type=at_least(0), default=50, metavar="V",
                        help="identities of the verification sets, 20 images each; 0 for none, else 20 or more")
    parser.add_argument("--seed", type=at_least(0, (1 << 32) - 1), default=0,
                        help="random seed of all that is rendered (default: 0)")
    parser.add_argument("--image-size", type=image_size, default="112,112", metavar="H,W",
                        help="size of the aligned crops in pixels, height,width")
    parser.add_argument("--quality", type=at_least(1, 100), default=95, help="JPEG quality of the crops")
    parser.add_argument("--keep-photographs", action="store_true",
                        help="write the unaligned photographs too, under OUT/photographs")
    parser.add_argument("--overwrite", action="store_true", help="replace a set that this command made in OUT")
    parser.add_argument("--workers", type=at_least(1, 256), default=usable_cores(), metavar="N",
                        help="processes that render (default: the cores this process may use)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render the set and print its size."""
    began = time.monotonic()
    images = generate(Path(args.out), args.identities, args.images_per_identity, args.verify_identities, args.seed,
                      args.workers, args.image_size, args.quality, args.keep_photographs, args.overwrite)
    print(f"{images} images of {args.identities} training and {args.verify_identities} verification identities in "
          f"{args.out} ({time.monotonic() - began:.0f} s)")
    return 0
