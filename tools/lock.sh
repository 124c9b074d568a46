#!/usr/bin/env bash
# Pins every dependency, with hashes, in requirements/dev.txt. Run by `make lock` after a dependency changed;
# `make lock UPGRADE=--upgrade` also takes the newest releases.
set -euo pipefail
cd "$(dirname "$0")/.."

# Universal, so that one file serves every platform and every Python from 3.11 on. Our own packages are
# resolved from their folders (tool.uv.sources) and left out: setup installs them from the checkout.
"${UV:-.venv/bin/uv}" pip compile packages/*/pyproject.toml examples/*/pyproject.toml requirements/dev.in \
    --all-extras --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
    --no-emit-package jackfield --no-emit-package jackfield-cli \
    --no-emit-package jackfield-sdk --no-emit-package jackfield-sandbox \
    --quiet --output-file requirements/dev.txt "$@"
