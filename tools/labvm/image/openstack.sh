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
# Runs in the guest's tree while it is made: Nova, and what this project needs,
# in one virtual environment that finds Debian's libvirt module too.
set -eu

cd /lab
python3 -m venv --system-site-packages /opt/openstack
/opt/openstack/bin/pip install --no-cache-dir --prefer-binary --quiet \
    --no-compile -c test-requirements.txt -r requirements.txt \
    nova SQLAlchemy pbr setuptools wheel

# The project itself comes on a disk of its own.
site=$(/opt/openstack/bin/python -c \
    'import sysconfig; print(sysconfig.get_path("purelib"))')
echo /opt/nova-vgpu-ext/lib >"$site/nova-vgpu-ext.pth"

# The times of files change on their way to the disk, where bytecode would be
# stale. Some packages have files that are not for this Python.
/opt/openstack/bin/python -m compileall -q \
    --invalidation-mode unchecked-hash "$site" || true
