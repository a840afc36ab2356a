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
# Makes the guest's disk of its tree; under fakeroot, so that files belong to
# whom they should.
#
# usage: root.sh TREE.TAR OVERLAY PUBLIC_KEY OUTPUT_FOLDER
set -eu
umask 022

tree=$4/tree
mkdir "$tree"
tar -xf "$1" -C "$tree"
cp -r "$2/." "$tree"
mkdir -p "$tree/root/.ssh"
chmod 700 "$tree/root/.ssh"
cp "$3" "$tree/root/.ssh/authorized_keys"
chmod 600 "$tree/root/.ssh/authorized_keys"
: >"$tree/etc/machine-id"
mkdir -p "$tree/dev" "$tree/opt/nova-vgpu-ext" "$tree/usr/lib/nvidia"

want() {
    mkdir -p "$tree/etc/systemd/system/$2.wants"
    ln -s "$1" "$tree/etc/systemd/system/$2.wants/"
}
want /lib/systemd/system/systemd-networkd.service multi-user.target
want /etc/systemd/system/vgpu-sim.service multi-user.target

# What only takes time here. libvirt-guests would wait minutes at a shutdown
# for guests without an operating system; Nova's hosts do without it.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    libvirt-guests.service systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done

for program in nova-vgpu nova-vgpu-agent; do
    ln -s "/opt/nova-vgpu-ext/lib/bin/$program" "$tree/usr/bin/$program"
done
ln -s /opt/nova-vgpu-ext/vgpu_sim/sriov-manage "$tree/usr/lib/nvidia/"
# Debian 12's udev rule for mdevctl names this path.
test -e "$tree/usr/sbin/mdevctl" || ln -s ../bin/mdevctl "$tree/usr/sbin/"

cp "$tree"/boot/vmlinuz-* "$4/vmlinuz"
cp "$tree"/boot/initrd.img-* "$4/initrd"
chmod 644 "$4/vmlinuz" "$4/initrd"
cp "$tree/etc/ssh/ssh_host_ed25519_key.pub" "$4/host_key.pub"
mke2fs -q -t ext4 -E lazy_itable_init=1 -d "$tree" "$4/root.ext4" 16G
rm -rf "$tree"
