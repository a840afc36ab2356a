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
"""Runs a command, and says what it took.

``python measured.py SECONDS OUTPUT COMMAND ARGUMENT...``: the command gets
this program's standard input, its standard output goes to the file, and it is
ended after that many seconds. Prints ``[seconds, peak memory in KiB, exit
status]`` as JSON; the status of what was ended is negative.

The kernel counts what a process was before it became the command as that
command's memory, so the program that starts it has to be small: only what
Python itself needs is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def main() -> None:
    """Run the command of the arguments."""
    limit, output, *command = sys.argv[1:]
    started = time.monotonic()
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (
                os.POSIX_SPAWN_OPEN,
                1,
                output,
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                0o600,
            )
        ],
    )

    def end(number: int, frame: object) -> None:
        os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.signal(signal.SIGTERM, end)
    signal.alarm(int(limit))
    _, status, usage = os.wait4(pid, 0)
    taken = time.monotonic() - started
    code = os.waitstatus_to_exitcode(status)
    print(f'[{taken:.6f}, {usage.ru_maxrss}, {code}]')


if __name__ == '__main__':
    main()
