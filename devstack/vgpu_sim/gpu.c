// SPDX-License-Identifier: GPL-2.0-only
/* The driver of the GPUs and their VFs; SR-IOV. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "vgpu_sim.h"

#define SIM_SRIOV_MANAGE "sriov-manage"

static bool sriov_guard = true;
module_param(sriov_guard, bool, 0644);
MODULE_PARM_DESC(sriov_guard, "only sriov-manage may write sriov_numvfs (default Y)");

static int offer(struct sim_parent *parent)
{
	int ret;

	if (parent->gpu->spec.card->framework == SIM_MDEV)
		ret = sim_mdev_offer(parent);
	else
		ret = sim_vendor_offer(parent);
	parent->offered = !ret;
	return ret;
}

static void offer_late(struct work_struct *work)
{
	struct sim_parent *parent = container_of(to_delayed_work(work),
						 struct sim_parent, offer_work);
	int ret = offer(parent);

	if (ret)
		pci_err(parent->pdev, "no vGPU types: error %d\n", ret);
}

static int sim_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct sim_gpu *gpu = sim_gpu_of(pdev);
	unsigned long delay = sim_fault_offer_delay();
	struct sim_parent *parent;
	int ret = 0;

	if (!gpu || gpu->spec.card->framework == SIM_NO_DRIVER)
		return -ENODEV;
	if (pdev->is_physfn)
		return 0;
	parent = kzalloc(struct_size(parent, mdev_types,
				     gpu->spec.card->num_types), GFP_KERNEL);
	if (!parent)
		return -ENOMEM;
	parent->gpu = gpu;
	parent->pdev = pdev;
	mutex_init(&parent->lock);
	init_waitqueue_head(&parent->leave_wait);
	INIT_DELAYED_WORK(&parent->offer_work, offer_late);
	pci_set_drvdata(pdev, parent);
	if (delay)
		queue_delayed_work(system_long_wq, &parent->offer_work, delay);
	else
		ret = offer(parent);
	if (ret)
		kfree(parent);
	return ret;
}

static void sim_remove(struct pci_dev *pdev)
{
	struct sim_parent *parent;

	if (pdev->is_physfn) {
		pci_disable_sriov(pdev);
		return;
	}
	parent = pci_get_drvdata(pdev);
	WRITE_ONCE(parent->leaving, true);
	wake_up_all(&parent->leave_wait);
	cancel_delayed_work_sync(&parent->offer_work);
	if (parent->offered && parent->gpu->spec.card->framework == SIM_MDEV)
		sim_mdev_withdraw(parent);
	else if (parent->offered)
		sim_vendor_withdraw(parent);
	/*
	 * The mdev core's remove_store() may still try the lock that is in
	 * there, on its way to find that its mdev is gone.
	 */
	kfree_rcu(parent, rcu);
}

/* The caller holds the device lock. */
static int sim_sriov_configure(struct pci_dev *pdev, int num_vfs)
{
	struct sim_gpu *gpu = sim_gpu_of(pdev);
	char comm[TASK_COMM_LEN];
	int ret;

	if (!pdev->is_physfn)
		return -ENODEV;
	get_task_comm(comm, current);
	if (READ_ONCE(sriov_guard) && strcmp(comm, SIM_SRIOV_MANAGE)) {
		pci_info(pdev, "sriov_numvfs: refused to '%s', use %s\n",
			 comm, SIM_SRIOV_MANAGE);
		return -EPERM;
	}
	if (num_vfs) {
		if (sim_fault_sriov_busy())
			return -EBUSY;
		ret = pci_enable_sriov(pdev, num_vfs);
		return ret ?: num_vfs;
	}
	ret = sim_close(gpu);
	if (ret)
		return ret;
	pci_disable_sriov(pdev);
	sim_reopen(gpu);
	return 0;
}

static const struct pci_device_id sim_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_NVIDIA, PCI_ANY_ID) },
	{ }
};

static struct pci_driver sim_driver = {
	.name = SIM_DRIVER,	/* also the prefix of the mdev types' folders */
	.id_table = sim_ids,
	.probe = sim_probe,
	.remove = sim_remove,
	.sriov_configure = sim_sriov_configure,
	.driver_managed_dma = true,
};

int sim_gpu_driver_register(void)
{
	int ret = pci_register_driver(&sim_driver);

	if (ret == -EBUSY)
		pr_err("found a PCI driver '%s', expected none: unload it first\n",
		       SIM_DRIVER);
	return ret;
}

void sim_gpu_driver_unregister(void)
{
	pci_unregister_driver(&sim_driver);
}
