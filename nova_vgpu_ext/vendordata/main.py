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
"""``nova-vgpu-vendordata``: the service with a web server of its own."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import nova_vgpu_ext
from nova_vgpu_ext import exception
from nova_vgpu_ext.vendordata import load

LOG = logging.getLogger(__name__)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(
        prog=load.PROGRAM,
        description='Hand Nova the instructions for guests with a vGPU. '
        'Others than Nova on this host need a web server with TLS before it, '
        'or uwsgi or gunicorn with nova_vgpu_ext.vendordata.wsgi:application.',
    )
    parser.add_argument(
        '--version',
        action='version',
        version=f'{load.PROGRAM} {nova_vgpu_ext.version()}',
    )
    parser.add_argument(
        '--config-file',
        metavar='FILE',
        action='append',
        help=f'a configuration file; may be repeated (default: {load.DEFAULT},'
        f' or those of ${load.VARIABLE})',
    )
    parser.add_argument(
        '--host',
        metavar='ADDRESS',
        default='127.0.0.1',
        help='where to listen (default: %(default)s)',
    )
    parser.add_argument(
        '--port',
        type=_port,
        default=8785,
        help='the port there (default: %(default)s)',
    )
    return parser.parse_args(argv)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f'found {text}, expected 0 to 65535')
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    :param argv: arguments without the program's name; sys.argv by default.
    :returns: the exit code.
    """
    options = parse(sys.argv[1:] if argv is None else argv)
    try:
        application = load.load(options.config_file or load.config_files())
        from nova_vgpu_ext.vendordata import server

        opened = server.listen(options.host, options.port)
    except ImportError as error:
        sys.stderr.write(
            f'{error}; install it: pip install nova-vgpu-ext[vendordata]\n'
        )
        return 1
    except exception.VgpuError as error:
        sys.stderr.write(f'{error}\n')
        return 1
    except (OSError, UnicodeError) as error:
        sys.stderr.write(f'--host, --port: {error}\n')
        return 1
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with opened:
        LOG.info('listening on %s', server.address(opened))
        server.serve(application, opened)
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
