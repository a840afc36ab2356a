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
"""Show a subunit stream on standard input as it comes, and count it.

usage: results.py COUNTS

Writes "PASSED FAILED SKIPPED" to the file COUNTS. Failures are printed in full
as they come; a line of progress follows about every ten seconds.
"""

from __future__ import annotations

import collections
import pathlib
import sys
import time

import subunit
import testtools

INTERVAL = 10.0


class Progress:
    """What has been seen so far."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.reasons: collections.Counter[str] = collections.Counter()
        self.printed = time.monotonic()

    def on_test(self, test: dict) -> None:
        """Count one test."""
        status, details = test['status'], test['details']
        if status == 'skip':
            self.counts['skipped'] += 1
            reason = details.get('reason')
            self.reasons[reason.as_text() if reason else 'no reason'] += 1
        elif status in ('success', 'xfail'):
            self.counts['passed'] += 1
        elif status != 'exists':
            self.counts['failed'] += 1
            self._print_failure(test['id'], status, details)
        now = time.monotonic()
        if now - self.printed >= INTERVAL:
            self.printed = now
            print(f'    {self}', flush=True)

    def _print_failure(self, name: str, status: str, details: dict) -> None:
        what = 'never ended' if status == 'inprogress' else status
        print(f'\n--- {what}: {name}')
        for key in sorted(details, key=lambda k: 'traceback' in k):
            text = details[key].as_text().strip()
            if text:
                print(f'{key}:\n{text}')
        print('---\n', flush=True)

    def __str__(self) -> str:
        return ', '.join(
            f'{self.counts[k]} {k}' for k in ('passed', 'failed', 'skipped')
        )


class OtherOutput(testtools.StreamResult):
    """Passes on what is no test, such as a module that cannot be imported."""

    def status(self, *args: object, **kwargs: object) -> None:
        """Write the bytes of an event that belongs to no test."""
        if kwargs.get('file_bytes') and not kwargs.get('test_id'):
            sys.stdout.buffer.write(bytes(kwargs['file_bytes']))
            sys.stdout.buffer.flush()


def main() -> int:
    """Read the stream to its end."""
    progress = Progress()
    result = testtools.CopyStreamResult(
        [testtools.StreamToDict(progress.on_test), OtherOutput()]
    )
    result.startTestRun()
    subunit.ByteStreamToStreamResult(
        sys.stdin.buffer, non_subunit_name='output'
    ).run(result)
    result.stopTestRun()
    for reason, count in progress.reasons.most_common():
        print(f'    {count} skipped: {reason}')
    counts = progress.counts
    pathlib.Path(sys.argv[1]).write_text(
        f'{counts["passed"]} {counts["failed"]} {counts["skipped"]}\n'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
