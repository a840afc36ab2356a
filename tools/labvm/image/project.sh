#!/bin/sh
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
# Runs in the guest's tree: builds /lab/source into /opt/nova-vgpu-ext.
set -eu

PBR_VERSION=0.0.0 /opt/openstack/bin/pip install --quiet --no-deps \
    --no-index --no-build-isolation --target /opt/nova-vgpu-ext/lib \
    /lab/source

cp -r /lab/source/devstack/vgpu_sim /opt/nova-vgpu-ext/vgpu_sim
cp -r /opt/nova-vgpu-ext/vgpu_sim /lab/vgpu_sim
for kernel in /lib/modules/*/build; do
    make -C /lab/vgpu_sim KDIR="$kernel"
done
cp /lab/vgpu_sim/vgpu_sim.ko /opt/nova-vgpu-ext/vgpu_sim/
cp -r /lab/source/etc /opt/nova-vgpu-ext/
