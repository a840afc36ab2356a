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
"""Sphinx, for the documentation."""

import shutil
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives

project = 'nova-vgpu-ext'
copyright = 'the nova-vgpu-ext authors'

extensions = [
    'cliff.sphinxext',
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
]

html_theme = 'openstackdocs'
html_theme_options = {'display_global_toc_section': True}
pygments_style = 'native'
exclude_patterns = []

# The project is documented from its checkout, whatever is installed.
openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_use_storyboard = False
version = release = ''

config_generator_config_file = [
    (
        '../../tools/config/nova-vgpu-config-generator.conf',
        '_static/nova-vgpu',
    ),
]

autoprogram_cliff_application = 'nova-vgpu'
autoprogram_cliff_app_dist_name = 'nova-vgpu-ext'

man_make_section_directory = True
man_pages = [
    ('cli/nova-vgpu', 'nova-vgpu', 'the vGPUs of a compute host', [], 1),
    (
        'cli/nova-vgpu-agent',
        'nova-vgpu-agent',
        'keep Placement in line with the vGPUs of a compute host',
        [],
        8,
    ),
    (
        'cli/nova-vgpu-vendordata',
        'nova-vgpu-vendordata',
        'hand Nova the instructions for guests with a vGPU',
        [],
        8,
    ),
]

graphviz_output_format = 'svg'


class GraphAsText(Directive):
    """What a picture is where Graphviz is not installed: its source."""

    has_content = True
    option_spec: ClassVar = {'alt': directives.unchanged}

    def run(self):
        """Show the text."""
        text = '\n'.join(self.content)
        return [nodes.literal_block(text, text)]


def setup(app):
    """Draw the pictures, if the program is there."""
    if shutil.which('dot'):
        app.setup_extension('sphinx.ext.graphviz')
    else:
        app.add_directive('graphviz', GraphAsText)
