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
"""Sums over GPUs and their users."""

from __future__ import annotations

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import usage
from nova_vgpu_ext.plan.gpus import OfferedType
from tests import base


def gpu(
    *types: int, total: int = 8, used: int = 0, name: str = 'VGPU'
) -> models.CloudGpu:
    """Make a GPU of a type."""
    return models.CloudGpu(
        uuid='gpu',
        name='gpu01_pci_0000_1a_00_0',
        generation=1,
        host='gpu01',
        host_uuid='root',
        address='0000:1a:00.0',
        capacities={name: models.Capacity(total, used)},
        traits=frozenset(f'CUSTOM_NVIDIA_{number}' for number in types),
    )


def server(uuid: str) -> models.Server:
    """Make a server."""
    return models.Server(uuid, 'a', 'p', 'ACTIVE', None, 'gpu01', 'vgpu_1')


def holding(
    consumer: str, project: str, count: int, owner: str | None = None
) -> usage.Holding:
    """Make what somebody holds.

    :param owner: the server that the consumer is or moves.
    """
    return usage.Holding(
        consumer,
        project,
        gpu(),
        {'VGPU': count},
        server(owner) if owner else None,
    )


class RoomTest(base.TestCase):
    """Sums over GPUs."""

    def test_room(self) -> None:
        self.assertEqual(usage.Room(), usage.room([]))
        self.assertEqual(
            usage.Room(gpus=2, total=12, used=5, free=7),
            usage.room([gpu(194, used=3), gpu(196, total=4, used=2)]),
        )

    def test_given_away_too_much(self) -> None:
        """It does not hide what is free on another GPU."""
        found = usage.room([gpu(total=2, used=6), gpu(total=4)])
        self.assertEqual((6, 6, 4), (found.total, found.used, found.free))

    def test_by_kind(self) -> None:
        rows = usage.by_kind(
            iter(
                [
                    gpu(),
                    gpu(1000),
                    gpu(194, used=1),
                    gpu(194, name='CUSTOM_BIG'),
                    gpu(194, 196),
                    gpu(194, used=2),
                    gpu(name='CUSTOM_NVIDIA_L40S_12Q'),
                    gpu(name='VCPU'),
                ]
            )
        )
        self.assertEqual(
            [
                ('nvidia-194', None, 'CUSTOM_BIG', 1, 0),
                ('nvidia-194', None, 'VGPU', 2, 3),
                ('nvidia-1000', None, 'VGPU', 1, 0),
                (None, None, None, 1, 0),
                # Of no type, and of two.
                (None, None, 'VGPU', 2, 0),
                (None, 'L40S-12Q', 'CUSTOM_NVIDIA_L40S_12Q', 1, 0),
            ],
            [
                (
                    kind.type.id,
                    kind.type.product,
                    kind.resource_class,
                    room.gpus,
                    room.used,
                )
                for kind, room in rows
            ],
        )
        self.assertEqual(OfferedType(), rows[3][0].type)


class ProjectTest(base.TestCase):
    """Sums over those who use GPUs."""

    def test_by_project(self) -> None:
        rows = usage.by_project(
            iter(
                [
                    holding('a', 'small', 1, owner='a'),
                    holding('b', 'big', 2, owner='b'),
                    holding('b', 'big', 1, owner='b'),
                    # Two moves of a server, and one that Nova forgot.
                    holding('move-1', 'big', 1, owner='b'),
                    holding('c', 'big', 1, owner='c'),
                    holding('lost', 'big', 4),
                ]
            )
        )
        self.assertEqual(
            [
                usage.ProjectUse('big', servers=3, vgpus=9),
                usage.ProjectUse('small', servers=1, vgpus=1),
            ],
            rows,
        )

    def test_order_of_equal_projects(self) -> None:
        rows = usage.by_project([holding('a', 'q', 1), holding('b', 'p', 1)])
        self.assertEqual(['p', 'q'], [row.project_id for row in rows])
