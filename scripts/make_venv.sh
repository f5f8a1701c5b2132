#!/bin/sh
# make_venv.sh VENV REQUIREMENTS: find a Python that MXNet 1.9.1 runs on, make VENV, install into it.
set -eu
venv=$1
requirements=$2

suits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' >/dev/null 2>&1; }

python=
for candidate in ${PYTHON:-} python3.11 python3.10 python3.9 python3.8 python3 python \
                 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11.*/bin/python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10.*/bin/python \
                 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.9.*/bin/python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.8.*/bin/python; do
    if suits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "make: no Python 3.8 to 3.11 with the venv module was found, and MXNet 1.9.1 runs on no other; install one (Debian: apt-get install python3.11-venv; anywhere: pyenv install 3.11) or name it: make venv PYTHON=/path/to/python3.10" >&2
    exit 2
fi
echo "environment: $("$python" --version 2>&1) in $venv"
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements" || {
    echo "make: the packages of $requirements could not be installed (see above); the network or the package index is the usual cause; run make venv again" >&2
    rm -rf "$venv"
    exit 2
}
"$venv/bin/python" -c 'from common.environment import check_environment; check_environment()'
