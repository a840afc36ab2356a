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
"""The agent's log, as the options of oslo.log in nova.conf want it."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

import nova_vgpu_ext
from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import load

#: Libraries whose warnings say nothing to an operator, such as that a
#: spelling of an option which this project supports is an old one.
_QUIET_LIBRARIES = ('oslo_config', 'openstack')

_ERRORS = (
    cfg.ConfigFileValueError,
    # A ``$name``, of an option that only Nova has.
    cfg.NoSuchOptError,
    cfg.TemplateSubstitutionError,
    log.LogConfigError,
    OSError,
    # For a syslog facility that is none.
    TypeError,
)


class Logs:
    """Sets the log up, at first and after each reload.

    :param program: its name.
    """

    def __init__(self, program: str) -> None:
        self._program = program
        self._conf: cfg.ConfigOpts | None = None

    def set_up(
        self, config_files: Sequence[str], config_dirs: Sequence[str]
    ) -> None:
        """Read the options, and log as they say from now on.

        :raises ConfigError: they cannot be used; the log stays as it was.
        """
        conf = _read(config_files, config_dirs)
        try:
            self._use(conf)
        except _ERRORS as error:
            problem = _problem(str(error))
            # oslo.log takes the old log down first.
            if self._conf is not None:
                self._use(self._conf)
            raise problem from error
        self._conf = conf

    def _use(self, conf: cfg.ConfigOpts) -> None:
        log.setup(conf, self._program, nova_vgpu_ext.version())
        for name in _QUIET_LIBRARIES:
            logging.getLogger(name).setLevel(logging.ERROR)


def _read(
    config_files: Sequence[str], config_dirs: Sequence[str]
) -> cfg.ConfigOpts:
    said = io.StringIO()
    try:
        # Some of the options are arguments, too: for a bad value of theirs
        # oslo.config ends the program.
        with contextlib.redirect_stderr(said):
            return load.load(config_files, config_dirs, log.register_options)
    except SystemExit as error:
        raise _problem(said.getvalue().removeprefix('argument ')) from error
    except _ERRORS as error:
        raise _problem(str(error)) from error


def _problem(found: str) -> exception.ConfigError:
    return exception.ConfigError(
        '[DEFAULT], options of the log',
        ' '.join(found.split()),
        'values that oslo.log takes, and a file that can be written',
        'mend the line, or give another file with --config-file',
    )
