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
"""The files of the roles for kolla-ansible, as other programs read them."""

from __future__ import annotations

import os
import subprocess
import sys

import jinja2

from tests import base, systemd
from tests.functional.fixtures import kolla

PREPARE = 'nova-vgpu-prepare.service'
ROLE = kolla.CONFIGS / 'ansible/roles/nova_vgpu'


class LintTest(base.TestCase):
    """What ansible-lint says of the role and the playbooks."""

    def test_lint(self) -> None:
        """It finds nothing, by its strictest profile."""
        host = self.useFixture(kolla.KollaHost())
        programs = os.path.dirname(sys.executable)
        done = subprocess.run(  # noqa: S603
            [
                os.path.join(programs, 'ansible-lint'),
                *('--offline', '--nocolor', '--profile', 'production'),
                *('--project-dir', str(kolla.CONFIGS / 'ansible'), '--strict'),
                *('vgpu.yml', 'vgpu-remove.yml'),
                *('roles/nova_vgpu', 'roles/nova_vgpu_vendordata'),
            ],
            cwd=kolla.CONFIGS / 'ansible',
            env={
                'PATH': f'{programs}:{os.environ["PATH"]}',
                'HOME': str(host.folder),
                'ANSIBLE_HOME': str(host.folder),
                'ANSIBLE_LIBRARY': str(kolla.INSTALLED / 'library'),
                'ANSIBLE_FILTER_PLUGINS': str(
                    kolla.INSTALLED / 'filter_plugins'
                ),
                'ANSIBLE_ROLES_PATH': str(kolla.INSTALLED / 'roles'),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        self.assertIn('Passed: 0 failure(s), 0 warning(s)', done.stderr)


class UnitTest(base.TestCase):
    """The unit that runs at boot, for both engines."""

    def test_verify(self) -> None:
        """systemd understands it, and nova-compute waits for it."""
        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(ROLE / 'templates'),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            autoescape=False,  # noqa: S701
        )
        for engine in ('docker', 'podman'):
            text = templates.get_template(f'{PREPARE}.j2').render(
                kolla_container_engine=engine,
                node_config_directory='/etc/kolla',
                container_config_directory='/var/lib/kolla/config_files',
                nova_vgpu_host_volumes=[
                    '/run/libvirt:/run/libvirt',
                    '/a:/a:ro',
                ],
                service={'image': f'{kolla.IMAGE}:1.0'},
            )
            self.assertIn(
                '\nBefore=kolla-nova_compute-container.service\n', text
            )
            self.assertEqual(
                engine == 'docker', 'Requires=docker.service' in text
            )
            folder = self.temp_dir()
            path = folder / PREPARE
            path.write_text(text.replace(f'/usr/bin/{engine}', '/bin/true'))
            (folder / 'docker.service').write_text(
                '[Service]\nExecStart=/bin/true\n'
            )
            done = systemd.analyze(
                'verify', str(path), SYSTEMD_UNIT_PATH=f'{folder}:'
            )
            self.assertEqual((0, ''), (done.returncode, done.stderr))
