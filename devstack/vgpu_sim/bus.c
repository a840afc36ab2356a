// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI buses in software: one root bus per GPU, the GPU at device 00
 * function 0, its VFs at the functions that follow. Nothing has a BAR.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/nodemask.h>
#include <linux/slab.h>

#include "compat.h"
#include "vgpu_sim.h"

#define SIM_POS_EXP	0x40
#define SIM_POS_SRIOV	PCI_CFG_SPACE_SIZE
/* quirk_nvidia_hda() leaves a GPU alone that has bit 25 set here. */
#define SIM_POS_HDA	0x488
#define SIM_HDA_ENABLED	BIT(25)

static void put16(u8 *cfg, u16 val)
{
	cfg[0] = val;
	cfg[1] = val >> 8;
}

static void put32(u8 *cfg, u32 val)
{
	put16(cfg, val);
	put16(cfg + 2, val >> 16);
}

static u16 get16(const u8 *cfg)
{
	return cfg[0] | cfg[1] << 8;
}

static void fill_function(u8 *cfg, const struct sim_card *card, bool vf)
{
	u8 *exp = cfg + SIM_POS_EXP;

	put16(cfg + PCI_VENDOR_ID, vf ? 0xffff : card->vendor);
	put16(cfg + PCI_DEVICE_ID, vf ? 0xffff : card->device);
	put16(cfg + PCI_STATUS, PCI_STATUS_CAP_LIST);
	put32(cfg + PCI_CLASS_REVISION, card->class << 8 | SIM_REVISION);
	put16(cfg + PCI_SUBSYSTEM_VENDOR_ID, card->vendor);
	put16(cfg + PCI_SUBSYSTEM_ID, SIM_SUBSYSTEM_ID);
	cfg[PCI_CAPABILITY_LIST] = SIM_POS_EXP;

	exp[PCI_CAP_LIST_ID] = PCI_CAP_ID_EXP;
	put16(exp + PCI_EXP_FLAGS, PCI_EXP_TYPE_ENDPOINT << 4 | 2);
	put32(exp + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR);
	if (!vf) {
		put32(exp + PCI_EXP_LNKCAP, PCI_EXP_LNKCAP_SLS_8_0GB | 16 << 4);
		put16(exp + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_CLS_8_0GB |
					    16 << PCI_EXP_LNKSTA_NLW_SHIFT);
	}
	put32(cfg + SIM_POS_HDA, SIM_HDA_ENABLED);
}

static void fill_sriov(u8 *cfg, const struct sim_host_gpu *spec)
{
	u8 *cap = cfg + SIM_POS_SRIOV;

	put32(cap, PCI_EXT_CAP_ID_SRIOV | 1 << 16);
	put16(cap + PCI_SRIOV_INITIAL_VF, spec->total_vfs);
	put16(cap + PCI_SRIOV_TOTAL_VF, spec->total_vfs);
	put16(cap + PCI_SRIOV_VF_OFFSET, SIM_VF_OFFSET);
	put16(cap + PCI_SRIOV_VF_STRIDE, 1);
	put16(cap + PCI_SRIOV_VF_DID, spec->card->device);
	put32(cap + PCI_SRIOV_SUP_PGSIZE, 0x553);
	put32(cap + PCI_SRIOV_SYS_PGSIZE, 1);
}

static struct sim_gpu *gpu_of(struct pci_bus *bus)
{
	return container_of((struct pci_sysdata *)bus->sysdata,
			    struct sim_gpu, sysdata);
}

/* The 4 KiB of a function, or NULL. */
static u8 *function(struct sim_gpu *gpu, unsigned int devfn)
{
	const u8 *cap = gpu->cfg + SIM_POS_SRIOV;
	unsigned int vf = devfn - SIM_VF_OFFSET;

	if (!devfn)
		return gpu->cfg;
	if (!gpu->spec.total_vfs || devfn < SIM_VF_OFFSET ||
	    !(get16(cap + PCI_SRIOV_CTRL) & PCI_SRIOV_CTRL_VFE) ||
	    vf >= min_t(unsigned int, get16(cap + PCI_SRIOV_NUM_VF),
			gpu->spec.total_vfs))
		return NULL;
	return gpu->cfg + (1 + vf) * PCI_CFG_SPACE_EXP_SIZE;
}

/* Which bits of a byte can be written. */
static u8 writable(unsigned int where, bool sriov)
{
	switch (where) {
	case PCI_COMMAND:
		return PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_COMMAND + 1:
		return PCI_COMMAND_INTX_DISABLE >> 8;
	case PCI_INTERRUPT_LINE:
	case SIM_POS_EXP + PCI_EXP_DEVCTL:
		return 0xff;
	case SIM_POS_EXP + PCI_EXP_DEVCTL + 1:
		return (u8)~(PCI_EXP_DEVCTL_BCR_FLR >> 8);
	case SIM_POS_SRIOV + PCI_SRIOV_CTRL:
		return sriov ? PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE : 0;
	case SIM_POS_SRIOV + PCI_SRIOV_NUM_VF ...
	     SIM_POS_SRIOV + PCI_SRIOV_NUM_VF + 1:
	case SIM_POS_SRIOV + PCI_SRIOV_SYS_PGSIZE ...
	     SIM_POS_SRIOV + PCI_SRIOV_SYS_PGSIZE + 3:
		return sriov ? 0xff : 0;
	default:
		return 0;
	}
}

static int sim_cfg_read(struct pci_bus *bus, unsigned int devfn, int where,
			int size, u32 *val)
{
	struct sim_gpu *gpu = gpu_of(bus);
	unsigned long flags;
	u8 *cfg;
	int i;

	*val = ~0u;
	if (where + size > PCI_CFG_SPACE_EXP_SIZE)
		return PCIBIOS_BAD_REGISTER_NUMBER;
	raw_spin_lock_irqsave(&gpu->cfg_lock, flags);
	cfg = function(gpu, devfn);
	if (cfg)
		for (*val = 0, i = 0; i < size; i++)
			*val |= (u32)cfg[where + i] << 8 * i;
	raw_spin_unlock_irqrestore(&gpu->cfg_lock, flags);
	return cfg ? PCIBIOS_SUCCESSFUL : PCIBIOS_DEVICE_NOT_FOUND;
}

static int sim_cfg_write(struct pci_bus *bus, unsigned int devfn, int where,
			 int size, u32 val)
{
	struct sim_gpu *gpu = gpu_of(bus);
	bool sriov = !devfn && gpu->spec.total_vfs;
	unsigned long flags;
	u8 *cfg, mask;
	int i;

	if (where + size > PCI_CFG_SPACE_EXP_SIZE)
		return PCIBIOS_BAD_REGISTER_NUMBER;
	raw_spin_lock_irqsave(&gpu->cfg_lock, flags);
	cfg = function(gpu, devfn);
	for (i = 0; cfg && i < size; i++, val >>= 8) {
		mask = writable(where + i, sriov);
		cfg[where + i] = (cfg[where + i] & ~mask) | (val & mask);
	}
	raw_spin_unlock_irqrestore(&gpu->cfg_lock, flags);
	return cfg ? PCIBIOS_SUCCESSFUL : PCIBIOS_DEVICE_NOT_FOUND;
}

static struct pci_ops sim_pci_ops = {
	.read = sim_cfg_read,
	.write = sim_cfg_write,
};

/* The GPU that a function of our buses belongs to; NULL for any other. */
struct sim_gpu *sim_gpu_of(struct pci_dev *pdev)
{
	return pdev->bus->ops == &sim_pci_ops ? gpu_of(pdev->bus) : NULL;
}

/* Keep nouveau and the like off: they would look for registers. */
static int sim_pci_notify(struct notifier_block *nb, unsigned long action,
			  void *data)
{
	struct pci_dev *pdev = to_pci_dev(data);
	const char *driver = SIM_DRIVER;
	struct sim_gpu *gpu;

	gpu = action == BUS_NOTIFY_ADD_DEVICE ? sim_gpu_of(pdev) : NULL;
	if (!gpu)
		return NOTIFY_DONE;
	if (gpu->spec.card->framework == SIM_NO_DRIVER)
		driver = "none";
	if (sim_set_driver_override(pdev, driver))
		pci_err(pdev, "no memory to keep other drivers off\n");
	return NOTIFY_OK;
}

static struct notifier_block sim_pci_nb = {
	.notifier_call = sim_pci_notify,
};

static int fill(struct sim_gpu *gpu)
{
	unsigned int i, vfs = gpu->spec.total_vfs;

	gpu->cfg = kvcalloc(1 + vfs, PCI_CFG_SPACE_EXP_SIZE, GFP_KERNEL);
	if (!gpu->cfg)
		return -ENOMEM;
	for (i = 0; i <= vfs; i++)
		fill_function(gpu->cfg + i * PCI_CFG_SPACE_EXP_SIZE,
			      gpu->spec.card, i);
	if (vfs)
		fill_sriov(gpu->cfg, &gpu->spec);
	return 0;
}

static int add_bus(struct sim_gpu *gpu)
{
	struct pci_host_bridge *bridge;
	int node = gpu->spec.node;
	struct pci_dev *pdev;
	int ret;

	if (node != NUMA_NO_NODE && (node >= nr_node_ids || !node_online(node)))
		node = NUMA_NO_NODE;
	gpu->sysdata.domain = gpu->spec.domain;
	/* The kernel warns of a bus without a node where there are several. */
	gpu->sysdata.node = node == NUMA_NO_NODE ? first_online_node : node;
	gpu->busn = (struct resource) {
		.name = KBUILD_MODNAME,
		.start = gpu->spec.bus,
		.end = gpu->spec.bus,
		.flags = IORESOURCE_BUS,
	};

	bridge = pci_alloc_host_bridge(0);
	if (!bridge)
		return -ENOMEM;
	pci_add_resource(&bridge->windows, &gpu->busn);
	bridge->sysdata = &gpu->sysdata;
	bridge->ops = &sim_pci_ops;
	ret = pci_scan_root_bus_bridge(bridge);
	if (ret) {
		pci_free_host_bridge(bridge);
		return ret;
	}
	gpu->bridge = bridge;
	gpu->sysdata.node = node;
	list_for_each_entry(pdev, &bridge->bus->devices, bus_list)
		set_dev_node(&pdev->dev, node);
	pci_bus_add_devices(bridge->bus);
	return 0;
}

/* All or none. */
int sim_buses_add(struct list_head *gpus)
{
	struct sim_gpu *gpu;
	int ret;

	ret = bus_register_notifier(&pci_bus_type, &sim_pci_nb);
	if (ret)
		return ret;
	list_for_each_entry(gpu, gpus, list) {
		ret = fill(gpu);
		if (ret)
			goto err;
	}

	pci_lock_rescan_remove();
	list_for_each_entry(gpu, gpus, list)
		if (pci_find_bus(gpu->spec.domain, gpu->spec.bus)) {
			pr_err("hosts, gpus: found a PCI bus %04x:%02x on this machine, expected a number that is free\n",
			       gpu->spec.domain, gpu->spec.bus);
			/* modprobe takes EEXIST for a module that is loaded. */
			ret = -EBUSY;
		}
	list_for_each_entry(gpu, gpus, list) {
		if (!ret)
			ret = add_bus(gpu);
	}
	pci_unlock_rescan_remove();
	if (!ret)
		return 0;
err:
	sim_buses_remove(gpus);
	return ret;
}

void sim_buses_remove(struct list_head *gpus)
{
	struct sim_gpu *gpu;

	pci_lock_rescan_remove();
	list_for_each_entry(gpu, gpus, list) {
		if (!gpu->bridge)
			continue;
		pci_stop_root_bus(gpu->bridge->bus);
		pci_remove_root_bus(gpu->bridge->bus);
		pci_free_host_bridge(gpu->bridge);
	}
	pci_unlock_rescan_remove();
	bus_unregister_notifier(&pci_bus_type, &sim_pci_nb);
	list_for_each_entry(gpu, gpus, list) {
		kvfree(gpu->cfg);
		gpu->cfg = NULL;
	}
}
