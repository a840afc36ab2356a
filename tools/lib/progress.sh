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
# What the scripts say while they work. Everything goes to standard error.

say() {
    printf '%s\n' "$*" >&2
}

# fail LINE...: says what is wrong and ends the script.
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# stage TITLE LOG COMMAND...: runs the command with its output in LOG, and
# shows one line with the seconds it took. Returns the command's status.
stage() {
    local title=$1 log=$2 start=$SECONDS status=0 ticker=''
    shift 2
    printf '  %s ...' "$title" >&2
    if [[ -t 2 ]]; then
        _tick "$title" $$ &
        ticker=$!
    fi
    "$@" >>"$log" 2>&1 </dev/null || status=$?
    if [[ -n $ticker ]]; then
        kill "$ticker" 2>/dev/null || true
        wait "$ticker" 2>/dev/null || true
        printf '\r  %s ...' "$title" >&2
    fi
    if ((status == 0)); then
        say " done, $((SECONDS - start)) s"
    else
        say " failed after $((SECONDS - start)) s"
    fi
    return "$status"
}

# Counts the seconds of a stage on a terminal until it is killed, or until
# the script is gone.
_tick() {
    local title=$1 script=$2 start=$SECONDS pause=''
    trap 'kill "$pause" 2>/dev/null; exit 0' TERM
    while kill -0 "$script" 2>/dev/null; do
        sleep 1 &
        pause=$!
        wait "$pause" || true
        printf '\r  %s ... %s s' "$title" $((SECONDS - start)) >&2
    done
}
