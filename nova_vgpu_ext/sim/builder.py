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
"""Write a simulated host as a directory that looks like sysfs.

Links are relative, as the kernel makes them, so the directory can be moved
and bind-mounted.
"""

from __future__ import annotations

import itertools
import os
import re
from xml.sax import saxutils

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.sim import description

_MIB = 1 << 20
_SUBSYSTEM_DEVICE = '1249'


class Tree:
    """Files, folders and links below one root."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.folders: set[str] = {''}

    def folder(self, path: str) -> None:
        if path in self.folders:
            return
        if os.path.basename(path) in ('.', '..'):
            raise exception.HostError(
                self.root, path, 'names of files', 'correct the description'
            )
        self.folder(os.path.dirname(path))
        os.mkdir(f'{self.root}/{path}')
        self.folders.add(path)

    def file(self, path: str, text: str) -> None:
        self.folder(path.rpartition('/')[0])
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        handle = os.open(f'{self.root}/{path}', flags, 0o644)
        try:
            if text:
                os.write(handle, f'{text}\n'.encode())
        finally:
            os.close(handle)

    def link(self, path: str, target: str) -> None:
        """Link a path to another one below the root."""
        folder = path.rpartition('/')[0]
        self.folder(folder)
        parts, others = folder.split('/'), target.split('/')
        same = 0
        while parts[same : same + 1] == others[same : same + 1] != []:
            same += 1
        climb = '../' * (len(parts) - same)
        os.symlink(climb + '/'.join(others[same:]), f'{self.root}/{path}')


def path_of(address: str) -> str:
    """Give the folder of a PCI function below the root."""
    return f'devices/pci{address[:-5]}/{address}'


def device_path(gpu: description.GpuSpec, address: str) -> str:
    """Give the folder of a card, of one of its VFs, or a virtual parent."""
    if gpu.is_virtual:
        return f'devices/virtual/{address.replace("_", "/", 1)}'
    return f'devices/pci{gpu.address[:-5]}/{address}'


def _modalias(spec: description.GpuSpec | description.PciSpec) -> str:
    vendor, subsystem = spec.vendor_id.upper(), _SUBSYSTEM_DEVICE
    base, sub, interface = re.findall('..', spec.class_id)
    return (
        f'MODALIAS=pci:v0000{vendor}d0000{spec.device_id.upper()}'
        f'sv0000{vendor}sd0000{subsystem}bc{base}sc{sub}i{interface}'
    )


class Builder:
    """Writes devices into a tree.

    :param first_group: the number of the first IOMMU group.
    """

    def __init__(self, tree: Tree, first_group: int = 0) -> None:
        self.tree = tree
        self.groups = itertools.count(first_group)

    def group(self, path: str) -> None:
        group = f'kernel/iommu_groups/{next(self.groups)}'
        self.tree.link(f'{path}/iommu_group', group)
        self.tree.link(f'{group}/devices/{path.rpartition("/")[2]}', path)

    def function(
        self,
        path: str,
        spec: description.GpuSpec | description.PciSpec,
        address: str,
    ) -> None:
        """Write what every PCI function has; nothing finds it yet."""
        tree = self.tree
        vendor, device = spec.vendor_id, spec.device_id
        for name, value in (
            ('vendor', f'0x{vendor}'),
            ('device', f'0x{device}'),
            ('class', f'0x{spec.class_id}'),
            ('subsystem_vendor', f'0x{vendor}'),
            ('subsystem_device', f'0x{_SUBSYSTEM_DEVICE}'),
            (
                'numa_node',
                '-1' if spec.numa_node is None else str(spec.numa_node),
            ),
        ):
            tree.file(f'{path}/{name}', value)
        lines = [f'DRIVER={spec.driver}'] if spec.driver else []
        lines += [
            f'PCI_CLASS={int(spec.class_id, 16):04X}',
            f'PCI_ID={vendor}:{device}'.upper(),
            f'PCI_SUBSYS_ID={vendor}:{_SUBSYSTEM_DEVICE}'.upper(),
            f'PCI_SLOT_NAME={address}',
            _modalias(spec),
        ]
        tree.file(f'{path}/uevent', '\n'.join(lines))
        tree.link(f'{path}/subsystem', 'bus/pci')
        if spec.driver:
            driver = f'bus/pci/drivers/{spec.driver}'
            tree.link(f'{path}/driver', driver)
            tree.link(f'{driver}/{address}', path)
        self.group(path)

    def appear(self, path: str, address: str) -> None:
        """Let the bus list a PCI function."""
        self.tree.link(f'bus/pci/devices/{address}', path)

    def others(self, specs: tuple[description.PciSpec, ...]) -> None:
        """Write the functions that are no GPUs, and link VFs to theirs."""
        vfs: dict[str, list[str]] = {}
        for spec in specs:
            self.function(path_of(spec.address), spec, spec.address)
            self.appear(path_of(spec.address), spec.address)
            if spec.physical_function is not None:
                vfs.setdefault(spec.physical_function, []).append(spec.address)
        for physfn, addresses in vfs.items():
            path, count = path_of(physfn), str(len(addresses))
            self.tree.file(f'{path}/sriov_totalvfs', count)
            self.tree.file(f'{path}/sriov_numvfs', count)
            for number, address in enumerate(addresses):
                self.tree.link(f'{path}/virtfn{number}', path_of(address))
                self.tree.link(f'{path_of(address)}/physfn', path)

    def gpu(self, gpu: description.GpuSpec) -> None:
        """Write a card, or a virtual parent."""
        tree = self.tree
        path = device_path(gpu, gpu.address)
        if gpu.is_virtual:
            tree.file(f'{path}/uevent', '')
            self.offers(path, gpu, gpu)
            return
        self.function(path, gpu, gpu.address)
        if gpu.total_vfs:
            tree.file(f'{path}/sriov_totalvfs', str(gpu.total_vfs))
            tree.file(f'{path}/sriov_numvfs', str(len(gpu.vfs)))
        if gpu.framework is models.Framework.MDEV:
            self.offers(path, gpu, gpu)
        self.appear(path, gpu.address)
        self.vfs(gpu)

    def vfs(self, gpu: description.GpuSpec) -> None:
        """Write the enabled virtual functions of a card."""
        path = path_of(gpu.address)
        for number, vf in enumerate(gpu.vfs):
            below = device_path(gpu, vf.address)
            self.function(below, gpu, vf.address)
            self.tree.link(f'{path}/virtfn{number}', below)
            self.tree.link(f'{below}/physfn', path)
            if gpu.framework is models.Framework.MDEV:
                self.offers(below, gpu, vf)
            elif gpu.framework is models.Framework.VENDOR_VFIO:
                self.vendor(below, gpu, vf)
            self.appear(below, vf.address)

    def offers(
        self,
        path: str,
        gpu: description.GpuSpec,
        device: description.DeviceSpec,
    ) -> None:
        """Write the mediated device types of one device, and its mdevs."""
        tree = self.tree
        if not device.types:
            return
        for vgpu_type in device.types:
            below = f'{path}/mdev_supported_types/{vgpu_type.id}'
            count = description.available(gpu, device, vgpu_type)
            tree.file(f'{below}/name', vgpu_type.name)
            tree.file(f'{below}/available_instances', str(count))
            tree.file(f'{below}/device_api', vgpu_type.device_api)
            if vgpu_type.description is not None:
                tree.file(f'{below}/description', vgpu_type.description)
            tree.file(f'{below}/create', '')
            tree.folder(f'{below}/devices')
        for mdev in device.mdevs:
            self.mdev(path, gpu, mdev)
        tree.link(f'class/mdev_bus/{path.rpartition("/")[2]}', path)

    def mdev(
        self,
        path: str,
        gpu: description.GpuSpec,
        mdev: description.MdevSpec,
    ) -> None:
        tree = self.tree
        below = f'{path}/{mdev.uuid}'
        vgpu_type = f'{path}/mdev_supported_types/{mdev.type}'
        tree.file(f'{below}/remove', '')
        driver = 'mtty' if gpu.is_virtual else 'nvidia-vgpu-vfio'
        tree.file(f'{below}/uevent', f'DRIVER={driver}')
        tree.link(f'{below}/mdev_type', vgpu_type)
        tree.link(f'{below}/subsystem', 'bus/mdev')
        tree.link(f'{vgpu_type}/devices/{mdev.uuid}', below)
        self.group(below)
        if not gpu.is_virtual:
            tree.file(f'{below}/nvidia/vm_name', mdev.guest or '')
            tree.file(f'{below}/nvidia/vgpu_params', mdev.parameters or '')
        tree.link(f'bus/mdev/devices/{mdev.uuid}', below)

    def vendor(
        self, path: str, gpu: description.GpuSpec, vf: description.VfSpec
    ) -> None:
        """Write the vendor-specific VFIO folder of one VF."""
        tree = self.tree
        below = f'{path}/nvidia'
        tree.file(f'{below}/creatable_vgpu_types', creatable_text(gpu, vf))
        tree.file(f'{below}/current_vgpu_type', vf.current_type or '0')
        tree.file(f'{below}/vgpu_params', vf.parameters or '')


def creatable_text(gpu: description.GpuSpec, vf: description.VfSpec) -> str:
    """Write the list of the types that a VF could have now."""
    lines = [f'{t.id:<6}: {t.name}' for t in description.creatable(gpu, vf)]
    return '\n'.join(['ID    : vGPU Name', *lines])


def _refuse(path: str, error: OSError) -> exception.VgpuError:
    found = error.strerror or str(error)
    return exception.HostError(
        path, found, 'a place to write to', 'choose another one'
    )


def build(profile: description.Profile, directory: str) -> None:
    """Write a simulated host.

    :param profile: what the host has. Loading a profile checks it; one that
        is made in a program may describe what no driver would allow.
    :param directory: a directory that does not exist yet, or is empty.
    :raises exception.VgpuError: if something is there already, or the place
        cannot be written.
    """
    root = _claim(directory)
    try:
        write_tree(profile, root)
    except FileExistsError as e:
        raise exception.HostError(
            directory,
            f'{e.filename} twice',
            'each device, type and mdev once',
            'correct the description',
        ) from e
    except OSError as e:
        raise _refuse(directory, e) from e


def _claim(directory: str) -> str:
    """Make the directory, or refuse one that holds anything."""
    root = os.path.abspath(directory)
    try:
        os.makedirs(root, exist_ok=True)
        taken = bool(os.listdir(root))
    except OSError as e:
        raise _refuse(directory, e) from e
    if taken:
        raise exception.HostError(
            directory,
            'files',
            'a new or empty directory',
            'choose another one, or remove it first',
        )
    return root


def write_tree(profile: description.Profile, root: str) -> None:
    """Write every file of a host into a folder that has none of them.

    :raises OSError: it cannot be written.
    """
    tree = Tree(root)
    for folder in ('bus/pci/devices', 'bus/pci/drivers', 'devices/virtual'):
        tree.folder(folder)
    if any(g.framework is models.Framework.MDEV for g in profile.gpus):
        tree.folder('class/mdev_bus')
        tree.folder('bus/mdev/devices')
    builder = Builder(tree)
    builder.others(profile.pci_devices)
    for gpu in profile.gpus:
        builder.gpu(gpu)


def _catalog_type(
    vgpu_type: description.TypeSpec, gpu: description.GpuSpec
) -> str:
    size = vgpu_type.frame_buffer_mib * _MIB
    width, _, height = (vgpu_type.resolution or '1280x1024').partition('x')
    quote = saxutils.quoteattr
    number = vgpu_type.id.removeprefix('nvidia-')
    return (
        f'  <vgpuType id={quote(number)} name={quote(vgpu_type.name)}'
        ' class="Quadro">\n'
        f'    <devId vendorId="0x{gpu.vendor_id}"'
        f' deviceId="0x{gpu.device_id}"/>\n'
        f'    <profileSize>{size:#x}</profileSize>\n'
        f'    <framebuffer>{size * 13 // 16:#x}</framebuffer>\n'
        f'    <numHeads>{vgpu_type.heads or 1}</numHeads>\n'
        f'    <display width="{width}" height="{height}"/>\n'
        '  </vgpuType>\n'
    )


def _catalog_card(gpu: description.GpuSpec) -> str:
    types = {t.id: t for d in gpu.devices for t in d.types}
    supported = ''.join(
        f'    <supportedVgpu vgpuId="{type_id.removeprefix("nvidia-")}">'
        f'<maxVgpus>{vgpu_type.maximum}</maxVgpus></supportedVgpu>\n'
        for type_id, vgpu_type in types.items()
    )
    return (
        '  <pgpu>\n'
        f'    <devId vendorId="0x{gpu.vendor_id}"'
        f' deviceId="0x{gpu.device_id}"/>\n{supported}  </pgpu>\n'
    )


def write_catalog(profile: description.Profile, file: str) -> None:
    """Write the driver's ``vgpuConfig.xml`` for the types of a host.

    :param profile: what the host has.
    :param file: the file, which is replaced.
    :raises exception.VgpuError: if it cannot be written.
    """
    types: dict[str, str] = {}
    cards: dict[tuple[str, str], str] = {}
    for gpu in profile.gpus:
        if gpu.is_virtual:
            continue
        cards.setdefault((gpu.vendor_id, gpu.device_id), _catalog_card(gpu))
        for device in gpu.devices:
            for one in device.types:
                if one.id not in types:
                    types[one.id] = _catalog_type(one, gpu)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<vgpuconfig>\n'
        f'{"".join(types.values())}{"".join(cards.values())}</vgpuconfig>\n'
    )
    try:
        with open(file, 'w', encoding='utf-8') as stream:
            stream.write(text)
    except OSError as e:
        raise _refuse(file, e) from e
