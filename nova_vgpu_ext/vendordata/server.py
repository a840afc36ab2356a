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
"""The web server of ``nova-vgpu-vendordata``: waitress, with its limits.

Waitress reads requests without threads, and gives one to a thread once it is
whole, so that a slow client takes none.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable

from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

from nova_vgpu_ext.vendordata import app, request

LOG = logging.getLogger(__name__)

#: Requests that are answered at once; each waits for the cloud for seconds.
_THREADS = 16
#: Open connections; others wait until one of these ends. Each takes up to
#: three files, and a process has 1024.
_CONNECTIONS = 300
#: Seconds that a client has for a whole request, and to take its answer.
_PATIENCE = 10
_HEADERS = 64 << 10
#: Of a body that is not here yet; more of it goes to a file.
_BUFFER = 64 << 10


class _Channel(HTTPChannel):
    """A connection, which a byte now and then does not keep open."""

    def handle_read(self) -> None:
        """Read; only an answer makes its time begin anew."""
        since = self.last_activity
        super().handle_read()
        self.last_activity = since


def listen(host: str, port: int) -> socket.socket:
    """Open the socket, for IPv4 or IPv6.

    :param port: 0 takes a free one.
    :raises OSError: it cannot be had.
    :raises UnicodeError: the host can be no name.
    """
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family)


def address(opened: socket.socket) -> str:
    """Write where it listens, as in a URL."""
    host, port = opened.getsockname()[:2]
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def serve(application: app.WsgiApp, opened: socket.socket) -> None:
    """Serve until SystemExit, which a signal raises.

    What is being answered then gets some seconds to end.

    :param opened: where to listen; see :func:`listen`.
    """
    # That a request waits for a thread is nothing to warn of.
    logging.getLogger('waitress.queue').setLevel(logging.ERROR)
    server = create_server(
        _logged(application),
        sockets=[opened],
        threads=_THREADS,
        connection_limit=_CONNECTIONS,
        channel_timeout=_PATIENCE,
        cleanup_interval=1,
        max_request_header_size=_HEADERS,
        max_request_body_size=request.LIMIT,
        inbuf_overflow=_BUFFER,
        # select() has no more than 1024 files.
        asyncore_use_poll=True,
        # A client that goes is no error.
        log_socket_errors=False,
        ident=None,
    )
    assert isinstance(server, BaseWSGIServer)  # noqa: S101
    server.channel_class = _Channel
    server.run()


def _logged(inner: app.WsgiApp) -> app.WsgiApp:
    """Log each request; nothing of it may pass for another line."""

    def application(
        environ: app.Environ, start_response: app.StartResponse
    ) -> Iterable[bytes]:
        status = ''

        def start(line: str, *rest: object) -> object:
            nonlocal status
            status = line.partition(' ')[0]
            return start_response(line, *rest)

        answer = inner(environ, start)
        LOG.info(
            '%s %s %s %s',
            environ.get('REMOTE_ADDR'),
            _plain(environ['REQUEST_METHOD']),
            _plain(environ.get('PATH_INFO', '')),
            status,
        )
        return answer

    return application


def _plain(text: str) -> str:
    return text[:200].encode('unicode_escape').decode()
