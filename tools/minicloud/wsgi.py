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
"""Runs a service's WSGI application under gunicorn.

usage: wsgi.py MODULE:NAME PORT WORKERS THREADS
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from gunicorn.app import base


class Application(base.BaseApplication):  # type: ignore[misc]
    """A server of one application.

    :param target: its module and name.
    :param settings: those of gunicorn.
    """

    def __init__(self, target: str, settings: dict[str, Any]) -> None:
        self._target = target
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Set what was asked for; nothing is read from elsewhere."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Import the application in a worker."""
        module, _, name = self._target.partition(':')
        return getattr(importlib.import_module(module), name)


def main() -> None:
    """Serve until a signal ends it."""
    target, port, workers, threads = sys.argv[1:]
    # OpenStack's applications read the arguments of whoever loads them.
    sys.argv = [target.partition('.')[0]]
    settings = {
        'bind': f'127.0.0.1:{port}',
        'workers': int(workers),
        'threads': int(threads),
        'worker_class': 'gthread',
        'keepalive': 30,
        'timeout': 120,
        'graceful_timeout': 3,
        'accesslog': '-',
        # Else it makes a socket in the home folder.
        'control_socket_disable': True,
    }
    Application(target, settings).run()


main()
