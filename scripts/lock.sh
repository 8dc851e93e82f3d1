#!/bin/sh
# Write the hash-locked requirements from pyproject.toml, for every supported Python and without index addresses.
# Versions that still fit stay; `sh scripts/lock.sh --upgrade` takes the newest.
set -eu
lock() {
    .venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header "$@"
}
lock "$@" pyproject.toml --output-file requirements.txt
lock "$@" pyproject.toml --group dev --constraint requirements.txt --output-file requirements-dev.txt
