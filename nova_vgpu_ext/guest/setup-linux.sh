#!/bin/bash
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
# Installs the guest driver of a vGPU and waits for its licence. It is started
# at each boot, and does only what is not done yet. It changes nothing but what
# stands here, and never reboots.

set -u

etc=${NOVA_VGPU_GUEST_ETC:-/etc/nova-vgpu-guest}
state=${NOVA_VGPU_GUEST_STATE:-/var/lib/nova-vgpu-guest}
run=${NOVA_VGPU_GUEST_RUN:-/run/nova-vgpu-guest}
console=${NOVA_VGPU_GUEST_CONSOLE:-/dev/console}

driver_url='' driver_file='' driver_sha256='' kernel_source_path=''
dkms=no licensed=no attempts=10 licence_seconds=180
# shellcheck disable=SC1091  # It is written with this script.
. "$etc/settings"

# report STATE TEXT: one line for the tenant and for the operator.
report() {
    local line="nova-vgpu-guest: $1: $2"
    install -d -m 0755 "$run"
    printf '%s\n' "$line" >"$run/status.new"
    mv "$run/status.new" "$run/status"
    printf '%s\n' "$line"
    # A guest without a console is no error.
    printf '%s\n' "$line" 2>/dev/null >"$console" || true
}

fail() {
    report failed "$1"
    exit 1
}

# install_packages PACKAGE...: of the guest's distribution.
install_packages() {
    if command -v apt-get >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get update -q &&
            DEBIAN_FRONTEND=noninteractive apt-get install -q -y "$@"
    else
        dnf -q -y install "$@"
    fi
}

# What a .run builds its module with.
install_compiler() {
    local -a wanted=(gcc make)
    if command -v apt-get >/dev/null; then
        wanted+=("linux-headers-$(uname -r)")
    else
        wanted+=("kernel-devel-$(uname -r)" elfutils-libelf-devel)
        if [[ $dkms == yes ]]; then
            install_packages epel-release || return
        fi
    fi
    [[ $dkms == no ]] || wanted+=(dkms)
    install_packages "${wanted[@]}"
}

# download FILE: again with growing pauses, because a network comes up late.
download() {
    local n pause=2
    for ((n = 1; n <= attempts; n++)); do
        if curl --fail --silent --show-error --location --proto '=http,https' \
            --connect-timeout 20 --output "$1" -- "$driver_url"; then
            return
        fi
        ((n == attempts)) || sleep "$pause"
        pause=$((pause * 2 < 60 ? pause * 2 : 60))
    done
    return 1
}

install_driver() {
    local folder file sum
    folder=$(mktemp -d "$state/download.XXXXXX") || fail "no room in $state"
    # shellcheck disable=SC2064  # The folder is known now.
    trap "rm -rf -- '$folder'" EXIT
    file=$folder/$driver_file
    command -v curl >/dev/null || install_packages curl ||
        fail 'curl is not there and cannot be installed'
    download "$file" ||
        fail "the driver cannot be downloaded from $driver_url, $attempts attempts"
    sum=$(sha256sum <"$file")
    if [[ ${sum%% *} != "$driver_sha256" ]]; then
        fail "the driver's SHA-256 is ${sum%% *}, expected $driver_sha256"
    fi
    case $driver_file in
        *.run)
            local -a options=(--silent --no-questions --disable-nouveau)
            install_compiler ||
                fail 'the compiler or the headers of the kernel cannot be installed'
            [[ $dkms == no ]] || options+=(--dkms)
            if [[ -n $kernel_source_path ]]; then
                options+=("--kernel-source-path=$kernel_source_path")
            fi
            modprobe -r nouveau 2>/dev/null || true
            sh "$file" "${options[@]}" ||
                fail "the installer of the driver failed, see /var/log/nvidia-installer.log"
            ;;
        *.deb)
            DEBIAN_FRONTEND=noninteractive apt-get install -q -y "$file" ||
                fail "the package $driver_file cannot be installed"
            ;;
        *.rpm)
            dnf -q -y install "$file" ||
                fail "the package $driver_file cannot be installed"
            ;;
    esac
    printf '%s\n' "$driver_sha256" >"$state/driver"
    rm -rf -- "$folder"
    trap - EXIT
}

# What the licence daemon has to be restarted for: its files, or a new driver.
licence_files() {
    {
        cat /etc/nvidia/gridd.conf /etc/nvidia/ClientConfigToken/*.tok
        cat "$state/driver"
    } 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

await_licence() {
    local end=$((SECONDS + licence_seconds)) log='' run_of_service
    while :; do
        # What it said before it was restarted is about another licence.
        run_of_service=$(systemctl show --property InvocationID --value nvidia-gridd)
        log=$(journalctl --quiet --output cat "_SYSTEMD_INVOCATION_ID=$run_of_service")
        if [[ $log == *'License acquired successfully'* ]]; then
            report ok 'the driver is installed and licensed'
            return
        fi
        ((SECONDS < end)) || break
        sleep 2
    done
    log=$(printf '%s' "$log" | grep -i -e error -e fail | tail -n 1)
    fail "no licence after $licence_seconds s: ${log:-nvidia-gridd says nothing of it}"
}

main() {
    install -d -m 0700 "$state"
    if [[ -n $driver_url && $(cat "$state/driver" 2>/dev/null) != "$driver_sha256" ]]; then
        report working 'the driver is being installed'
        install_driver
    fi
    if [[ $licensed == no ]]; then
        report ok 'the driver is installed; no licence was asked for'
        return
    fi
    local now
    now=$(licence_files)
    if [[ $(cat "$state/licence" 2>/dev/null) != "$now" ]]; then
        systemctl restart nvidia-gridd ||
            fail 'the service nvidia-gridd does not start'
        printf '%s\n' "$now" >"$state/licence"
    fi
    await_licence
}

main
