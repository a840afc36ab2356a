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
"""devstack's plugin, with a kernel, libvirt, systemd and Placement.

devstack itself is not there: ``tests/devstack`` calls the plugin as its
scripts do. What is asked of ``openstack`` is written down only.
"""

from __future__ import annotations

import configparser
import io
import pathlib
import subprocess
import tarfile

from testtools import content

from tests.lab import base, test_guests
from tools.labvm import host, images

DEST = '/opt/stack'
TOP_DIR = f'{DEST}/devstack'
BIN = f'{DEST}/data/venv/bin'
CPU_CONF = '/etc/nova/nova-cpu.conf'
UNITS = ('nova-vgpu-prepare.service', 'devstack@vgpu-agent.service')
GUEST = 'instance-00000001'
MDEV = test_guests.MDEV

#: A machine with a user of devstack's, and without a GPU.
_PREPARE = f"""\
modprobe -r vgpu_sim && mv /etc/modprobe.d/vgpu_sim.conf /root/ || exit 1
useradd --create-home --shell /bin/bash stack
echo 'stack ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/stack
tar -x --no-same-owner -C {DEST} && mkdir {TOP_DIR}/bin {DEST}/data || exit 1
cat >{TOP_DIR}/bin/openstack <<'TEXT'
#!/bin/sh
printf '%s\\n' "$*" >>{TOP_DIR}/openstack.log
TEXT
chmod 755 {TOP_DIR}/bin/openstack
{base.PYTHON} -m venv --without-pip --system-site-packages {DEST}/data/venv
echo {base.PYTHON.removesuffix('bin/python')}lib/python3.11/site-packages \\
    >{DEST}/data/venv/lib/python3.11/site-packages/openstack.pth
chown -R stack {DEST}
"""

_RESTORE = f"""\
for unit in {' '.join(UNITS)}; do
    systemctl disable --now --quiet $unit
    rm -f /etc/systemd/system/$unit
done
systemctl daemon-reload
modprobe -r vgpu_sim
rm -rf {DEST}/* /etc/nova /etc/sudoers.d/stack /etc/libvirt/hooks/qemu.d
rm -f /etc/modprobe.d/nova-vgpu-ext.conf /etc/modules-load.d/nova-vgpu-ext.conf
userdel --remove stack
find /lib/modules -name vgpu_sim.ko -delete
depmod -a
ln -sf /opt/nova-vgpu-ext/vgpu_sim/sriov-manage /usr/lib/nvidia/
mv /root/vgpu_sim.conf /etc/modprobe.d/ && modprobe vgpu_sim hosts=v100x8
systemctl restart libvirtd
"""

#: Prints what the plugin has left on the host.
_LEFT = f"""\
ls -d /sys/module/vgpu_sim /etc/libvirt/hooks/qemu.d/nova-vgpu
ls /sys/bus/mdev/devices
find /etc/mdevctl.d -name '*-*-*-*-*'
ls -d /etc/modprobe.d/nova* /etc/modules-load.d/nova* {DEST}/data/vgpu_sim
ls -d /var/lib/nova-vgpu-ext /usr/lib/nvidia/sriov-manage {BIN}/nova-vgpu
find /lib/modules -name 'vgpu_sim.ko*'
find /etc/systemd -name '*nova-vgpu*' -o -name '*vgpu-agent*'
systemctl list-units --all --plain --no-legend '*vgpu-agent*' '*vgpu-prep*'
virsh list --all --name
lspci -d 10de:
true
"""

_LOCALRC = """\
enable_plugin nova-vgpu-ext https://example.org/nova-vgpu-ext
VGPU_SIM_GPUS=v100-sxm2-32gb@0000:88:00.0,v100-sxm2-32gb@0000:89:00.0
VGPU_TYPES="nvidia-194 nvidia-196=0000:89:00.0"
"""


class DevstackTest(base.LabTestCase):
    """Every phase of the plugin."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.with_placement()
        self.addCleanup(self.guest.try_run, _RESTORE)
        self.guest.run(f'mkdir -p {DEST}')
        archive = self.temp_dir() / 'sources.tar'
        archive.write_bytes(_sources(self.server.config_text()))
        self.guest.machine.copy([str(archive)], 'guest:/root/sources.tar')
        self.guest.run(f'({_PREPARE}) </root/sources.tar')

    def devstack(self, mode: str) -> tuple[int, str]:
        """Run one of devstack's scripts; give its status and errors."""
        code, out, err = self.guest.try_run(
            f'runuser -l stack -c "{TOP_DIR}/devstack {mode}"', seconds=400
        )
        self.addDetail(f'devstack {mode}', content.text_content(out + err))
        return code, err

    def conf(self, path: str) -> configparser.ConfigParser:
        """Read a file of options; the last of several values is taken."""
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read_string(self.guest.run(f'cat {path}'))
        return parser

    def stack(self) -> None:
        """Run stack.sh, which must succeed."""
        self.assertEqual(0, self.devstack('stack')[0])

    def totals(self) -> list[int]:
        """Give the total of each GPU, as Placement has them."""
        return sorted(
            provider.totals['VGPU']
            for provider in self.server.providers().values()
            if provider.parent_uuid
        )

    def test_there_and_back(self) -> None:
        """stack.sh, a guest, unstack.sh and clean.sh."""
        self.stack()
        self.check_stacked()
        self.start_guest()
        self.devstack('unstack')
        self.check_unstacked()
        self.devstack('clean')
        self.assertEqual([], self.left())

    def check_stacked(self) -> None:
        """GPUs, configuration, services, Placement, flavors and tempest."""
        self.assertEqual(2, len(self.guest.run('lspci -d 10de:').split('\n')))
        check = f'{BIN}/nova-vgpu --config-file {CPU_CONF} config check'
        self.assertIn('no findings', self.guest.try_run(check)[2])
        conf = self.conf(CPU_CONF)
        self.assertEqual(
            'nvidia-194,nvidia-196', conf['devices']['enabled_mdev_types']
        )
        self.assertEqual(
            '0000:89:00.0',
            conf['mdev_nvidia-196']['device_addresses'],
        )
        self.guest.run('test -x /etc/libvirt/hooks/qemu.d/nova-vgpu')
        for unit in UNITS:
            self.guest.run(
                f'systemctl is-active {unit} && systemctl is-enabled {unit}'
            )
        self.assertEqual([8, 32], self.totals())
        self.check_flavors()
        self.check_tempest()

    def check_flavors(self) -> None:
        """They are asked for."""
        self.assertIn(
            'vgpu flavor sync',
            self.guest.run(f'tail -n 1 {TOP_DIR}/openstack.log'),
        )

    def check_tempest(self) -> None:
        """Several types are tested."""
        conf = self.conf(f'{DEST}/tempest/etc/tempest.conf')
        self.assertEqual(
            {
                'vgpu_vendor_id': '10de',
                'vgpu_type_mapping': 'CUSTOM_NVIDIA_194:nvidia-194,'
                'CUSTOM_NVIDIA_196:nvidia-196',
            },
            dict(conf['whitebox-hardware']),
        )
        provider = self.server.provider(f'{base.NODE}_pci_0000_89_00_0')
        self.assertIn('CUSTOM_NVIDIA_196', provider.traits)

    def start_guest(self) -> None:
        """Start one of Nova's, with a vGPU that whitebox-tempest can name."""
        self.guest.run(
            f'echo {MDEV} >/sys/bus/pci/devices/0000:89:00.0/'
            'mdev_supported_types/nvidia-196/create; udevadm settle'
        )
        self.define_domain(GUEST, test_guests.HOSTDEV.format(mdev=MDEV))
        self.guest.run(f'virsh start {GUEST}')
        # The words of its test of several types.
        self.assertEqual(
            'nvidia-196',
            self.guest.run(
                f'ls -al /sys/bus/mdev/devices/{MDEV}/ | '
                "awk -F'/' '/mdev_type/ {print $3}'"
            ),
        )

    def left(self) -> list[str]:
        """List what the plugin has left on the host."""
        left = self.guest.run(f'({_LEFT}) 2>/dev/null').splitlines()
        return [line for line in left if line]

    def check_unstacked(self) -> None:
        """Only files are left, and nothing of them is used."""
        left = self.left()
        module = next(line for line in left if line.endswith('/vgpu_sim.ko'))
        self.assertEqual(
            {
                module,
                f'{BIN}/nova-vgpu',
                f'{DEST}/data/vgpu_sim',
                '/etc/modprobe.d/nova-vgpu-ext.conf',
                '/etc/modules-load.d/nova-vgpu-ext.conf',
                '/usr/lib/nvidia/sriov-manage',
                '/var/lib/nova-vgpu-ext',
            },
            set(left),
        )
        self.assertEqual([], self.totals())


def _sources(placement_conf: str) -> bytes:
    """Give an archive of the checkout, and of the scripts beside it."""
    command = [host.program('git'), '-C', str(images.ROOT), 'ls-files']
    listed = subprocess.run(  # noqa: S603
        [*command, '--cached', '--others', '--exclude-standard'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode='w') as archive:
        for name in listed:
            if (images.ROOT / name).is_file():
                archive.add(images.ROOT / name, f'nova-vgpu-ext/{name}')
        for path in pathlib.Path(images.ROOT, 'tests/devstack').iterdir():
            archive.add(path, f'devstack/{path.name}')
        for name, text in (
            ('nova.conf', f'[libvirt]\nvirt_type = qemu\n{placement_conf}'),
            ('localrc', _LOCALRC),
        ):
            info = tarfile.TarInfo(f'devstack/{name}')
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return output.getvalue()
