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
"""The vendordata service with kolla-ansible, as an operator runs it."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import yaml

from tests import base
from tests.functional.fixtures import kolla, kolla_container

NAME = 'nova_vgpu_vendordata'
SERVICE = 'nova-vgpu-vendordata'
HOST = 'ctl01'
#: A token is a JSON web token; this is a text that is found again.
TOKEN = 'eyJhbGciOiJSUzI1NiJ9.c2VjcmV0LXRva2Vu.c2ln'  # noqa: S105
INVENTORY = f"""\
[nova-vgpu]
[nova-metadata]
{HOST}
[memcached]
{HOST}
[all:vars]
ansible_connection=local
ansible_become=false
"""
CUSTOM = """\
[vgpu_vendordata]
types = VGPU:V100DX-1Q

[vgpu_guest]
token_file = all.tok

# Nothing for them.
[vgpu_guest:trial]
domains = 9b1c7a4f2e6d4c8c8a53f1f0a7d1e6b2
token_file =

[vgpu_guest:physics]
projects = 3f0d6f6b0f8a4e0f9d1f1d9c1b3a2e55
token_file = physics.tok
"""
PASSWORDS = {
    'docker_registry_password': 'secret',
    'nova_keystone_password': 'nova-secret',
    'memcache_secret_key': 'memcache-secret',
}
SECONDS = 60.0


def free_port() -> int:
    """Find a port on which nothing listens."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port: int = found.getsockname()[1]
        return port


class KollaVendordataTest(base.TestCase):
    """Actions of ``kolla-ansible -p vgpu.yml`` for the service."""

    def setUp(self) -> None:
        super().setUp()
        self.kolla = self.useFixture(kolla.KollaHost())
        self.kolla.inventory.write_text(INVENTORY)
        self.node = self.kolla.node / SERVICE
        self.port = free_port()
        self.options = {
            'enable_nova_vgpu_vendordata': True,
            'nova_vgpu_vendordata_port': self.port,
            'kolla_internal_vip_address': '192.0.2.10',
            # Its own value needs a collection that Ansible has not.
            'kolla_same_external_internal_vip': True,
            'network_interface': 'lo',
        }
        self.write_options()
        (self.kolla.etc / 'passwords.yml').write_text(
            yaml.safe_dump(PASSWORDS)
        )
        self.custom = self.kolla.etc / 'config/nova-vgpu'
        self.secrets = self.custom / 'secrets'
        self.secrets.mkdir(parents=True)
        self.conf = self.custom / 'vendordata.conf'
        self.conf.write_text(CUSTOM)
        for name in ('all.tok', 'physics.tok'):
            self.write_token(name)

    def write_options(self) -> None:
        """Write the options of a file of globals.d."""
        path = self.kolla.etc / 'globals.d/site.yml'
        path.write_text(yaml.safe_dump(self.options))

    def write_token(self, name: str, more: str = '') -> pathlib.Path:
        """Write a file of a token."""
        path = self.secrets / name
        path.write_text(f'{TOKEN}{more}\n')
        path.chmod(0o600)
        return path

    def calls(self) -> list[list[str]]:
        """Take what the engine was asked to do."""
        found: list[list[str]] = self.kolla.state()['calls']
        self.kolla.change(calls=[])
        return found

    def succeed(
        self, action: str, *arguments: str, playbook: str = 'vgpu.yml'
    ) -> kolla.Outcome:
        """Run kolla-ansible, which must succeed and show no secret."""
        outcome = self.kolla.run(action, *arguments, playbook=playbook)
        self.assertEqual(0, outcome.code, outcome.output)
        for secret in (TOKEN, *PASSWORDS.values()):
            if secret != 'secret':  # noqa: S105
                self.assertNotIn(secret, outcome.output)
        return outcome

    def refuse(self, action: str, *texts: str) -> None:
        """Find errors, and that nothing on the host is changed."""
        outcome = self.kolla.run(action)
        self.assertNotEqual(0, outcome.code, outcome.output)
        for text in texts:
            self.assertIn(text, outcome.output)
        self.assertNotIn(TOKEN, outcome.output)
        self.assertEqual([], self.calls())
        self.assertFalse(self.node.exists())

    def test_refused(self) -> None:
        """What the operator has to mend is named, and nothing is changed."""
        self.write_token('all.tok').chmod(0o644)
        self.refuse(
            'deploy',
            f'{self.secrets}/all.tok: found mode 0644, expected that only '
            f'its owner can use it. chmod 600 {self.secrets}/all.tok',
        )
        (self.secrets / 'physics.tok').unlink()
        self.refuse(
            'prechecks',
            f'{self.conf} has token_file = physics.tok, expected the name of',
        )
        self.conf.write_text(f'{CUSTOM}[vgpu-guest:x]\n[Nova]\n')
        self.refuse(
            'reconfigure',
            f'{self.conf}: found [vgpu-guest:x], [Nova], expected [vgpu_gue',
        )
        self.conf.unlink()
        self.refuse('upgrade', f'There is no {self.conf}, which says what')

    def test_requirements(self) -> None:
        """Missing variables and groups are named."""
        (self.kolla.etc / 'passwords.yml').write_text('{}\n')
        self.refuse(
            'deploy',
            'Missing for nova-vgpu-vendordata: memcache_secret_key, '
            'nova_keystone_password. This release',
        )
        (self.kolla.etc / 'passwords.yml').write_text(
            yaml.safe_dump(PASSWORDS)
        )
        self.kolla.inventory.write_text(
            INVENTORY.replace('[nova-metadata]', '[nova-api]')
        )
        self.refuse('deploy', 'The inventory has no group nova-metadata (nov')

    def test_prechecks(self) -> None:
        """The port is free; who does not let Nova ask is told so."""
        outcome = self.succeed('prechecks')
        self.assertIn('WARNING: vendordata_dynamic_targets is', outcome.output)
        self.assertEqual(0, outcome.count('changed', HOST), outcome.output)
        custom = self.kolla.etc / 'config/nova'
        custom.mkdir()
        (custom / 'nova-metadata.conf').symlink_to(
            kolla.CONFIGS / 'config/nova/nova-metadata.conf'
        )
        with socket.create_server(('127.0.0.1', self.port)):
            outcome = self.kolla.run('prechecks')
        self.assertNotEqual(0, outcome.code)
        self.assertIn(f'on 127.0.0.1:{self.port} already.', outcome.output)
        self.assertNotIn('vendordata_dynamic_targets', outcome.output)
        self.assertFalse(self.node.exists())

    def test_off(self) -> None:
        """Who does not ask for it gets nothing of it."""
        del self.options['enable_nova_vgpu_vendordata']
        self.write_options()
        outcome = self.succeed('deploy')
        self.assertNotIn('[nova_vgpu_vendordata', outcome.output)
        self.assertEqual([], self.calls())
        self.assertFalse(self.node.exists())

    def test_life(self) -> None:
        """From a deployment to the removal."""
        self.succeed('pull')
        self.assertEqual([['pull', f'{kolla.IMAGE}:1.0']], self.calls())
        self.succeed('deploy', '--diff', '-vvv')
        self.assertEqual([['create', NAME], ['start', NAME]], self.calls())
        self.check_container()
        self.check_host('all.tok', 'physics.tok')
        outcome = self.succeed('deploy')
        self.assertEqual(0, outcome.count('changed', HOST), outcome.output)
        self.assertEqual([], self.calls())

        # In the container the files are the user's that the service runs as.
        container = kolla_container.Container(self.temp_dir(), self.node)
        self.assertEqual(0, self.copy(container))
        self.assertEqual(0, self.copy(container, '--check'))
        self.check_files(container.etc)

        self.write_token('all.tok', '2')
        self.conf.write_text(CUSTOM.partition('[vgpu_guest:physics]')[0])
        (self.secrets / 'physics.tok').unlink()
        # Its client is in kolla's images, and not here.
        self.options['enable_memcached'] = False
        self.write_options()
        self.succeed('reconfigure', '--diff')
        self.assertEqual([['restart', NAME], ['start', NAME]], self.calls())
        self.check_host('all.tok')
        self.assertNotEqual(0, self.copy(container, '--check'))
        self.assertEqual(0, self.copy(container))
        self.assertEqual(['all.tok'], os.listdir(container.etc / 'secrets'))
        self.check_service(container)

        self.succeed('upgrade', '-e', 'openstack_tag=2.0')
        self.assertEqual(
            ['pull', 'stop', 'remove', 'create', 'start'],
            [call[0] for call in self.calls()],
        )
        self.succeed('stop', '--yes-i-really-really-mean-it')
        self.assertEqual([['stop', NAME]], self.calls())
        for changed in (2, 0):
            outcome = self.succeed(
                *('deploy', '--limit', 'nova-metadata'),
                playbook='vgpu-remove.yml',
            )
            self.assertEqual(changed, outcome.count('changed', HOST))
            self.assertEqual({}, self.kolla.state()['containers'])
            self.assertFalse(self.node.exists())

    def copy(
        self, container: kolla_container.Container, *arguments: str
    ) -> int:
        """Let kolla copy the files, which shows no token."""
        done = container.copy(*arguments)
        self.assertNotIn('Traceback', done.stderr)
        self.assertNotIn(TOKEN, done.stdout + done.stderr)
        return done.returncode

    def check_container(self) -> None:
        """It sees its configuration and its log, and has no privileges."""
        container = self.kolla.state()['containers'][NAME]
        config = container['HostConfig']
        self.assertEqual(
            (False, None, 'host'),
            (config['Privileged'], config['PidMode'], config['NetworkMode']),
        )
        self.assertEqual(
            {
                f'{self.node}/:/var/lib/kolla/config_files/:ro',
                'kolla_logs:/var/log/kolla/:rw',
                '/etc/localtime:/etc/localtime:ro',
                '/own:/own:rw',
            },
            set(config['Binds']),
        )
        self.assertEqual(
            [
                'CMD-SHELL',
                f'healthcheck_curl http://127.0.0.1:{self.port}/healthcheck',
            ],
            container['Config']['Healthcheck']['Test'],
        )

    def check_host(self, *tokens: str) -> None:
        """Nobody else can read what is secret."""
        secrets = self.node / 'secrets'
        self.assertEqual(sorted(tokens), sorted(os.listdir(secrets)))
        self.check_modes(
            {secrets: 0o700, self.node / 'vendordata.conf': 0o600}
            | {secrets / name: 0o600 for name in tokens}
        )

    def check_modes(self, modes: dict[pathlib.Path, int]) -> None:
        """Compare the modes of files."""
        found = {path: path.stat().st_mode & 0o777 for path in modes}
        self.assertEqual(modes, found)

    def check_files(self, etc: pathlib.Path) -> None:
        """The operator's sections stand beside those of kolla-ansible."""
        conf = etc / 'vendordata.conf'
        self.check_modes(
            {
                conf: 0o600,
                etc / 'secrets': 0o700,
                etc / 'secrets/all.tok': 0o600,
                etc / 'secrets/physics.tok': 0o600,
            }
        )
        text = conf.read_text('utf-8')
        for line in (
            'auth_url = http://192.0.2.10:5000',
            'password = nova-secret',
            'memcached_servers = 127.0.0.1:11211',
            'token_file = physics.tok',
            'types = VGPU:V100DX-1Q',
        ):
            self.assertIn(f'\n{line}\n', text)
        self.assertRegex(text, r'\[vgpu_guest:trial\]\n.*\ntoken_file =\n')

    def check_service(self, container: kolla_container.Container) -> None:
        """It starts with these files, and ``check`` hears of it."""
        outcome = self.kolla.run('check')
        self.assertNotEqual(0, outcome.code)
        self.assertIn(
            f'http://127.0.0.1:{self.port}/healthcheck on {HOST}: ',
            outcome.output,
        )
        process = container.start()
        try:
            self.wait(process)
            outcome = self.succeed('check')
            self.assertEqual(0, outcome.count('changed', HOST))
            request = urllib.request.Request(
                f'http://127.0.0.1:{self.port}/', data=b'{}'
            )
            error = self.assertRaises(
                urllib.error.HTTPError,
                urllib.request.urlopen,
                request,
                timeout=SECONDS,
            )
            self.addCleanup(error.close)
            self.assertEqual(401, error.code)
            # As in most other services of kolla.
            self.assertEqual(
                'Keystone uri="http://192.0.2.10:5000"',
                error.headers['WWW-Authenticate'],
            )
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=SECONDS)
        self.assertNotIn(TOKEN, errors)

    def wait(self, process: subprocess.Popen[str]) -> None:
        """Wait until the service listens."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if process.poll() is not None:
                _, errors = process.communicate()
                self.fail(f'the service has ended: {errors}')
            try:
                socket.create_connection(('127.0.0.1', self.port)).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.fail('the service does not listen')
