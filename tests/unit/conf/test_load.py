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
"""Reading configuration files, and refusing what cannot be read."""

from __future__ import annotations

import builtins
import errno
import os
from typing import Any

import testtools.matchers
from oslo_config import cfg

from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import load, scheduler
from tests import base

ONE_TYPE = '[devices]\nenabled_mdev_types = nvidia-194\n'


class LoadTest(base.TestCase):
    """Several files and folders make one configuration."""

    def test_later_files_win(self) -> None:
        """A later file replaces an earlier one, option by option."""
        first = self.write_conf(
            '[devices]\nenabled_mdev_types = nvidia-194\n'
            '[vgpu]\nnode_name = first\nsysfs_root = /first\n'
        )
        second = self.write_conf('[vgpu]\nnode_name = second\n')
        conf = load.load([first, second])
        self.assertEqual('second', conf.vgpu.node_name)
        self.assertEqual('/first', conf.vgpu.sysfs_root)
        self.assertEqual(['nvidia-194'], conf.devices.enabled_mdev_types)
        conf = load.load([second, first])
        self.assertEqual('first', conf.vgpu.node_name)

    def test_folders_come_after_files_in_order(self) -> None:
        """A folder's *.conf files are read by name, after the files."""
        folder = self.temp_dir()
        for name, node in (('20.conf', 'b'), ('10.conf', 'a'), ('x', 'no')):
            (folder / name).write_text(f'[vgpu]\nnode_name = {node}\n')
        main = self.write_conf('[vgpu]\nnode_name = main\n')
        conf = load.load([main], [str(folder)])
        self.assertEqual('b', conf.vgpu.node_name)

    def test_a_folder_alone_is_enough(self) -> None:
        """Without files, given folders are all that is read."""
        folder = self.temp_dir()
        (folder / 'vgpu.conf').write_text(ONE_TYPE)
        conf = load.load((), [str(folder)])
        load.require_files(conf)
        self.assertEqual(['nvidia-194'], conf.devices.enabled_mdev_types)
        self.assertEqual([], conf.config_file)

    def test_nova_conf_is_found_in_its_usual_places(self) -> None:
        """Without arguments ~/.nova/nova.conf and nova-compute.conf count."""
        home = self.temp_dir()
        (home / '.nova').mkdir()
        (home / '.nova' / 'nova.conf').write_text(
            '[vgpu]\nnode_name = nova\nsysfs_root = /one\n'
        )
        (home / '.nova' / 'nova-compute.conf').write_text(
            '[vgpu]\nnode_name = compute\n'
        )
        self.useFixture(base.fixtures.EnvironmentVariable('HOME', str(home)))
        conf = load.load()
        load.require_files(conf)
        self.assertEqual('compute', conf.vgpu.node_name)
        self.assertEqual('/one', conf.vgpu.sysfs_root)

    def test_two_configurations_do_not_mix(self) -> None:
        """Each load has options of its own; the global ones stay empty."""
        one = load.load([self.write_conf('[vgpu]\nnode_name = one\n')])
        two = load.load([self.write_conf('[vgpu]\nnode_name = two\n')])
        load.devices_config(one)
        self.assertEqual('one', one.vgpu.node_name)
        self.assertEqual('two', two.vgpu.node_name)
        self.assertNotIn('vgpu', cfg.CONF)


class RefusedTest(base.TestCase):
    """Each file that cannot be used gives one line that names it."""

    def _refused(self, *args: Any) -> exception.ConfigError:
        error = self.assertRaises(exception.ConfigError, load.load, *args)
        self.assertNotIn('\n', str(error))
        self.assertNotEqual('', error.remedy)
        return error

    def test_missing_file(self) -> None:
        """The path that was given is named."""
        path = str(self.temp_dir() / 'nova.conf')
        error = self._refused([self.write_conf(ONE_TYPE), path])
        self.assertEqual(path, error.option)
        self.assertEqual('no such file', error.found)

    def test_missing_folder(self) -> None:
        """So is a folder."""
        path = str(self.temp_dir() / 'conf.d')
        error = self._refused((), [path])
        self.assertEqual(path, error.option)
        self.assertIn('folder', error.found)
        self.assertIn('folder', error.expected)

    def test_a_folder_in_place_of_a_file(self) -> None:
        """A folder is no file."""
        path = str(self.temp_dir())
        error = self._refused([path])
        self.assertEqual(path, error.option)
        self.assertIn('directory', error.found)

    def test_a_file_in_place_of_a_folder(self) -> None:
        """oslo.config alone would read it as a folder without files."""
        path = self.write_conf(ONE_TYPE)
        error = self._refused((), [path])
        self.assertEqual(path, error.option)
        self.assertIn('no folder', error.found)

    def test_unreadable_file(self) -> None:
        """Permission denied is told apart from missing.

        Injected at open(), for the tests may run as root.
        """
        path = self.write_conf(ONE_TYPE)
        real = builtins.open

        def refuse(file: Any, *args: Any, **kwargs: Any) -> Any:
            if file == path:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), file)
            return real(file, *args, **kwargs)

        self.patch('builtins.open', refuse)
        error = self._refused([path])
        self.assertEqual(path, error.option)
        self.assertEqual('permission denied', error.found)

    def test_disk_fault(self) -> None:
        """Any other fault of the file system names the file, too."""
        path = self.write_conf(ONE_TYPE)
        real = builtins.open

        def fail(file: Any, *args: Any, **kwargs: Any) -> Any:
            if file == path:
                raise OSError(errno.EIO, os.strerror(errno.EIO), file)
            return real(file, *args, **kwargs)

        self.patch('builtins.open', fail)
        error = self._refused([path])
        self.assertEqual(path, error.option)
        self.assertEqual('input/output error', error.found)

    def test_malformed(self) -> None:
        """The line is named by its number; it may hold a password."""
        for text, line, shown in (
            ('[placement]\npassword hunter2\n', 2, "No ':' or '=' found"),
            ('[hunter2\n', 1, 'must end with ]'),
            ('password = hunter2\n', 1, 'before assignment'),
            ('\n[devices]\n = hunter2\n', 3, 'continuation line'),
        ):
            path = self.write_conf(text)
            error = self._refused([path])
            self.assertEqual(f'{path}:{line}', error.option)
            self.assertIn(shown, error.found)
            self.assertEqual(1, str(error).count(path))
            self.assertNotIn('hunter2', str(error))

    def test_not_text(self) -> None:
        """A binary file is named, wherever it stands."""
        good = self.write_conf(ONE_TYPE)
        bad = self.temp_dir() / 'bad.conf'
        bad.write_bytes(b'[vgpu]\nnode_name = \xff\xfe\n')
        for args in (([good, str(bad)],), ([good], [str(bad.parent)])):
            error = self._refused(*args)
            self.assertEqual(str(bad), error.option)
            self.assertIn('UTF-8', error.found)

    def test_no_file_at_all(self) -> None:
        """A command that needs nova.conf says where it looked."""
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        error = self.assertRaises(
            exception.ConfigError, load.require_files, conf
        )
        self.assertEqual('nova.conf', error.option)
        self.assertIn('/etc/nova', error.found)
        self.assertIn('--config-file', error.remedy)


class ValueTest(base.TestCase):
    """A single option with a bad value."""

    def test_bad_values_are_shown_as_written(self) -> None:
        """Option, value as the file has it, and what it should be."""
        for group, name, written, expected in (
            ('vgpu', 'placement_readers', '0', '1 to 64'),
            ('vgpu', 'placement_readers', 'many', 'whole number'),
            ('vgpu', 'traits', 'type, kind', 'frame_buffer'),
            (
                'compute',
                'resource_provider_association_refresh',
                '-1',
                'from 0',
            ),
            ('pci', 'report_in_placement', 'perhaps', 'true or false'),
            ('vgpu', 'gpu_policy', 'pakc', 'pack or spread'),
            ('vgpu', 'gpu_policy_timeout', '0', 'a number from 0.1'),
            ('vgpu', 'gpu_classes', 'VGPU', 'CUSTOM_[A-Z0-9_]+'),
        ):
            path = self.write_conf(f'[{group}]\n{name} = {written}\n')
            conf = load.load([path], register=scheduler.register_opts)
            error = self.assertRaises(
                exception.ConfigError, load.value, conf, group, name
            )
            self.assertEqual(f'[{group}] {name}', error.option)
            self.assertEqual(repr(written), error.found)
            self.assertIn(expected, error.expected)
            self.assertThat(
                str(error),
                testtools.matchers.Not(testtools.matchers.Contains('\n')),
            )

    def test_the_value_may_stand_in_a_folder(self) -> None:
        """The value that counts is shown, not that of an earlier file."""
        folder = self.temp_dir()
        (folder / 'a.conf').write_text('[vgpu]\nplacement_readers = none\n')
        main = self.write_conf('[vgpu]\nplacement_readers = 4\n')
        conf = load.load([main], [str(folder)])
        error = self.assertRaises(
            exception.ConfigError,
            load.value,
            conf,
            'vgpu',
            'placement_readers',
        )
        self.assertEqual("'none'", error.found)
