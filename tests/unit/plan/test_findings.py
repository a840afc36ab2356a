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
"""Every finding of the plan, each made once."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import inventory
from tests import base
from tests.unit.plan import hosts
from tests.unit.plan.hosts import CARD, GPU_1, GPU_2, GPU_3, NIC, NODE, at

FATAL = models.Severity.FATAL
ERROR = models.Severity.ERROR
WARNING = models.Severity.WARNING


class FindingTestCase(base.TestCase):
    """A test that looks at what a plan found."""

    def findings(
        self, config: models.DevicesConfig, snapshot: models.Snapshot
    ) -> tuple[models.Finding, ...]:
        """Plan; each finding must be one line that says what to do."""
        plan = inventory.plan(config, snapshot, NODE, hosts.ALL_TRAITS)
        for finding in plan.findings:
            self.assertNotIn('\n', str(finding))
            for text in dataclasses.astuple(finding)[1:]:
                self.assertNotEqual('', text)
        fatal = any(f.severity is FATAL for f in plan.findings)
        self.assertEqual(fatal, plan.is_fatal)
        if fatal:
            self.assertEqual((), plan.providers)
        return plan.findings

    def only(
        self,
        config: models.DevicesConfig,
        snapshot: models.Snapshot,
        severity: models.Severity,
        option: str,
        **words: tuple[str, ...],
    ) -> models.Finding:
        """Plan, and check the one thing that is found.

        :param words: what must stand in ``found``, ``expected``, ``remedy``.
        """
        found = self.findings(config, snapshot)
        self.assertEqual(1, len(found), found)
        (finding,) = found
        self.assertIs(severity, finding.severity)
        self.assertEqual(option, finding.option)
        for field, expected in words.items():
            for word in expected:
                self.assertIn(word, getattr(finding, field))
        return finding


class NoFindingTest(FindingTestCase):
    """What is right gives no word."""

    def test_right_configurations(self) -> None:
        """Usual ones, on hosts of each kind."""
        for config, gpus in (
            (hosts.config(['nvidia-194']), [hosts.gpu()]),
            (hosts.config(['nvidia-557']), [hosts.sriov()]),
            (
                hosts.config({'nvidia-557': {'max_instances': 2}}),
                [hosts.sriov()],
            ),
            (
                hosts.config({'nvidia-194': at(GPU_1, mdev_class='CUSTOM_A')}),
                [hosts.gpu()],
            ),
            (hosts.config({'mtty-2': at('mtty_mtty')}), [hosts.mtty()]),
            (
                models.DevicesConfig(pci_in_placement=True),
                [hosts.vendor('1153', '1153', None)],
            ),
            (models.DevicesConfig(), []),
        ):
            self.assertEqual((), self.findings(config, hosts.host(*gpus)))


class FatalTest(FindingTestCase):
    """What stops nova-compute."""

    def test_duplicate_address_of_two_types(self) -> None:
        """Both types are named."""
        self.only(
            hosts.config({'nvidia-194': at(GPU_1), 'b': at(GPU_1)}),
            hosts.host(hosts.gpu()),
            FATAL,
            '[mdev_b] device_addresses',
            found=(GPU_1, 'nvidia-194', 'b'),
            expected=('once',),
            remedy=('refuses to start',),
        )

    def test_duplicate_address_of_one_type(self) -> None:
        """Also within one list."""
        self.only(
            hosts.config({'nvidia-194': at(GPU_1, GPU_1)}),
            hosts.host(hosts.gpu()),
            FATAL,
            '[mdev_nvidia-194] device_addresses',
            found=(GPU_1, 'twice for nvidia-194'),
        )

    def test_malformed_address(self) -> None:
        """Neither a PCI address nor a virtual device of this host."""
        for address in (
            '1a:00.0',
            'pci_0000_1a_00_0',
            '0000:1a:00.8',
            'mtty_mtty',
            ' ',
            '0000:1a:00.0 ',
        ):
            self.only(
                hosts.config({'nvidia-194': at(GPU_1, address)}),
                hosts.host(hosts.gpu()),
                FATAL,
                '[mdev_nvidia-194] device_addresses',
                found=(repr(address),),
                expected=('0000:1a:00.0', 'mtty_mtty'),
                remedy=('refuses to start', 'gpu list'),
            )

    def test_unlisted_virtual_parent(self) -> None:
        """Nova takes it for a PCI device and fails."""
        self.only(
            hosts.config(['nvidia-194']),
            hosts.host(hosts.gpu(), hosts.mtty()),
            FATAL,
            '[mdev_<type>] device_addresses',
            found=('mtty_mtty',),
            remedy=('unload',),
        )

    def test_invalid_values(self) -> None:
        """What the options refuse is passed on."""
        invalid = models.Finding(FATAL, '[mdev_a] mdev_class', 'x', 'y', 'z')
        config = hosts.config(['nvidia-194'], invalid=(invalid,))
        self.assertEqual(
            (invalid,), self.findings(config, hosts.host(hosts.gpu()))
        )


class ErrorTest(FindingTestCase):
    """What Nova starts with, but does not do."""

    def test_second_default(self) -> None:
        """The dropped type is named, and the one that is taken."""
        self.only(
            hosts.config(['nvidia-194', 'b']),
            hosts.host(hosts.gpu(offers={'nvidia-194': 1, 'b': 1})),
            ERROR,
            '[mdev_b] device_addresses',
            found=('b', 'nvidia-194'),
            remedy=('drops b',),
        )

    def test_address_that_never_matches(self) -> None:
        """Nova accepts it, and compares it as text."""
        for address in ('0000:1A:00.0', '0000:1a:00:0'):
            self.only(
                hosts.config({'nvidia-194': at(address)}),
                hosts.host(hosts.gpu()),
                ERROR,
                '[mdev_nvidia-194] device_addresses',
                found=(address,),
                remedy=('write 0000:1a:00.0',),
            )

    def test_no_device_there(self) -> None:
        """The bus has nothing at the address."""
        self.only(
            hosts.config({'nvidia-194': at(GPU_1, GPU_3)}),
            hosts.host(hosts.gpu()),
            ERROR,
            '[mdev_nvidia-194] device_addresses',
            found=(GPU_3, 'no device'),
            remedy=('gpu list',),
        )

    def test_network_card(self) -> None:
        """What it is instead is said."""
        self.only(
            hosts.config({'nvidia-194': at(GPU_1, NIC)}),
            hosts.host(hosts.gpu()),
            ERROR,
            '[mdev_nvidia-194] device_addresses',
            found=(NIC, 'a network card', '8086:1572'),
            expected=('GPU',),
        )

    def test_type_that_this_gpu_lacks(self) -> None:
        """Another one has it; this one's types are shown."""
        self.only(
            hosts.config({'b': at(GPU_1, GPU_2)}),
            hosts.host(hosts.gpu(), hosts.gpu(GPU_2, {'b': 4})),
            ERROR,
            '[mdev_b] device_addresses',
            found=(GPU_1, 'does not offer b'),
            expected=('nvidia-194',),
        )

    def test_card_instead_of_its_functions(self) -> None:
        """The types are on the virtual functions."""
        self.only(
            hosts.config({'nvidia-557': at(CARD)}),
            hosts.host(hosts.sriov()),
            ERROR,
            '[mdev_nvidia-557] device_addresses',
            found=(CARD, 'virtual functions'),
            remedy=(f'gpu show {CARD}',),
        )

    def test_class_without_addresses(self) -> None:
        """The trap in which guests start without a GPU."""
        self.only(
            hosts.config({'nvidia-194': {'mdev_class': 'CUSTOM_A'}}),
            hosts.host(hosts.gpu()),
            ERROR,
            '[mdev_nvidia-194] mdev_class',
            found=('CUSTOM_A',),
            remedy=(
                'without a GPU',
                '[mdev_nvidia-194] device_addresses',
            ),
        )

    def test_cap_that_takes_a_gpu_away(self) -> None:
        """A limit below the capacity of one GPU."""
        self.only(
            hosts.config({'nvidia-194': {'max_instances': 31}}),
            hosts.host(hosts.gpu()),
            ERROR,
            '[mdev_nvidia-194] max_instances',
            found=('31', GPU_1, 'no vGPU'),
            expected=('32',),
            remedy=('remove it',),
        )
        self.only(
            hosts.config({'nvidia-194': {'max_instances': 33}}),
            hosts.host(hosts.gpu(), hosts.gpu(GPU_2), hosts.gpu(GPU_3)),
            ERROR,
            '[mdev_nvidia-194] max_instances',
            found=(GPU_2, '1 more'),
        )

    def test_options_of_old_sections(self) -> None:
        """They have no effect until they are moved."""
        config = hosts.config(
            ['nvidia-194'],
            ignored_options=('[vgpu_nvidia-194] max_instances',),
        )
        self.only(
            config,
            hosts.host(hosts.gpu()),
            ERROR,
            '[vgpu_nvidia-194] max_instances',
            expected=('[mdev_nvidia-194]',),
            remedy=('move it',),
        )

    def test_type_that_no_gpu_offers(self) -> None:
        """A wrong number, or one of another driver."""
        for config in (
            {'nvidia-1': at(GPU_1), 'nvidia-194': at(GPU_2)},
            {'nvidia-1': {}},
        ):
            self.only(
                hosts.config(config),
                hosts.host(hosts.gpu(), hosts.gpu(GPU_2)),
                ERROR,
                '[devices] enabled_mdev_types',
                found=("'nvidia-1'",),
                expected=('nvidia-194',),
                remedy=('type list',),
            )

    def test_mdevs_of_another_type(self) -> None:
        """They hold the GPU; the first is named by its UUID."""
        self.only(
            hosts.config(['nvidia-194']),
            hosts.host(
                hosts.gpu(offers={'nvidia-194': 0}, held=['b', 'b', 'c'])
            ),
            ERROR,
            GPU_1,
            found=('3 mdev(s)', 'b, c', 'uuid-0-of-b'),
            expected=('nvidia-194',),
            remedy=('mdev list',),
        )

    def test_functions_of_several_types(self) -> None:
        """Nova's PCI tracking refuses the card."""
        self.only(
            models.DevicesConfig(),
            hosts.host(hosts.vendor('1153', '1145')),
            ERROR,
            CARD,
            found=('1145, 1153',),
            remedy=('device_spec',),
        )


class WarningTest(FindingTestCase):
    """What works, with a consequence."""

    def test_nothing_enabled(self) -> None:
        """A host with GPUs and no type."""
        self.only(
            models.DevicesConfig(),
            hosts.host(hosts.gpu()),
            WARNING,
            '[devices] enabled_mdev_types',
            found=('no type',),
            expected=(GPU_1, 'nvidia-194'),
            remedy=('type list',),
        )

    def test_unused_section(self) -> None:
        """Its type is not enabled."""
        self.only(
            hosts.config(['nvidia-194'], unused_sections=('mdev_nvidia-35',)),
            hosts.host(hosts.gpu()),
            WARNING,
            '[mdev_nvidia-35]',
            expected=('nvidia-35', 'enabled_mdev_types'),
        )

    def test_default_that_one_gpu_lacks(self) -> None:
        """The other GPU is reported, this one not."""
        self.only(
            hosts.config(['nvidia-194']),
            hosts.host(hosts.gpu(), hosts.gpu(GPU_2, {'b': 4})),
            WARNING,
            '[devices] enabled_mdev_types',
            found=('nvidia-194', GPU_2),
            expected=('b',),
        )

    def test_cap_on_a_gpu_without_functions(self) -> None:
        """It takes nothing away, and is not needed."""
        self.only(
            hosts.config({'nvidia-194': {'max_instances': 32}}),
            hosts.host(hosts.gpu()),
            WARNING,
            '[mdev_nvidia-194] max_instances',
            found=('32',),
        )

    def test_many_providers(self) -> None:
        """Nova's reading of each provider takes long; 0 ends it."""
        config = hosts.config(['nvidia-557'])
        self.only(
            config,
            hosts.host(hosts.sriov(65)),
            WARNING,
            '[compute] resource_provider_association_refresh',
            found=('300', '65'),
            expected=('0',),
            remedy=('195',),
        )
        self.assertEqual(
            (), self.findings(config, hosts.host(hosts.sriov(64)))
        )
        off = dataclasses.replace(config, association_refresh=0)
        self.assertEqual((), self.findings(off, hosts.host(hosts.sriov(65))))

    def test_gpu_without_types(self) -> None:
        """What to do depends on why."""
        for gpu, words in (
            (hosts.no_types(), ('load the vGPU host driver',)),
            (
                hosts.no_types('nvidia', total_vfs=32),
                (f'sriov-manage -e {GPU_1}',),
            ),
            (hosts.no_types('nvidia'), ('not the driver for guests',)),
        ):
            self.only(
                hosts.config([]),
                hosts.host(gpu),
                WARNING,
                GPU_1,
                found=('10de:1db5', gpu.driver or 'none'),
                remedy=words,
            )

    def test_unreadable_file(self) -> None:
        """The path is the option; its value is left out."""
        problem = models.ReadProblem('/sys/a', 'permission denied', 'a file')
        self.only(
            hosts.config(['nvidia-194']),
            hosts.host(hosts.gpu(), problems=(problem,)),
            WARNING,
            '/sys/a',
            found=('permission denied',),
            expected=('a file',),
            remedy=('left out',),
        )

    def test_functions_without_type(self) -> None:
        """Vendor-specific VFIO with nothing set."""
        self.only(
            models.DevicesConfig(),
            hosts.host(hosts.vendor(None, None)),
            WARNING,
            CARD,
            found=('2 virtual functions',),
            expected=('current_vgpu_type',),
            remedy=(f'--gpu {CARD}',),
        )

    def test_functions_of_a_type_without_a_name(self) -> None:
        """A full card lists no types, and the driver's list is not there."""
        card = hosts.vendor('1153', '1153')
        nameless = tuple(
            dataclasses.replace(vf, types=(models.VgpuType('1153'),))
            for vf in card.vfs
        )
        config = models.DevicesConfig(pci_in_placement=True)
        host = hosts.host(dataclasses.replace(card, vfs=nameless))
        self.only(
            config,
            host,
            ERROR,
            CARD,
            found=('type 1153 on 2 virtual functions', 'name'),
            expected=("driver's list",),
            remedy=('[vgpu] driver_catalog',),
        )
        self.assertEqual((), inventory.plan(config, host, NODE, ()).pci)

    def test_functions_that_nova_does_not_report(self) -> None:
        """Nova's PCI tracking is off."""
        self.only(
            models.DevicesConfig(),
            hosts.host(hosts.vendor('1153')),
            WARNING,
            '[pci] report_in_placement',
            found=('false',),
            expected=('true',),
            remedy=('config pci',),
        )


class PciTest(base.TestCase):
    """The plan for vendor-specific VFIO."""

    def test_a_card(self) -> None:
        """One provider for the card; an option for each function."""
        plan = inventory.plan(
            models.DevicesConfig(pci_in_placement=True),
            hosts.host(hosts.vendor('1153', None, '1153')),
            NODE,
            (),
        )
        self.assertEqual((), plan.providers)
        (card,) = plan.pci
        self.assertEqual(
            ('node.example.org_0000:41:00.0', 'CUSTOM_NVIDIA_L40S_12Q', 2),
            (card.name, card.resource_class, card.record.total),
        )
        self.assertEqual(
            (
                '{"address": "0000:41:00.4", "resource_class": '
                '"CUSTOM_NVIDIA_L40S_12Q", "managed": "no"}',
                '{"address": "0000:41:00.6", "resource_class": '
                '"CUSTOM_NVIDIA_L40S_12Q", "managed": "no"}',
            ),
            card.device_specs,
        )
        self.assertEqual(
            '{"name": "l40s-12q", "resource_class": '
            '"CUSTOM_NVIDIA_L40S_12Q", "device_type": "type-VF"}',
            card.alias,
        )

    def test_a_card_of_several_types_gives_none(self) -> None:
        """What Nova refuses is not planned."""
        plan = inventory.plan(
            models.DevicesConfig(pci_in_placement=True),
            hosts.host(hosts.vendor('1153', '1145')),
            NODE,
            (),
        )
        self.assertEqual((), plan.pci)
