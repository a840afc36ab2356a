/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between Linux 6.1 and 6.12. */
#ifndef VGPU_SIM_COMPAT_H
#define VGPU_SIM_COMPAT_H

#include <linux/eventfd.h>
#include <linux/pci.h>
#include <linux/version.h>
#include <linux/vfio.h>

/* Until 6.1 the driver frees its device; from then on the core does. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define SIM_VFIO_RELEASE	.release = vfio_free_device,
#else
#define SIM_VFIO_RELEASE
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define SIM_VFIO_DETACH(kind)	.detach_ioas = vfio_iommufd_##kind##_detach_ioas,
#else
#define SIM_VFIO_DETACH(kind)
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define SIM_VFIO_IOMMUFD(kind)				\
	.bind_iommufd = vfio_iommufd_##kind##_bind,	\
	.unbind_iommufd = vfio_iommufd_##kind##_unbind,	\
	.attach_ioas = vfio_iommufd_##kind##_attach_ioas, \
	SIM_VFIO_DETACH(kind)
#else
#define SIM_VFIO_IOMMUFD(kind)
#endif

/* Kbuild looks for it: stable kernels took it over. */
static inline int sim_set_driver_override(struct pci_dev *pdev, const char *name)
{
#ifdef SIM_HAS_DEVICE_SET_DRIVER_OVERRIDE
	return device_set_driver_override(&pdev->dev, name);
#else
	return driver_set_override(&pdev->dev, &pdev->driver_override, name,
				   strlen(name));
#endif
}

static inline void sim_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

#endif
