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
"""What is remembered, and that nothing of it is lost."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import pathlib
from typing import Any

from nova_vgpu_ext import exception
from nova_vgpu_ext.hook import qemu
from nova_vgpu_ext.host import lock
from tests.unit.hook import base
from tests.unit.hook.base import DOMAIN, GPU, NEW, PLAIN, SET, VF, domain

ENTRY: qemu.Entry = {
    'parent': GPU,
    'type': 'nvidia-194',
    'domain': 'instance-0000031d',
    'domain_uuid': DOMAIN,
}
VF_ENTRY: qemu.Entry = {
    'parent': VF,
    'type': '1153',
    'domain': None,
    'domain_uuid': None,
}


class LedgerTestCase(base.HookTestCase):
    """A test with a folder for the ledger."""

    profile = 'mtty'

    def setUp(self) -> None:
        super().setUp()
        self.state.mkdir()

    def write(self, data: object) -> None:
        """Write any text or JSON as the ledger."""
        text = data if isinstance(data, str) else json.dumps(data)
        self.ledger_path.write_text(text)

    def failure(self, *words: str) -> Exception:
        """Read a ledger that cannot be used; give the error."""
        error = self.assertRaises(
            qemu.LedgerError, qemu.read_ledger, str(self.ledger_path)
        )
        text = str(error)
        self.assertTrue(text.startswith(f'{self.ledger_path}: found '), text)
        self.assertTrue(text.isprintable(), text)
        for word in words:
            self.assertIn(word, text)
        return error


class FormatTest(LedgerTestCase):
    """The file itself."""

    def test_round_trip(self) -> None:
        """What is written is read."""
        entries = {PLAIN: ENTRY, VF: VF_ENTRY}
        qemu.write_ledger(str(self.ledger_path), entries)
        self.assertEqual(entries, self.entries())
        self.assertEqual([qemu.LEDGER], os.listdir(self.state))
        self.assertEqual(0o600, self.ledger_path.stat().st_mode & 0o777)

    def test_text(self) -> None:
        """It is JSON with a version, in the order of the names."""
        qemu.write_ledger(
            str(self.ledger_path), {SET: ENTRY, VF: VF_ENTRY, PLAIN: ENTRY}
        )
        data = json.loads(self.ledger_path.read_text())
        self.assertEqual(1, data['version'])
        self.assertEqual([VF, PLAIN, SET], list(data['entries']))

    def test_missing(self) -> None:
        """Without a file, or a folder, nothing is remembered."""
        self.assertEqual({}, self.entries())
        self.assertEqual({}, qemu.read_ledger(str(self.state / 'a' / 'b')))

    def test_virtual_parents_and_names(self) -> None:
        """Parents are not all on the PCI bus; domains have any name."""
        entries: dict[str, qemu.Entry] = {
            PLAIN: {**ENTRY, 'parent': 'mtty_mtty', 'type': 'mtty-2'},
            NEW: {**ENTRY, 'domain': 'größe "1"\\', 'domain_uuid': None},
        }
        qemu.write_ledger(str(self.ledger_path), entries)
        self.assertEqual(entries, self.entries())

    def test_bad_entries_are_left_out(self) -> None:
        """The others stay."""
        bad: dict[str, Any] = {
            PLAIN.upper(): ENTRY,
            '../../x': ENTRY,
            '': ENTRY,
            f'{PLAIN[:-1]}0': None,
            f'{PLAIN[:-1]}1': {**ENTRY, 'parent': '../x'},
            f'{PLAIN[:-1]}2': {**ENTRY, 'parent': '..'},
            f'{PLAIN[:-1]}3': {**ENTRY, 'parent': None},
            f'{PLAIN[:-1]}5': {**ENTRY, 'type': 'a/b'},
            f'{PLAIN[:-1]}6': {**ENTRY, 'type': '..'},
            f'{PLAIN[:-1]}7': {**ENTRY, 'type': 'x' * 65},
            f'{PLAIN[:-1]}8': {**ENTRY, 'type': 194},
            f'{PLAIN[:-1]}9': {**ENTRY, 'domain': 'a\nb'},
            f'{PLAIN[:-1]}a': {**ENTRY, 'domain': 'x' * 257},
            f'{PLAIN[:-1]}b': {**ENTRY, 'domain': '\udc80'},
            f'{PLAIN[:-1]}c': {**ENTRY, 'domain_uuid': 'x'},
            f'{PLAIN[:-1]}d': [ENTRY],
            VF: ENTRY,
            '0000:c1:00.6': {**VF_ENTRY, 'type': '0'},
            '0000:c1:00.7': {**VF_ENTRY, 'parent': 'x'},
        }
        self.write({'version': 1, 'entries': {**bad, PLAIN: ENTRY}})
        self.assertEqual({PLAIN: ENTRY}, self.entries())

    def test_missing_and_unknown_keys(self) -> None:
        """A domain need not be known; a later version may add keys."""
        entry = {'parent': GPU, 'type': 'nvidia-194', 'later': 1}
        self.write({'version': 1, 'entries': {PLAIN: entry}, 'later': 1})
        self.assertEqual(
            {PLAIN: {**ENTRY, 'domain': None, 'domain_uuid': None}},
            self.entries(),
        )


class FaultTest(LedgerTestCase):
    """Files that are no ledger, and disks that take none."""

    def test_broken(self) -> None:
        """Truncated, empty, or other JSON."""
        qemu.write_ledger(str(self.ledger_path), {PLAIN: ENTRY})
        whole = self.ledger_path.read_text()
        for text in (
            '',
            whole[:-2],
            whole[: len(whole) // 2],
            '[]',
            'null',
            '{}',
            '{"version": 1}',
            '{"version": 1, "entries": []}',
            '{"version": 0, "entries": {}}',
            '{"version": true, "entries": {}}',
            '{"version": "2", "entries": {}}',
            '{"version": 1.0, "entries": {}}',
            '[' * 100000,
            '{"version": ' + '9' * 10000 + '}',
            '\x00' * 100,
        ):
            self.write(text)
            error = self.failure('expected')
            self.assertIsInstance(error, qemu.LedgerBroken, text[:40])
        self.ledger_path.write_bytes(b'\xff\xfe\x00')
        self.assertIsInstance(self.failure(), qemu.LedgerBroken)

    def assert_kept(self, *words: str) -> None:
        """Assert that a ledger cannot be used, but is not broken."""
        self.assertNotIsInstance(self.failure(*words), qemu.LedgerBroken)

    def test_future(self) -> None:
        """Another program may still read it."""
        self.write({'version': 2, 'entries': {PLAIN: ENTRY}})
        self.assert_kept('version 2', 'expected 1')

    def test_symbolic_link(self) -> None:
        """Nobody but us makes files there."""
        other = self.temp_dir() / 'other'
        qemu.write_ledger(str(other), {PLAIN: ENTRY})
        self.ledger_path.symlink_to(other)
        self.assert_kept('symbolic link')

    def test_no_file(self) -> None:
        """A folder, or a pipe that would block."""
        self.ledger_path.mkdir()
        self.assert_kept('no regular file')
        self.ledger_path.rmdir()
        os.mkfifo(self.ledger_path)
        self.assert_kept('no regular file')

    def test_too_large(self) -> None:
        """It would take too long."""
        with self.ledger_path.open('wb') as stream:
            stream.truncate(qemu.LEDGER_LIMIT + 1)
        self.assert_kept('more than')

    def test_not_written_larger_than_read(self) -> None:
        """Else it would be lost with the next read."""
        qemu.write_ledger(str(self.ledger_path), {PLAIN: ENTRY})
        self.patch('nova_vgpu_ext.hook.qemu.LEDGER_LIMIT', 300)
        error = self.assertRaises(
            OSError,
            qemu.write_ledger,
            str(self.ledger_path),
            {PLAIN: ENTRY, SET: ENTRY},
        )
        self.assertEqual(errno.EFBIG, error.errno)
        self.assertEqual({PLAIN: ENTRY}, self.entries())

    def test_disk_full(self) -> None:
        """The old one stays, and nothing else."""
        qemu.write_ledger(str(self.ledger_path), {PLAIN: ENTRY})
        for name in ('write', 'fsync', 'replace'):
            with self.full_disk(name):
                error = self.assertRaises(
                    OSError,
                    qemu.write_ledger,
                    str(self.ledger_path),
                    {SET: ENTRY},
                )
            self.assertEqual(errno.ENOSPC, error.errno)
            self.assertEqual([qemu.LEDGER], os.listdir(self.state))
            self.assertEqual({PLAIN: ENTRY}, self.entries())

    def full_disk(self, name: str) -> base.Fault:
        """Let a call of the module os fail."""
        return base.Fault(name, errno.ENOSPC)

    def test_short_writes(self) -> None:
        """The kernel need not take everything at once."""
        whole = os.write

        def short(handle: int, data: bytes) -> int:
            return whole(handle, data[:7])

        self.patch('nova_vgpu_ext.hook.qemu.os.write', short)
        qemu.write_ledger(str(self.ledger_path), {PLAIN: ENTRY})
        self.assertEqual({PLAIN: ENTRY}, self.entries())

    def test_links_are_replaced_not_followed(self) -> None:
        """A writer that did not read before harms no other file."""
        other = self.temp_dir() / 'other'
        other.write_text('mine')
        self.ledger_path.symlink_to(other)
        qemu.write_ledger(str(self.ledger_path), {PLAIN: ENTRY})
        self.assertEqual('mine', other.read_text())
        self.assertFalse(self.ledger_path.is_symlink())


class RecordTest(base.HookTestCase):
    """What the hook does with it."""

    def test_devices_are_remembered(self) -> None:
        """Where they are, of which type, and whose."""
        self.assert_ready(domain([PLAIN]))
        self.assertEqual({PLAIN: ENTRY}, self.entries())
        self.assertEqual(0o700, self.state.stat().st_mode & 0o777)
        self.assert_quiet()

    def test_others_stay(self) -> None:
        """Only the guest's entries change."""
        self.remember(NEW, GPU, 'nvidia-194', 'other')
        self.assert_ready(domain([PLAIN]))
        self.assertEqual({PLAIN, NEW}, set(self.entries()))

    def test_nothing_is_written_twice(self) -> None:
        """A start that changes nothing takes no lock and writes nothing."""
        self.assert_ready(domain([PLAIN]))
        before = self.ledger_path.stat()
        self.patch('nova_vgpu_ext.hook.qemu._lock', self.fail)
        self.assert_ready(domain([PLAIN]))
        self.assertEqual(before.st_ino, self.ledger_path.stat().st_ino)
        self.assert_quiet()

    def test_another_guest(self) -> None:
        """The last one counts."""
        self.assert_ready(domain([PLAIN]))
        self.assert_ready(domain([PLAIN], name='next'))
        self.assertEqual('next', self.entries()[PLAIN]['domain'])

    def test_moved_device(self) -> None:
        """What the host says wins."""
        self.remember(PLAIN, '0000:1a:00.0', 'nvidia-200')
        self.assert_ready(domain([PLAIN]))
        self.assertEqual(ENTRY, self.entries()[PLAIN])

    def test_broken_ledger_is_put_aside(self) -> None:
        """It begins anew, and the old one can be looked at."""
        self.state.mkdir()
        self.ledger_path.write_text('{"version": 1, "ent')
        self.assert_ready(domain([PLAIN]))
        self.assertEqual({PLAIN: ENTRY}, self.entries())
        aside = pathlib.Path(f'{self.ledger_path}.broken')
        self.assertEqual('{"version": 1, "ent', aside.read_text())
        self.assert_logged(qemu.WARNING, 'expected JSON')

    def assert_left(self, text: str) -> None:
        """Assert that the ledger is not touched, and the guest starts."""
        self.assert_ready(domain([PLAIN]))
        self.assertEqual(text, self.ledger_path.read_text())
        self.assert_logged(qemu.WARNING, str(self.ledger_path), 'left')
        self.assertEqual([qemu.LEDGER], os.listdir(self.state))

    def test_future_ledger_is_left(self) -> None:
        """A later version of this program knows more."""
        self.state.mkdir()
        text = '{"version": 2, "entries": {}}'
        self.ledger_path.write_text(text)
        self.assert_left(text)

    def test_symbolic_link_is_left(self) -> None:
        """And so is what it leads to."""
        self.state.mkdir()
        other = self.temp_dir() / 'other'
        other.write_text('mine')
        self.ledger_path.symlink_to(other)
        self.assert_left('mine')
        self.assertTrue(self.ledger_path.is_symlink())

    def test_state_cannot_be_written(self) -> None:
        """That is a pity, but no reason to refuse a guest."""
        self.state.write_text('a file')
        self.assert_ready(domain([PLAIN]))
        self.assert_logged(qemu.WARNING, str(self.state))

    def test_disk_full(self) -> None:
        """Likewise."""
        with base.Fault('fsync', errno.ENOSPC):
            self.assert_ready(domain([PLAIN]))
        self.assert_logged(qemu.WARNING, 'not recorded', 'No space')

    def test_lock_is_a_link(self) -> None:
        """No other file is made by it."""
        self.state.mkdir()
        other = self.temp_dir() / 'other'
        (self.state / qemu.LOCK).symlink_to(other)
        self.assert_ready(domain([PLAIN]))
        self.assertFalse(other.exists())
        self.assert_logged(qemu.WARNING, 'not recorded')

    def test_lock_is_held(self) -> None:
        """The guest starts, a little later, without a word in the ledger."""
        self.state.mkdir()
        self.patch('nova_vgpu_ext.hook.qemu.LOCK_SECONDS', 0.12)
        with _Holder(self.state / qemu.LOCK):
            self.assert_ready(domain([PLAIN]))
        self.assertEqual({}, self.entries())
        self.assert_logged(qemu.WARNING, 'not recorded', 'holds the lock')
        self.assert_ready(domain([PLAIN]))
        self.assertEqual({PLAIN: ENTRY}, self.entries())

    def test_lock_becomes_free(self) -> None:
        """It is waited for."""
        self.state.mkdir()
        holder = _Holder(self.state / qemu.LOCK)
        holder.__enter__()
        sleeps: list[float] = []

        def sleep(seconds: float) -> None:
            sleeps.append(seconds)
            if len(sleeps) == 3:
                holder.__exit__()

        self.patch('time.sleep', sleep)
        self.assert_ready(domain([PLAIN]))
        self.assertEqual(3, len(sleeps))
        self.assertEqual({PLAIN: ENTRY}, self.entries())

    def test_lock_is_let_go(self) -> None:
        """Nothing of it stays in this process."""
        self.assert_ready(domain([PLAIN]))
        with _Holder(self.state / qemu.LOCK):
            pass

    def test_many_writers(self) -> None:
        """Guests that start at once are all remembered."""
        self.state.mkdir()
        context = multiprocessing.get_context('fork')
        writers = [
            context.Process(target=_record, args=(str(self.state), number))
            for number in range(4)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        self.assertEqual([0] * 4, [writer.exitcode for writer in writers])
        self.assertEqual(20, len(self.entries()))
        self.assertEqual({qemu.LEDGER, qemu.LOCK}, set(os.listdir(self.state)))

    def test_the_lock_is_that_of_the_project(self) -> None:
        """What else changes the host sees it held."""
        self.state.mkdir()
        handle = os.open(self.state / qemu.LOCK, os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, handle)
        qemu._lock(handle)
        context = multiprocessing.get_context('fork')
        other = context.Process(target=_take, args=(str(self.state),))
        other.start()
        other.join(60)
        self.assertEqual(3, other.exitcode)


class _Holder:
    """Another process that holds the lock."""

    def __init__(self, path: pathlib.Path) -> None:
        context = multiprocessing.get_context('fork')
        self._ready, self._end = context.Event(), context.Event()
        self._process = context.Process(
            target=_hold, args=(str(path), self._ready, self._end)
        )

    def __enter__(self) -> None:
        self._process.start()
        if not self._ready.wait(60):
            msg = 'the lock is held by somebody else'
            raise AssertionError(msg)

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._process.join(60)


def _hold(path: str, ready: Any, end: Any) -> None:
    with open(path, 'a') as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ready.set()
        end.wait(60)


def _take(folder: str) -> None:
    try:
        with lock.host_lock(folder, 0.1):
            pass
    except exception.HostError:
        raise SystemExit(3) from None


def _record(folder: str, number: int) -> None:
    lines: list[Any] = []
    log: Any = lambda *line: lines.append(line)  # noqa: E731
    for step in range(5):
        ledger = qemu.Ledger(folder, log)
        device = qemu.Device(
            f'{PLAIN[:-4]}{number:02x}{step:02x}', '/', GPU, 'nvidia-194'
        )
        ledger.record([device], qemu.Guest())
    raise SystemExit(len(lines))
