// SPDX-License-Identifier: GPL-2.0-only
/* A vGPU: its life, its guest and its parameters. */
#include <linux/ctype.h>
#include <linux/iommu.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "compat.h"
#include "vgpu.h"

static int sim_vgpu_open(struct vfio_device *vdev)
{
	struct sim_vgpu *vgpu = sim_vgpu_of(vdev);
	char guest[SIM_GUEST_LEN];
	int ret = 0;

	sim_guest_name(guest, sizeof(guest));
	mutex_lock(&vgpu->lock);
	if (vgpu->retired) {
		ret = -ENODEV;
	} else {
		vgpu->open = true;
		strscpy(vgpu->guest, guest, sizeof(vgpu->guest));
		sim_vgpu_reset(vgpu);
	}
	mutex_unlock(&vgpu->lock);
	return ret;
}

static void sim_vgpu_close(struct vfio_device *vdev)
{
	struct sim_vgpu *vgpu = sim_vgpu_of(vdev);

	sim_vgpu_set_request(vgpu, NULL);
	mutex_lock(&vgpu->lock);
	vgpu->open = false;
	vgpu->guest[0] = '\0';
	mutex_unlock(&vgpu->lock);
}

static void sim_vgpu_request(struct vfio_device *vdev, unsigned int count)
{
	struct sim_vgpu *vgpu = sim_vgpu_of(vdev);

	mutex_lock(&vgpu->lock);
	if (vgpu->request)
		sim_eventfd_signal(vgpu->request);
	mutex_unlock(&vgpu->lock);
}

#define SIM_VGPU_OPS			\
	.name = KBUILD_MODNAME,		\
	.open_device = sim_vgpu_open,	\
	.close_device = sim_vgpu_close,	\
	.read = sim_vgpu_read,		\
	.write = sim_vgpu_write,	\
	.ioctl = sim_vgpu_ioctl,	\
	.request = sim_vgpu_request,	\
	SIM_VFIO_RELEASE

static const struct vfio_device_ops sim_emulated_ops = {
	SIM_VGPU_OPS
	SIM_VFIO_IOMMUFD(emulated)
};

static const struct vfio_device_ops sim_physical_ops = {
	SIM_VGPU_OPS
	SIM_VFIO_IOMMUFD(physical)
};

static struct sim_vgpu *register_vgpu(struct sim_parent *parent,
				      struct device *dev, unsigned int type)
{
	/* A VF on a machine with an IOMMU is in a group already. */
	struct iommu_group *group = iommu_group_get(dev);
	struct sim_vgpu *vgpu;
	int ret;

	vgpu = vfio_alloc_device(sim_vgpu, vdev, dev,
				 group ? &sim_physical_ops : &sim_emulated_ops);
	if (!IS_ERR(vgpu)) {
		vgpu->parent = parent;
		vgpu->type = type;
		mutex_init(&vgpu->lock);
		if (group)
			ret = vfio_register_group_dev(&vgpu->vdev);
		else
			ret = vfio_register_emulated_iommu_dev(&vgpu->vdev);
		if (ret) {
			vfio_put_device(&vgpu->vdev);
			vgpu = ERR_PTR(ret);
		}
	}
	iommu_group_put(group);
	return vgpu;
}

struct sim_vgpu *sim_vgpu_create(struct sim_parent *parent, struct device *dev,
				 unsigned int type)
{
	struct sim_vgpu *vgpu;
	int fault = sim_fault_create();
	int ret;

	ret = sim_reserve(parent, type);
	if (ret)
		return ERR_PTR(ret);
	ret = sim_fault_create_delay(parent) ?: fault;
	vgpu = ret ? ERR_PTR(ret) : register_vgpu(parent, dev, type);
	if (IS_ERR(vgpu))
		sim_release(parent, type);
	return vgpu;
}

/* Waits until the guest lets go. */
void sim_vgpu_destroy(struct sim_vgpu *vgpu)
{
	vfio_unregister_group_dev(&vgpu->vdev);
	sim_release(vgpu->parent, vgpu->type);
	vfio_put_device(&vgpu->vdev);
}

/* Let no guest open it any more, unless one has done so. */
int sim_vgpu_retire(struct sim_vgpu *vgpu)
{
	int ret = 0;

	mutex_lock(&vgpu->lock);
	if (vgpu->open)
		ret = -EBUSY;
	else
		vgpu->retired = true;
	mutex_unlock(&vgpu->lock);
	return ret;
}

unsigned int sim_vgpu_type(struct sim_vgpu *vgpu)
{
	return vgpu->type;
}

static ssize_t show(struct sim_vgpu *vgpu, const char *text, char *buf)
{
	ssize_t ret = 0;

	mutex_lock(&vgpu->lock);
	if (*text)
		ret = sysfs_emit(buf, "%s\n", text);
	mutex_unlock(&vgpu->lock);
	return ret;
}

ssize_t sim_vgpu_show_guest(struct sim_vgpu *vgpu, char *buf)
{
	return show(vgpu, vgpu->guest, buf);
}

ssize_t sim_vgpu_show_params(struct sim_vgpu *vgpu, char *buf)
{
	return show(vgpu, vgpu->params, buf);
}

ssize_t sim_vgpu_store_params(struct sim_vgpu *vgpu, const char *buf,
			      size_t count)
{
	char *copy, *text, *c;
	ssize_t ret = count;

	if (count >= SIM_PARAMS_LEN)
		return -EINVAL;
	copy = kmemdup_nul(buf, count, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	text = strim(copy);
	for (c = text; *c; c++)
		if (!isascii(*c) || !isprint(*c))
			ret = -EINVAL;
	mutex_lock(&vgpu->lock);
	if (vgpu->open)
		ret = -EPERM;
	else if (ret > 0)
		strscpy(vgpu->params, text, sizeof(vgpu->params));
	mutex_unlock(&vgpu->lock);
	kfree(copy);
	return ret;
}
