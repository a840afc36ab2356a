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
"""``nova-vgpu-agent``: keeps what ``nova-vgpu`` does at hand done."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import nova_vgpu_ext
from nova_vgpu_ext import arguments, exception
from nova_vgpu_ext.agent import logs, loop, notify, session, signals, worker
from nova_vgpu_ext.agent.cycle import Outcome

LOG = logging.getLogger(__name__)

PROGRAM = 'nova-vgpu-agent'


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description='Report the vGPUs of this compute host to Placement '
        'whenever they change, remember where its mediated devices belong, '
        'and remove orphans if the configuration says so. SIGHUP reads the '
        'configuration again, SIGUSR1 runs a cycle at once.',
    )
    parser.add_argument(
        '--version',
        action='version',
        version=f'{PROGRAM} {nova_vgpu_ext.version()}',
    )
    arguments.add(parser)
    return parser.parse_args(argv)


def load_session(
    options: argparse.Namespace, log: logs.Logs
) -> session.Session:
    """Read the configuration, that of the log included.

    :raises ConfigError: it cannot be used.
    """
    host = arguments.host(options)
    session.check(host)
    log.set_up(options.config_file, options.config_dir)
    return session.make(host)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent until SIGTERM or SIGINT.

    :param argv: arguments without the program's name; sys.argv by default.
    :returns: the exit code.
    """
    options = parse(sys.argv[1:] if argv is None else argv)
    log = logs.Logs(PROGRAM)
    notifier = notify.Notifier(os.environ)
    cycles = worker.ThreadWorker[Outcome]()
    with signals.Signals(loop.SIGNALS) as seen:
        try:
            agent = loop.Loop(
                lambda: load_session(options, log), cycles, seen, notifier
            )
        except exception.VgpuError as error:
            sys.stderr.write(f'{error}\n')
            return 1
        LOG.info('%s %s', PROGRAM, nova_vgpu_ext.version())
        is_done = agent.run()
    if not is_done:
        # Python would wait for the threads that read from Placement.
        logging.shutdown()
        os._exit(0)
    return 0
