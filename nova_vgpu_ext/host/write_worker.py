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
"""Writes what it is told to; runs alone, with the standard library only.

Each line of standard input is a JSON list of a path and a text; each line of
standard output is the error number, 0 for none.
"""

import errno
import json
import os
import sys


def write(path: str, text: str) -> int:
    """Write a text with one call, as sysfs wants it.

    :returns: the error number, 0 for none.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)
    except OSError as error:
        return error.errno or errno.EIO
    except ValueError:
        # A path with a NUL, or a text that is none.
        return errno.EINVAL
    return 0


if __name__ == '__main__':
    for line in sys.stdin:
        print(write(*json.loads(line)), flush=True)
