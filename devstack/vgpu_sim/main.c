// SPDX-License-Identifier: GPL-2.0-only
/* Loading and unloading. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

#include "vgpu_sim.h"

#ifndef CONFIG_X86
#error "vgpu_sim makes PCI buses the way of x86 only"
#endif

static LIST_HEAD(sim_gpus);

static int __init sim_init(void)
{
	int ret;

	ret = sim_hosts_parse(&sim_gpus);
	if (ret)
		goto err_free;
	ret = sim_mdev_driver_register();
	if (ret)
		goto err_free;
	ret = sim_gpu_driver_register();
	if (ret)
		goto err_mdev;
	ret = sim_buses_add(&sim_gpus);
	if (ret)
		goto err_gpu;
	return 0;

err_gpu:
	sim_gpu_driver_unregister();
err_mdev:
	sim_mdev_driver_unregister();
err_free:
	sim_hosts_free(&sim_gpus);
	return ret;
}

/*
 * The PCI driver goes before its buses: sriov_numvfs takes the device lock
 * and then the rescan lock, removing a bus takes them the other way round,
 * and without a driver sriov_numvfs stops after the first.
 */
static void __exit sim_exit(void)
{
	sim_fault_end();
	sim_gpu_driver_unregister();
	sim_buses_remove(&sim_gpus);
	sim_mdev_driver_unregister();
	sim_hosts_free(&sim_gpus);
}

module_init(sim_init);
module_exit(sim_exit);

/* No device table: a real GPU must not load this module. */
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A vGPU host without a GPU: simulated NVIDIA cards");
MODULE_AUTHOR("The nova-vgpu-ext developers");
