#!/usr/bin/env bash
# Makes .venv with every pinned dependency and this project's packages, editable. Run by `make setup`, and by
# each target that needs the venv: when nothing has changed since the last run it only compares a digest.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python3}
stamp=.venv/.setup-stamp

# Small enough to run on the oldest Python that somebody may still call python3.
version='import sys; print(".".join(map(str, sys.version_info[:3])))'
prefix='import sys; print(sys.prefix)'

fail() { echo "setup: $*" >&2; exit 1; }
note() { echo "setup: $*" >&2; }

can_apt() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; }

apt_install() {
    note "installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The browser tests drive a real Chromium. Only Debian as root is done for you: everywhere else a setup
# script has no business with the system's packages.
browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null && return
    done
    can_apt && apt_install chromium fonts-dejavu-core && return
    note "Chromium is missing; the browser tests need it (Debian: apt-get install chromium fonts-dejavu-core)"
}

# What the venv was made from. The checkout's own path is part of it: editable installs point there, so a
# moved or copied checkout must be set up again.
digest() {
    "$python" -I -S - "$root" requirements/dev.txt tools/setup.sh \
        packages/*/pyproject.toml examples/*/pyproject.toml <<'PY'
import hashlib, sys
whole = hashlib.sha256(repr((sys.version_info[:3], sys.argv[1])).encode())
for name in sys.argv[2:]:
    with open(name, "rb") as file:
        whole.update(hashlib.sha256(name.encode() + b"\0" + file.read()).digest())
print(whole.hexdigest())
PY
}

up_to_date() { [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; }

ours() {
    [ -x .venv/bin/python ] \
        && [ "$(.venv/bin/python -c "$version")" = "$("$python" -c "$version")" ] \
        && [ "$(.venv/bin/python -c "$prefix")" = "$root/.venv" ]
}

make_venv() {
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        can_apt && apt_install python3-venv \
            || fail "$python cannot make virtual environments (Debian: apt-get install python3-venv)"
    fi
    # A venv of another Python, or one copied with the checkout, would run code from elsewhere: make it anew.
    ours || rm -rf .venv
    [ -e .venv ] || "$python" -m venv .venv
}

install() {
    local editables=() project
    for project in packages/*/ examples/*/; do
        [ ! -f "$project/pyproject.toml" ] || editables+=(-e "$project")
    done
    local pip=(.venv/bin/python -m pip --disable-pip-version-check install -qq)
    # Wheels only: building a source archive would fetch its build tools unpinned.
    "${pip[@]}" --require-hashes --only-binary :all: -r requirements/dev.txt
    # The build backend is pinned above, so nothing is fetched here.
    "${pip[@]}" --no-deps --no-build-isolation --no-index "${editables[@]}"
}

command -v "$python" >/dev/null || fail "Python 3.11 or newer is needed and '$python' was not found (PYTHON=… names another)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "Python 3.11 or newer is needed; '$python' is $("$python" -c "$version") (PYTHON=… names another)"

# Two targets started at once must not both write the venv.
if command -v flock >/dev/null; then
    exec 9>.setup-lock
    flock 9
fi

browser
wanted=$(digest)
up_to_date && exit 0
command -v node >/dev/null || note "Node is missing; 'make check' and 'make bench' need it"
make_venv
rm -f "$stamp"
install
echo "$wanted" > "$stamp"
note "ready: .venv ($(.venv/bin/python --version))"
