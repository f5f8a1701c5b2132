#!/bin/sh
# demo.sh: the whole pipeline on synthetic faces, so nothing is downloaded: render, pack, pair, train, verify, report.
# Every command below is what one types for real data. DEMO names the folder (default demo/).
set -eu
python=${PYTHON:-.venv/bin/python}
demo=${DEMO:-demo}
began=$(date +%s)
say() { printf '\n== %s\n' "$*"; }
run() { printf '$ python %s\n' "$*"; "$python" "$@"; }

if [ -e "$demo" ] && [ ! -e "$demo/.demo" ] && [ -n "$(ls -A "$demo")" ]; then
    echo "$demo: holds files that the demo did not make; name another folder: DEMO=..." >&2
    exit 2
fi

echo "From nothing to a verified model, on this machine alone: up to 10 minutes on two cores."
mkdir -p "$demo"
: > "$demo/.demo"
rm -rf "$demo/faces" "$demo/data" "$demo/run" "$demo/report"

say "1/6 draw people at every pose, and align them as a detector would"
run -m recordio_tools synth "$demo/faces" --seed 1 --identities 100 --images-per-identity 32

say "2/6 pack the training images to RecordIO"
run -m recordio_tools pack "$demo/faces/train" "$demo/data"

say "3/6 make the verification sets: LFW-like, frontal-frontal, frontal-profile"
run -m recordio_tools pairs lfw --images "$demo/faces/verify/images" --pairs "$demo/faces/verify/pairs.txt" --out "$demo/data/lfw.bin"
run -m recordio_tools pairs cfp --images "$demo/faces/cfp" --protocol "$demo/faces/cfp/Protocol" --kind FF --out "$demo/data/cfp_ff.bin"
run -m recordio_tools pairs cfp --images "$demo/faces/cfp" --protocol "$demo/faces/cfp/Protocol" --kind FP --out "$demo/data/cfp_fp.bin"
run -m recordio_tools check "$demo/data" "$demo/data/cfp_fp.bin"

# The paper trains for days with ArcFace at s 64, m 0.5; what begins from nothing and ends in minutes needs it milder.
say "4/6 train MobileFaceNet++: ArcFace with a small margin and scale, for two to three passes over the images"
run train_softmax.py --preset mobilefacenet++ --data-dir "$demo/data" --prefix "$demo/run/model" \
    --per-batch-size 32 --margin-s 16 --margin-m 0.1 --lr 0.05 --warmup 16 \
    --lr-steps 152,208 --max-steps 224 --verbose 0 --frequent 40 --target lfw,cfp_fp

say "5/6 verify (350 different pairs a set: enough for a false positive rate of 1%, not for the 0.1% of large sets)"
run -m eval verify --model "$demo/run/model,1" --bins "$demo/data/lfw.bin" "$demo/data/cfp_ff.bin" \
    "$demo/data/cfp_fp.bin" --fpr 1e-2 --json "$demo/run/verification.json"

say "6/6 the report: one page with tables, curves, the hardest pairs, and maps of what GNAP does to the faces"
run -m eval report --model "$demo/run/model,1" --bins "$demo/data/lfw.bin" "$demo/data/cfp_ff.bin" "$demo/data/cfp_fp.bin" \
    --set "$demo/faces/cfp/Data/Images" --between frontal,profile --fpr 1e-2 --misaligned 40 \
    --out "$demo/report"

took=$(( $(date +%s) - began ))
printf '\nDone in %d min %02d s. The report: %s (open it in a browser); numbers: %s; the log: %s.\n' $((took / 60)) $((took % 60)) \
    "$demo/report/index.html" "$demo/run/verification.json" "$demo/run/log.txt"
