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
# kolla_start reads this before it starts the service of the container, as root.
# What fails here is in the container's log, and nova-vgpu doctor shows it; the
# agent starts anyway.

case ${CMD:-} in
    *nova-vgpu-vendordata*)
        # It logs as this user, and has nothing to do with the host's GPUs.
        install -d -o nova -g nova /var/log/kolla/nova
        ;;
    *)
        mkdir -p /var/log/kolla/nova

        # The hook of this version, where the folder is the host's.
        nova-vgpu hook install || true

        # After a change of nova.conf there may be virtual functions to enable, or
        # types to set. At boot nova-vgpu-prepare.service has done it, before
        # nova-compute.
        nova-vgpu prepare || true
        ;;
esac
