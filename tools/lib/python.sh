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
# Finds a Python that can make the virtual environment.

# find_python: prints the path of a Python, or ends the script and says what
# to install. $PYTHON overrides the search.
#
# A name on the PATH proves nothing: version managers leave shims that do not
# run, and Debian's python3 comes without ensurepip. So each one is tried.
# 3.11 and later come first, because current Nova needs them.
find_python() {
    local name path found fallback='' broken=''
    local -a names=(python3.13 python3.12 python3.11 python3 python3.10)
    if [[ -n ${PYTHON:-} ]]; then
        names=("$PYTHON")
    fi
    for name in "${names[@]}"; do
        while IFS= read -r path; do
            found=$(_try_python "$path") || continue
            case $found in
                new\ *)
                    printf '%s\n' "${found#new }"
                    return
                    ;;
                old\ *) fallback=${fallback:-${found#old }} ;;
                broken\ *) broken=${broken:-${found#broken }} ;;
            esac
        done < <(type -aP -- "$name")
    done
    if [[ -n $fallback ]]; then
        printf '%s\n' "$fallback"
        return
    fi
    if [[ -n $broken ]]; then
        fail "$broken has no venv or no ensurepip module." \
            "On Debian and Ubuntu: apt-get install python3-venv" \
            "bindep.txt lists every package that is needed."
    fi
    fail "No Python 3.10 or later that runs was found${PYTHON:+ at $PYTHON}." \
        "On Debian and Ubuntu: apt-get install python3 python3-venv" \
        "bindep.txt lists every package that is needed." \
        "PYTHON=/path/to/python3 $0 takes one from elsewhere."
}

# Prints "new", "old" or "broken" and the real path, or fails.
_try_python() {
    "$1" - 2>/dev/null <<'PY'
import sys

if sys.version_info < (3, 10):
    sys.exit(1)
try:
    import ensurepip, venv  # noqa
except ImportError:
    kind = 'broken'
else:
    kind = 'new' if sys.version_info >= (3, 11) else 'old'
print(kind, sys.executable)
PY
}
