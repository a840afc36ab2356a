# shellcheck shell=bash
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
#
# The virtual environment .venv in the checkout.
#
# It holds one of three sets of packages, "demo", "test" or "cloud"; each
# includes those before it. A stamp for each set is written last and holds the hash of all that
# went into it, so that a second run costs nothing, a changed requirement is
# installed, and what was interrupted is done again.

# use_venv ROOT SET: makes or completes ROOT/.venv and puts it on the PATH.
use_venv() {
    local root=$1 set=$2 lock=''
    local venv=$root/.venv
    if command -v flock >/dev/null; then
        exec {lock}<"$root/tools/lib"
        flock "$lock"
    fi
    _complete_venv "$root" "$venv" "$set"
    if [[ -n $lock ]]; then
        exec {lock}<&-
    fi
    PATH=$venv/bin:$PATH
    export PATH
    unset PYTHONHOME
}

_complete_venv() {
    local root=$1 venv=$2 set=$3 hash
    if [[ -e $venv && ! -e $venv/.made-by-tools ]]; then
        fail "$venv exists, but these scripts did not make it." \
            "Move it away, and run this again."
    fi
    hash=$(_venv_hash "$root" "$set")
    if [[ -e $venv/.stamp-$set && $(<"$venv/.stamp-$set") == "$hash" ]] &&
        _venv_works "$root" "$venv"; then
        return
    fi
    if [[ -e $venv/.installing ]] || ! _venv_works "$root" "$venv"; then
        _make_venv "$root" "$venv"
    fi
    _install "$root" "$venv" "$set"
    for set in $(_sets "$set"); do
        _venv_hash "$root" "$set" >"$venv/.stamp-$set"
    done
}

# Whether the environment still is where it was made, and its Python runs.
_venv_works() {
    [[ -e $2/.made-by-tools && $(<"$2/.made-by-tools") == "$1" ]] &&
        "$2/bin/python" -c 'import pip' 2>/dev/null
}

_make_venv() {
    local root=$1 venv=$2 python log
    python=$(find_python)
    rm -rf -- "$venv"
    mkdir -- "$venv" || fail "$root is not writable: it needs .venv in it."
    printf '%s\n' "$root" >"$venv/.made-by-tools"
    log=$venv/install.log
    stage "Making .venv with $("$python" -V)" "$log" \
        "$python" -m venv "$venv" || fail "See $log"
}

_install() {
    local root=$1 venv=$2 set=$3 file log=$2/install.log
    local -a files
    while IFS= read -r file; do
        files+=(-r "$root/$file")
    done < <(_requirement_files "$set")
    # Versions come from git. Without a repository that this user can read,
    # as in an archive, any version does.
    if ! git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
        export PBR_VERSION=${PBR_VERSION:-0.0.0}
    fi
    : >"$venv/.installing"
    rm -f -- "$venv"/.stamp-*
    stage "Installing the packages of the $set" "$log" \
        "$venv/bin/python" -m pip install --no-input --prefer-binary \
        --disable-pip-version-check --editable "$root" "${files[@]}" ||
        fail "$(tail -n 5 "$log")" "All of it is in $log"
    rm -f -- "$venv/.installing"
}

# Prints a set and those that it includes.
_sets() {
    case $1 in
        demo) echo demo ;;
        test) echo demo test ;;
        cloud) echo demo test cloud ;;
    esac
}

_requirement_files() {
    printf '%s\n' requirements.txt tools/demo-requirements.txt
    if [[ $1 != demo ]]; then
        printf '%s\n' test-requirements.txt doc/requirements.txt
    fi
    if [[ $1 == cloud ]]; then
        printf '%s\n' tools/cloud-requirements.txt
    fi
}

# The hash of what decides the contents: the requirements, the entry points
# and how the environment is made.
_venv_hash() {
    local file
    {
        while IFS= read -r file; do
            cat -- "$1/$file"
        done < <(_requirement_files "$2")
        cat -- "$1/setup.cfg" "$1/pyproject.toml" "$1/tools/lib/venv.sh"
    } | sha256sum | cut -d ' ' -f 1
}
