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
# devstack sources this file with the phase as its arguments.

# shellcheck source=devstack/lib/checks
source "$VGPU_DIR/devstack/lib/checks"
# shellcheck source=devstack/lib/gpus
source "$VGPU_DIR/devstack/lib/gpus"
# shellcheck source=devstack/lib/host
source "$VGPU_DIR/devstack/lib/host"
# shellcheck source=devstack/lib/nova
source "$VGPU_DIR/devstack/lib/nova"
# shellcheck source=devstack/lib/tempest
source "$VGPU_DIR/devstack/lib/tempest"

function vgpu_install {
    echo_summary "Installing nova-vgpu-ext"
    setup_develop "$VGPU_DIR" osc
    if is_service_enabled n-cpu; then
        # libvirt makes mediated devices through it.
        install_package mdevctl
    fi
    if is_service_enabled n-cpu && [[ $VGPU_GPUS == sim ]]; then
        echo_summary "Making simulated GPUs"
        vgpu_sim_install
        vgpu_sim_load
    fi
}

# Before any service of Nova is started.
function vgpu_configure {
    echo_summary "Configuring vGPUs"
    if is_service_enabled n-cpu; then
        vgpu_configure_compute
        vgpu_prepare
        vgpu_configure_pci
        vgpu_check_config
        if [[ $(trueorfalse True VGPU_HOOK) == True ]]; then
            vgpu_install_hook
        fi
    fi
    if is_service_enabled n-sch && [[ $(trueorfalse True VGPU_SCHEDULER) == True ]]; then
        vgpu_configure_scheduler
    fi
}

# Once they run.
function vgpu_start {
    if is_service_enabled n-cpu; then
        echo_summary "Starting vGPU services"
        vgpu_install_prepare
        vgpu_report
        vgpu_start_agent
    fi
    if is_service_enabled n-api && [[ $(trueorfalse True VGPU_FLAVORS) == True ]]; then
        echo_summary "Creating vGPU flavors"
        vgpu_create_flavors
    fi
}

# The guests end here, because devstack ends them only later. Placement knows
# of GPUs since the services were installed.
function vgpu_unstack {
    local reported=False
    if is_service_enabled n-cpu; then
        echo_summary "Removing vGPUs"
        if [[ -e $VGPU_PREPARE_UNIT ]]; then
            reported=True
        fi
        vgpu_stop_services
        vgpu_end_guests
        vgpu_remove_mdevs
        if [[ $VGPU_GPUS == sim ]]; then
            vgpu_sim_unload
        fi
        if [[ $reported == True ]]; then
            vgpu_remove_providers
        fi
        vgpu_remove_hook
    fi
}

function vgpu_clean {
    if is_service_enabled n-cpu; then
        vgpu_sim_remove
        sudo rm -rf /var/lib/nova-vgpu-ext
    fi
    pip_uninstall nova-vgpu-ext
}

case "$1 ${2:-}" in
    'stack pre-install') vgpu_check_settings ;;
    'stack install') vgpu_install ;;
    'stack post-config') vgpu_configure ;;
    'stack extra') vgpu_start ;;
    'stack test-config')
        if is_service_enabled tempest; then
            vgpu_configure_tempest
        fi
        ;;
    'unstack '*) vgpu_unstack ;;
    'clean '*) vgpu_clean ;;
esac
