#!/bin/sh
# make_venv.sh VENV [GPU] [TOLD]: find a Python that MXNet 1.9.1 runs on, make the environment VENV, install into it.
# GPU: cu110 to cu117 for MXNet's GPU wheel, none for the CPU's, empty for what VENV is now. TOLD: `command line` where a
# person typed GPU for this very call; without it no environment of one kind is replaced by one of the other.
set -eu
venv=$1
gpu=${2:-}
told=${3:-}
stamp=$venv/.installed

fail() { echo "make: $1" >&2; exit 2; }

kind_of() { # cpu, cu117, ..., or nothing where there is no environment; known by what is installed, also by hand
    [ -d "$1" ] || return 0
    for info in "$1"/lib/python3*/site-packages/mxnet_cu*.dist-info; do
        if [ -d "$info" ]; then basename "$info" | sed 's/^mxnet_\(cu[0-9]*\)-.*/\1/'; return 0; fi
    done
    for info in "$1"/lib/python3*/site-packages/mxnet-*.dist-info; do
        if [ -d "$info" ]; then echo cpu; return 0; fi
    done
}

# As an environment variable GPU may mean something else, such as a device's number.
if [ -n "$gpu" ] && [ "$told" != "command line" ]; then
    case $gpu in none|cu11[0-9]) ;; *) gpu= ;; esac
fi
present=$(kind_of "$venv")
if [ -d "$venv" ] && [ -z "$present" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ ! -e "$stamp" ] && [ -n "$(ls -A "$venv")" ]; then
    fail "$venv is not an environment, and what it holds would be removed; name another folder: make venv VENV=..."
fi
case $gpu in
    "") wanted=${present:-cpu} ;;
    none|cpu) wanted=cpu ;;
    cu110|cu112|cu113|cu114|cu115|cu116|cu117) wanted=$gpu ;;
    *) fail "GPU=$gpu: MXNet 1.9.1 has GPU wheels of CUDA 11 alone, cu110 and cu112 to cu117; GPU=cu117 is right for every driver from 450.80 on, GPU=none for the CPU" ;;
esac
if [ -n "$present" ] && [ "$present" != "$wanted" ]; then
    [ "$told" = "command line" ] || fail "$venv is an environment for $present, and GPU=$gpu from the environment variables would replace it; say so with make venv GPU=$gpu, or unset GPU to keep it"
fi
# What a user needs, and what the tests need, which may be missing where only the product is handed on.
dev=
[ ! -e requirements-dev.txt ] || dev=requirements-dev.txt
files="requirements.txt $dev"
[ "$wanted" = cpu ] || files="$files requirements-gpu.txt"
list() { cat $files | sed 's/ *#.*//; /^$/d'; } # what is installed; the stamp holds it, so that only a change of it counts
if [ "$present" = "$wanted" ] && [ -e "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    if list | cmp -s - "$stamp" || { [ ! -s "$stamp" ] && [ -z "$(find $files -newer "$stamp")" ]; }; then
        [ "$told" != "command line" ] || echo "environment: $venv is for $wanted already"
        touch "$stamp"
        exit 0
    fi
fi

if [ "$wanted" != cpu ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "GPU=$wanted: MXNet's GPU wheels are for Linux on x86_64 alone; GPU=none makes an environment for the CPU"
    # CUDA 11.0's own solver and compiler, whose successors have other names; PyPI has neither.
    if [ "$wanted" = cu110 ]; then
        for library in libcusolver.so.10 libnvrtc.so.11.0; do
            [ -e "/usr/local/cuda-11.0/lib64/$library" ] || fail "GPU=cu110 needs $library in /usr/local/cuda-11.0/lib64: MXNet's cu110 wheel wants the toolkit of CUDA 11.0 itself, which PyPI does not have; GPU=cu117 needs no toolkit and runs on the same drivers and more GPUs"
        done
    fi
fi

[ -z "$present" ] || [ "$present" = "$wanted" ] || echo "environment: $venv is for $present and is replaced by one for $wanted, as GPU=$gpu says"

suits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' >/dev/null 2>&1; }

if [ -n "${PYTHON:-}" ] && ! suits "$PYTHON"; then
    fail "PYTHON=$PYTHON: is not a Python 3.8 to 3.11 with the venv module; name another, or unset PYTHON to have one found"
fi
pyenv=${PYENV_ROOT:-${HOME:-/nowhere}/.pyenv}/versions
python=
for candidate in "${PYTHON:-python3.11}" python3.11 python3.10 python3.9 python3.8 python3 python \
                 "$pyenv"/3.11.*/bin/python "$pyenv"/3.10.*/bin/python "$pyenv"/3.9.*/bin/python "$pyenv"/3.8.*/bin/python; do
    if suits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    fail "no Python 3.8 to 3.11 with the venv module was found, and MXNet 1.9.1 runs on no other; install one (Debian: apt-get install python3.11-venv; anywhere: pyenv install 3.11) or name it: make venv PYTHON=/path/to/python3.10"
fi
echo "environment: $("$python" --version 2>&1) in $venv, MXNet for $wanted"

# What is there now goes only when the new one is whole; a Python of the old one may be the one that was found.
old=$venv.old.$$
python=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", "") or sys.executable)')
began=
restore() {
    if [ -e "$old" ] || [ -L "$old" ]; then rm -rf "$venv"; mv "$old" "$venv"; elif [ -n "$began" ]; then rm -rf "$venv"; fi
}
trap restore EXIT
trap 'exit 130' INT TERM HUP
if [ -e "$venv" ] || [ -L "$venv" ]; then mv "$venv" "$old"; fi
began=yes
"$python" -m venv "$venv"
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile "$@"; }
if [ "$wanted" = cpu ]; then
    install -r requirements.txt ${dev:+-r $dev} || fail "the packages of requirements.txt could not be installed (see above), and $venv is as it was; the network or the package index is the usual cause; run make venv again"
else
    echo "environment: the wheel and the CUDA libraries are some 2.5 GB to fetch, and 4 GB on the disk"
    grep -v '^mxnet==' requirements.txt > "$venv/requirements.txt"
    install -r "$venv/requirements.txt" "mxnet-$wanted==1.9.1" -r requirements-gpu.txt ${dev:+-r $dev} || fail "MXNet's wheel for $wanted or the CUDA libraries could not be installed (see above), and $venv is as it was; the network, the package index or a full disk is the usual cause; run make venv GPU=$wanted again"
    if [ "$wanted" = cu110 ]; then
        ln -sf /usr/local/cuda-11.0/lib64/libcusolver.so.10 /usr/local/cuda-11.0/lib64/libnvrtc.so.11.0 "$venv"/lib/python3*/site-packages/mxnet/
    fi
    "$venv/bin/python" -m common.cuda_libraries || fail "the CUDA libraries of requirements-gpu.txt do not load (see above), and $venv is as it was"
fi
# pip would compile every file, on one core, for more than half of its time: on all cores, and not what nothing here imports.
"$venv/bin/python" -W ignore -m compileall -qq -j 0 -x '/(tests|sympy|mpmath|pandas)/' "$venv"/lib/python3*/site-packages || :
# Without a driver MXNet's GPU wheel cannot be imported: the line before has said so, and this machine may not be the one to train on.
if [ "$wanted" = cpu ] || "$venv/bin/python" -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null; then
    "$venv/bin/python" -c 'import sys
from common.environment import check_environment
from common.errors import UserError
try:
    check_environment()
except UserError as error:
    sys.exit(f"make: {error}")' || fail "the new environment does not work (see above), and $venv is as it was"
fi
list > "$stamp"
trap - EXIT
rm -rf "$old"
