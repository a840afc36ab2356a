// SPDX-License-Identifier: GPL-2.0-only
/* Vendor-specific VFIO: no mdev, a type is set on the VF itself. */
#include <linux/kernel.h>

#include "compat.h"
#include "vgpu_sim.h"

static ssize_t creatable_vgpu_types_show(struct device *dev,
					 struct device_attribute *attr,
					 char *buf)
{
	struct sim_parent *parent = dev_get_drvdata(dev);
	const struct sim_card *card = parent->gpu->spec.card;
	ssize_t len = sysfs_emit(buf, "ID    : vGPU Name\n");
	unsigned int i;

	for (i = 0; i < card->num_types; i++)
		if (sim_fits(parent->gpu, i))
			len += sysfs_emit_at(buf, len, "%-6u: %s\n",
					     card->types[i].id,
					     card->types[i].name);
	return len;
}
static DEVICE_ATTR_RO(creatable_vgpu_types);

static ssize_t current_vgpu_type_show(struct device *dev,
				      struct device_attribute *attr, char *buf)
{
	struct sim_parent *parent = dev_get_drvdata(dev);
	const struct sim_card *card = parent->gpu->spec.card;
	unsigned int id = 0;

	mutex_lock(&parent->lock);
	if (parent->vgpu)
		id = card->types[sim_vgpu_type(parent->vgpu)].id;
	mutex_unlock(&parent->lock);
	return sysfs_emit(buf, "%u\n", id);
}

/* While "changing" is set the vGPU comes or goes, with no lock held. */
static int begin_change(struct sim_parent *parent, bool create,
			struct sim_vgpu **vgpu)
{
	int ret = 0;

	mutex_lock(&parent->lock);
	*vgpu = parent->vgpu;
	if (parent->changing)
		ret = -EBUSY;
	else if (create)
		ret = *vgpu ? -EEXIST : 0;
	else if (*vgpu)
		ret = sim_fault_removal_held() ? -EBUSY :
						 sim_vgpu_retire(*vgpu);
	if (!ret) {
		parent->changing = true;
		parent->vgpu = NULL;
	}
	mutex_unlock(&parent->lock);
	return ret;
}

static void end_change(struct sim_parent *parent, struct sim_vgpu *vgpu)
{
	mutex_lock(&parent->lock);
	parent->vgpu = vgpu;
	parent->changing = false;
	mutex_unlock(&parent->lock);
}

static int set_type(struct sim_parent *parent, unsigned int type)
{
	struct sim_vgpu *vgpu;
	int ret;

	ret = begin_change(parent, true, &vgpu);
	if (ret)
		return ret;
	vgpu = sim_vgpu_create(parent, &parent->pdev->dev, type);
	end_change(parent, IS_ERR(vgpu) ? NULL : vgpu);
	return PTR_ERR_OR_ZERO(vgpu);
}

static int clear_type(struct sim_parent *parent)
{
	struct sim_vgpu *vgpu;
	int ret;

	ret = begin_change(parent, false, &vgpu);
	if (ret)
		return ret;
	if (vgpu)
		sim_vgpu_destroy(vgpu);
	end_change(parent, NULL);
	return 0;
}

static ssize_t current_vgpu_type_store(struct device *dev,
				       struct device_attribute *attr,
				       const char *buf, size_t count)
{
	struct sim_parent *parent = dev_get_drvdata(dev);
	const struct sim_card *card = parent->gpu->spec.card;
	unsigned int i, id;
	int ret;

	if (kstrtouint(buf, 10, &id))
		return -EINVAL;
	for (i = 0; i < card->num_types; i++)
		if (card->types[i].id == id)
			break;
	if (!id)
		ret = clear_type(parent);
	else if (i < card->num_types)
		ret = set_type(parent, i);
	else
		ret = -EINVAL;
	return ret ?: count;
}
static DEVICE_ATTR_RW(current_vgpu_type);

static ssize_t vgpu_params_show(struct device *dev,
				struct device_attribute *attr, char *buf)
{
	struct sim_parent *parent = dev_get_drvdata(dev);
	ssize_t ret = 0;

	mutex_lock(&parent->lock);
	if (parent->vgpu)
		ret = sim_vgpu_show_params(parent->vgpu, buf);
	mutex_unlock(&parent->lock);
	return ret;
}

static ssize_t vgpu_params_store(struct device *dev,
				 struct device_attribute *attr,
				 const char *buf, size_t count)
{
	struct sim_parent *parent = dev_get_drvdata(dev);
	ssize_t ret = -ENODEV;

	mutex_lock(&parent->lock);
	if (parent->vgpu)
		ret = sim_vgpu_store_params(parent->vgpu, buf, count);
	mutex_unlock(&parent->lock);
	return ret;
}
static DEVICE_ATTR_RW(vgpu_params);

static struct attribute *sim_vendor_attrs[] = {
	&dev_attr_creatable_vgpu_types.attr,
	&dev_attr_current_vgpu_type.attr,
	&dev_attr_vgpu_params.attr,
	NULL
};

static const struct attribute_group sim_vendor_group = {
	.name = "nvidia",
	.attrs = sim_vendor_attrs,
};

int sim_vendor_offer(struct sim_parent *parent)
{
	return sysfs_create_group(&parent->pdev->dev.kobj, &sim_vendor_group);
}

/* Removing the group waits for those who are in it; then none is changing. */
void sim_vendor_withdraw(struct sim_parent *parent)
{
	sysfs_remove_group(&parent->pdev->dev.kobj, &sim_vendor_group);
	if (parent->vgpu)
		sim_vgpu_destroy(parent->vgpu);
}
