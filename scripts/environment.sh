#!/bin/sh
# Make .venv where it is missing, broken or moved, and install a locked requirements file into it.
# Usage: sh scripts/environment.sh requirements.txt
set -eu

say() { printf '%s\n' "$*" >&2; }
recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=""
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if recent "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    say "Python 3.11 or newer is needed and none is on the PATH (PYTHON=/path/to/python make ... names one)."
    exit 1
fi

usable() { recent .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }
in_place() { [ ! -f .venv/.place ] || [ "$(cat .venv/.place)" = "$(pwd)" ]; }

if ! usable || ! in_place; then
    say "Making the Python environment in .venv ..."
    rm -rf .venv
    if ! problem=$("$python" -m venv .venv 2>&1); then
        # Debian and Ubuntu ship Python without the part that makes environments.
        rm -rf .venv
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            say "Installing python3-venv ..."
            apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
            "$python" -m venv .venv
        else
            say "$problem"
            say "Python cannot make an environment: install its venv module (Debian, Ubuntu: apt install python3-venv)."
            exit 1
        fi
    fi
fi
pwd > .venv/.place

say "Installing $1 ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$1"
if [ "$1" = requirements.txt ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .
fi
