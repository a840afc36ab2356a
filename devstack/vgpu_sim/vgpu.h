/* SPDX-License-Identifier: GPL-2.0-only */
/* What vgpu.c and emulate.c share. */
#ifndef VGPU_SIM_VGPU_H
#define VGPU_SIM_VGPU_H

#include <linux/mutex.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "vgpu_sim.h"

#define SIM_PARAMS_LEN	1024
#define SIM_GUEST_LEN	256

struct sim_vgpu {
	struct vfio_device vdev;	/* first: vfio_alloc_device() */
	struct sim_parent *parent;
	unsigned int type;

	struct mutex lock;		/* all below */
	bool open;
	bool retired;
	struct eventfd_ctx *request;
	char guest[SIM_GUEST_LEN];
	char params[SIM_PARAMS_LEN];
	u8 cfg[PCI_CFG_SPACE_SIZE];
};

static inline struct sim_vgpu *sim_vgpu_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct sim_vgpu, vdev);
}

/* emulate.c */
void sim_vgpu_reset(struct sim_vgpu *vgpu);
void sim_vgpu_set_request(struct sim_vgpu *vgpu, struct eventfd_ctx *ctx);
ssize_t sim_vgpu_read(struct vfio_device *vdev, char __user *buf,
		      size_t count, loff_t *ppos);
ssize_t sim_vgpu_write(struct vfio_device *vdev, const char __user *buf,
		       size_t count, loff_t *ppos);
long sim_vgpu_ioctl(struct vfio_device *vdev, unsigned int cmd,
		    unsigned long arg);

#endif
