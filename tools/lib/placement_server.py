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
"""Serve Placement on SQLite until standard input is closed.

usage: placement_server.py FOLDER

Configuration, database, log and the list of requests (``requests.log``) live
in FOLDER. The URL is printed once it answers. Whoever ends, or dies, closes
the pipe, and so the server never outlives the program that started it.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import threading
import wsgiref.simple_server
from collections.abc import Callable, Iterable

CONFIG = """\
[DEFAULT]
log_file = {folder}/placement.log
[api]
auth_strategy = noauth2
[placement_database]
connection = sqlite:///{folder}/placement.sqlite
sync_on_startup = True
"""


class Server(wsgiref.simple_server.WSGIServer):
    """One request at a time, which suits SQLite; the others wait in line."""

    request_queue_size = 128


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    """Writes one line per request."""

    requests: pathlib.Path

    def log_request(
        self, code: int | str = '-', size: int | str = '-'
    ) -> None:
        """Append method, path and status."""
        with self.requests.open('a') as stream:
            stream.write(f'{self.command} {self.path} {int(code)}\n')

    def address_string(self) -> str:
        """Do without a name server."""
        return str(self.client_address[0])


def application(folder: pathlib.Path) -> Callable[..., Iterable[bytes]]:
    """Make Placement's WSGI application, with its database."""
    (folder / 'placement.conf').write_text(CONFIG.format(folder=folder))
    os.environ['OS_PLACEMENT_CONFIG_DIR'] = str(folder)
    # Placement takes the arguments of the process for its own.
    del sys.argv[1:]
    from placement.wsgi import api

    return api.application


def main() -> None:
    """Serve until standard input ends."""
    folder = pathlib.Path(sys.argv[1]).resolve()
    # Ctrl-C goes to every process of the terminal; who started this one
    # still has something to clean up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Handler.requests = folder / 'requests.log'
    Handler.requests.touch()
    server = Server(('127.0.0.1', 0), Handler)
    server.set_app(application(folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f'http://127.0.0.1:{server.server_port}', flush=True)
    sys.stdin.read()


if __name__ == '__main__':
    main()
