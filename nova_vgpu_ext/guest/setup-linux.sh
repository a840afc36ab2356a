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
nvidia=${NOVA_VGPU_GUEST_NVIDIA:-/etc/nvidia}
modules=${NOVA_VGPU_GUEST_MODULES:-/lib/modules}
loaded=${NOVA_VGPU_GUEST_LOADED:-/sys/module}
modprobe_d=${NOVA_VGPU_GUEST_MODPROBE_D:-/etc/modprobe.d}
version=${NOVA_VGPU_GUEST_VERSION:-/proc/version}

kernel=$(uname -r)
folder=''
driver_url='' driver_file='' driver_sha256='' kernel_source_path=''
dkms=no licensed=no attempts=10 licence_seconds=180

export DEBIAN_FRONTEND=noninteractive
# It would restart services, this one too, in the midst of the installation.
export NEEDRESTART_SUSPEND=1

# report STATE TEXT: one line for the tenant and for the operator.
report() {
    local line="nova-vgpu-guest: $1: ${2//[^[:print:]]/ }"
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

# again COMMAND...: with growing pauses, because networks, mirrors and locks of
# package managers come up late.
again() {
    local n pause=2
    for ((n = 1; ; n++)); do
        "$@" && return
        ((n < attempts)) || return 1
        sleep "$pause"
        pause=$((pause * 2 < 60 ? pause * 2 : 60))
    done
}

read_settings() {
    # shellcheck disable=SC1091  # It is written with this program.
    if ! [[ -r $etc/settings ]] || ! . "$etc/settings"; then
        fail "$etc/settings cannot be read; apply the guest's instructions again"
    fi
    # This text stands for the kernel; nothing else is expanded.
    # shellcheck disable=SC2016
    kernel_source_path=${kernel_source_path//'$(uname -r)'/$kernel}
}

uses_apt() {
    command -v apt-get >/dev/null
}

run_apt() {
    # The updates of a first boot hold the lock.
    apt-get -o DPkg::Lock::Timeout=600 -q "$@"
}

# install_packages PACKAGE...: of the guest's distribution, or files.
install_packages() {
    if uses_apt; then
        run_apt update && run_apt -y install "$@" && return
        # Nothing goes on after an installation that was interrupted.
        dpkg --force-confold --configure -a
        return 1
    else
        dnf -q -y install "$@"
    fi
}

is_installed() {
    if uses_apt; then
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
    else
        rpm -q --quiet "$1" 2>/dev/null
    fi
}

# Packages of the driver build their module with DKMS, a .run if it is told to;
# DKMS knows one place of the sources only.
uses_dkms() {
    [[ $driver_file != *.run || ($dkms == yes && -z $kernel_source_path) ]]
}

# DKMS is not in the repositories that Rocky and its kin start with.
enable_dkms() {
    if is_installed dkms; then
        return
    fi
    again dnf -q makecache || fail 'the mirrors of the packages do not answer'
    if dnf -q info dkms >/dev/null 2>&1; then
        return
    fi
    dnf -q info epel-release >/dev/null 2>&1 ||
        fail 'no repository of this guest has dkms or epel-release; add EPEL to the image, or do without DKMS'
    again install_packages epel-release || fail 'epel-release cannot be installed'
}

# What the module is built with for this kernel, and what fetches the driver.
install_tools() {
    local -a wanted=(gcc make) missing=()
    local headers=linux-headers-$kernel name
    if ! uses_apt; then
        wanted+=(elfutils-libelf-devel)
        headers=kernel-devel-$kernel
    fi
    if [[ -n $kernel_source_path ]]; then
        [[ -d $kernel_source_path ]] ||
            fail "the kernel source path $kernel_source_path is no folder of this guest"
    elif [[ ! -e $modules/$kernel/build/Makefile ]]; then
        wanted+=("$headers")
    fi
    command -v curl >/dev/null || wanted+=(curl)
    if uses_dkms; then
        uses_apt || enable_dkms
        wanted+=(dkms)
    fi
    for name in "${wanted[@]}"; do
        is_installed "$name" || missing+=("$name")
    done
    if ((${#missing[@]})); then
        again install_packages "${missing[@]}" ||
            fail "the compiler or the headers of the kernel $kernel cannot be installed: ${missing[*]}"
    fi
    choose_compiler
}

# Ubuntu has kernels that were built with a later compiler than its own.
choose_compiler() {
    local name
    name=$(grep -o -m 1 '\bgcc-[0-9][0-9]*' "$version" | head -n 1)
    if [[ -n $name ]] && uses_apt &&
        { is_installed "$name" || install_packages "$name"; }; then
        export CC=$name
    fi
}

# download FILE: a transfer that stalls for a minute is given up.
download() {
    curl --fail --silent --show-error --location --proto '=http,https' \
        --connect-timeout 20 --speed-limit 1000 --speed-time 60 \
        --output "$1" -- "$driver_url" 2>"$folder/curl"
}

# What was asked with a URL may be a secret, and the console is none.
fetch_driver() {
    local file=$folder/$driver_file sum
    again download "$file" ||
        fail "the driver cannot be downloaded from ${driver_url%%\?*}, $attempts attempts: $(tail -n 1 "$folder/curl")"
    sum=$(sha256sum <"$file")
    if [[ ${sum%% *} != "$driver_sha256" ]]; then
        fail "the driver's SHA-256 is ${sum%% *}, expected $driver_sha256"
    fi
}

# A module that has the GPU already; it may be of another driver.
unload_modules() {
    local module
    systemctl stop nvidia-gridd nvidia-persistenced 2>/dev/null || true
    for module in nvidia_drm nvidia_modeset nvidia_uvm nvidia_peermem nvidia nouveau; do
        if [[ -d $loaded/$module ]]; then
            modprobe -r "$module" 2>/dev/null || true
        fi
    done
    for module in nvidia nouveau; do
        if [[ -d $loaded/$module ]]; then
            # It must not come back before the driver is there.
            printf 'blacklist %s\n' nvidia nvidia_drm nvidia_modeset \
                >"$modprobe_d/nova-vgpu-guest-once.conf"
            if command -v update-initramfs >/dev/null; then
                update-initramfs -u
            elif command -v dracut >/dev/null; then
                dracut --force
            fi
            systemctl start nvidia-persistenced nvidia-gridd 2>/dev/null || true
            fail "the module $module is in use and cannot be unloaded; reboot the guest, and the set-up goes on"
        fi
    done
    rm -f -- "$modprobe_d/nova-vgpu-guest-once.conf"
}

run_installer() {
    local file=$folder/$driver_file
    # Nobody has the GPU now, whatever an X server draws on.
    local -a options=(--silent --no-questions --no-x-check --disable-nouveau)
    case $driver_file in
        *.run)
            ! uses_dkms || options+=(--dkms)
            if [[ -n $kernel_source_path ]]; then
                options+=("--kernel-source-path=$kernel_source_path")
            fi
            # /tmp may be small, or let nothing be run.
            TMPDIR=$folder sh "$file" "${options[@]}" "--tmpdir=$folder" ||
                fail 'the installer of the driver failed, see /var/log/nvidia-installer.log'
            ;;
        *)
            again install_packages "$file" ||
                fail "the package $driver_file cannot be installed, see journalctl -u nova-vgpu-guest"
            ;;
    esac
}

install_driver() {
    report working 'the driver is being installed'
    install_tools
    # An earlier run may have been killed.
    rm -rf -- "$state"/download.*
    folder=$(mktemp -d "$state/download.XXXXXX") || fail "no room in $state"
    fetch_driver
    unload_modules
    run_installer
    rm -rf -- "$folder"
    folder=''
    has_module ||
        fail "the driver was installed, but the kernel $kernel has no module nvidia"
    printf '%s\n' "$driver_sha256" >"$state/driver"
    # The licence daemon has to be restarted for it.
    rm -f -- "$state/licence"
}

has_module() {
    modinfo -k "$kernel" nvidia >/dev/null 2>&1
}

# For a kernel that came after the driver.
rebuild_module() {
    report working "the driver is being built for the kernel $kernel"
    install_tools
    dkms autoinstall -k "$kernel" || true
    has_module ||
        fail "DKMS has not built the driver for the kernel $kernel, see /var/lib/dkms/nvidia"
    rm -f -- "$state/licence"
}

provide_driver() {
    local error
    if [[ -z $driver_url ]]; then
        has_module ||
            fail "the kernel $kernel has no module nvidia, and no driver to download was named"
    elif [[ $(cat "$state/driver" 2>/dev/null) != "$driver_sha256" ]]; then
        install_driver
    elif ! has_module; then
        if uses_dkms; then
            rebuild_module
        else
            install_driver
        fi
    fi
    if [[ ! -d $loaded/nvidia ]]; then
        error=$(modprobe nvidia 2>&1) ||
            fail "the module nvidia cannot be loaded: $(tail -n 1 <<<"$error")"
    fi
}

# Licence files that earlier instructions wrote, and that these do not have.
remove_old_licence() {
    local before
    before=$(cat "$state/kind" 2>/dev/null || echo no)
    if [[ $before == token && $licensed != token ]]; then
        rm -f -- "$nvidia/ClientConfigToken/client_configuration_token.tok"
    fi
    if [[ $before != no && $licensed == no ]]; then
        rm -f -- "$nvidia/gridd.conf" "$state/licence"
        systemctl try-restart nvidia-gridd || true
    fi
    printf '%s\n' "$licensed" >"$state/kind"
}

# What the licence daemon has to be restarted for: its files, or a new driver.
licence_files() {
    {
        cat "$nvidia/gridd.conf" "$nvidia"/ClientConfigToken/*.tok
        cat "$state/driver"
    } 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

provide_licence() {
    local now
    now=$(licence_files)
    if [[ $(cat "$state/licence" 2>/dev/null) != "$now" ]] ||
        ! systemctl is-active --quiet nvidia-gridd; then
        systemctl restart nvidia-gridd ||
            fail 'the service nvidia-gridd does not start, see journalctl -u nvidia-gridd'
        printf '%s\n' "$now" >"$state/licence"
    fi
    await_licence
}

# daemon_log: since the daemon was started; before, it was about another licence.
daemon_log() {
    local run_of_service
    run_of_service=$(systemctl show --property InvocationID --value nvidia-gridd)
    journalctl --quiet --output cat "_SYSTEMD_INVOCATION_ID=$run_of_service"
}

is_licensed() {
    local last
    last=$(daemon_log | grep -i -E 'licen[cs]e' |
        grep -i -E 'acquired|renewed|expired|lost|fail' | tail -n 1)
    if [[ -z $last ]]; then
        # The journal of a guest that runs for long has forgotten it.
        nvidia-smi -q 2>/dev/null | grep -q 'License Status *: Licensed'
    else
        [[ $last == *' successfully'* ]]
    fi
}

await_licence() {
    local end=$((SECONDS + licence_seconds)) last
    while :; do
        if is_licensed; then
            report ok 'the driver is installed and licensed'
            return
        fi
        ((SECONDS < end)) || break
        sleep 2
    done
    last=$(daemon_log | grep -i -E 'error|fail|expired' | tail -n 1)
    fail "no licence after $licence_seconds s: ${last:-nvidia-gridd says nothing of it}"
}

main() {
    trap '[[ -z $folder ]] || rm -rf -- "$folder"' EXIT
    trap 'fail "stopped before it was done; the next boot goes on with it"' TERM INT HUP
    read_settings
    install -d -m 0700 "$state" || fail "$state cannot be written"
    remove_old_licence
    provide_driver
    if [[ $licensed == no ]]; then
        report ok 'the driver is installed; no licence was asked for'
    else
        provide_licence
    fi
}

main
