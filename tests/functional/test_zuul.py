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
"""What Zuul would run is there, and is what .ci/run runs."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from typing import Any

import yaml

import nova_vgpu_ext
from tests import base

ROOT = pathlib.Path(nova_vgpu_ext.__file__).parents[1]
SECONDS = 60
#: What --all of tools/test stands for.
ALL = {'--lint', '--unit', '--functional', '--docs'}


def output(*command: str) -> str:
    """Run a program in the checkout, and give what it said."""
    done = subprocess.run(  # noqa: S603
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f'{command}: {done.stdout}{done.stderr}')
    return done.stdout


class ZuulTest(base.TestCase):
    """The jobs, their playbooks and what these call."""

    def setUp(self) -> None:
        super().setUp()
        items = yaml.safe_load((ROOT / '.zuul.yaml').read_text())
        self.jobs = {x['job']['name']: x['job'] for x in items if 'job' in x}
        (self.project,) = (x['project'] for x in items if 'project' in x)

    def value(self, job: dict[str, Any], name: str) -> Any:
        """Give a variable of a job, which may be one of its parent."""
        found = job.get('vars', {}).get(name)
        if found is None and job['parent'] in self.jobs:
            return self.value(self.jobs[job['parent']], name)
        return found

    def test_jobs(self) -> None:
        """Each one that runs exists, and each that exists runs."""
        concrete = {
            name for name, job in self.jobs.items() if not job.get('abstract')
        }
        for pipeline in ('check', 'gate'):
            self.assertEqual(concrete, set(self.project[pipeline]['jobs']))
        for job in self.jobs.values():
            self.assertIn(job['parent'], {'base', *self.jobs})

    def test_playbooks(self) -> None:
        """Ansible reads them; the script that they call is there."""
        for job in self.jobs.values():
            for name in ('pre-run', 'run'):
                if name in job:
                    self.check_playbook(job[name])

    def check_playbook(self, path: str) -> None:
        """Check one playbook."""
        ansible = pathlib.Path(sys.executable).with_name('ansible-playbook')
        output(str(ansible), '--syntax-check', '-i', 'localhost,', path)
        for script in re.findall(r"'(tools/\w+)'", (ROOT / path).read_text()):
            self.assertTrue((ROOT / script).exists(), script)

    def test_options(self) -> None:
        """They are those of tools/test, and together those of .ci/run."""
        usage = output('tools/test', '--help')
        profiles = set(
            re.findall(r'\[.*?(\w+)\]', (ROOT / 'bindep.txt').read_text())
        )
        seen = set()
        for name, job in self.jobs.items():
            self.assertLessEqual(
                set(self.value(job, 'bindep_profile').split()), profiles
            )
            if not job.get('abstract'):
                options = self.value(job, 'test_options')
                for option in options:
                    self.assertIn(f'\n  {option} ', usage, name)
                seen.update(options)
        asked = set(
            re.findall(r'/tools/test" (--\w+)', (ROOT / '.ci/run').read_text())
        )
        if '--all' in asked:
            asked = asked - {'--all'} | ALL
        # Published with tox, as for any project of OpenStack.
        for template, environment in (
            ('publish-openstack-docs-pti', 'docs'),
            ('release-notes-jobs-python3', 'releasenotes'),
        ):
            self.assertIn(template, self.project['templates'])
            self.assertIn(
                f'[testenv:{environment}]', (ROOT / 'tox.ini').read_text()
            )
        self.assertEqual(asked, seen)
