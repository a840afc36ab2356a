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
"""Files of the kernel and the system, read whatever they hold."""

from __future__ import annotations

import errno
import os

_LIMIT = 1 << 20


def text(path: str, limit: int = _LIMIT) -> str:
    """Read a file, without white space at its ends.

    It may be a pipe, huge, or no text at all.

    :param limit: in bytes.
    :raises OSError: it cannot be read, or is larger.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(handle, 'rb') as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        # An error of the handle names no file.
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from (
            error
        )
    if len(data or b'') > limit:
        raise OSError(errno.EFBIG, f'more than {limit} bytes', path)
    return (data or b'').decode(errors='replace').strip()
