// SPDX-License-Identifier: GPL-2.0-only
/* Mediated devices: the types of a function, and what an mdev shows. */
#include <linux/module.h>

#include "compat.h"
#include "vgpu_sim.h"

static struct sim_parent *parent_of(struct mdev_type *mtype)
{
	return container_of(mtype->parent, struct sim_parent, mdev);
}

static unsigned int index_of(struct mdev_type *mtype)
{
	return mtype - parent_of(mtype)->mdev_types;
}

static unsigned int sim_mdev_available(struct mdev_type *mtype)
{
	return sim_available(parent_of(mtype), index_of(mtype));
}

static ssize_t sim_mdev_description(struct mdev_type *mtype, char *buf)
{
	const struct sim_card *card = parent_of(mtype)->gpu->spec.card;

	return sysfs_emit(buf, "%s\n", card->types[index_of(mtype)].description);
}

static int sim_mdev_probe(struct mdev_device *mdev)
{
	struct sim_vgpu *vgpu;

	vgpu = sim_vgpu_create(parent_of(mdev->type), &mdev->dev,
			       index_of(mdev->type));
	if (IS_ERR(vgpu))
		return PTR_ERR(vgpu);
	dev_set_drvdata(&mdev->dev, vgpu);
	return 0;
}

static void sim_mdev_remove(struct mdev_device *mdev)
{
	sim_fault_wait_removal();
	sim_vgpu_destroy(dev_get_drvdata(&mdev->dev));
}

static ssize_t vm_name_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	return sim_vgpu_show_guest(dev_get_drvdata(dev), buf);
}
static DEVICE_ATTR_RO(vm_name);

static ssize_t vgpu_params_show(struct device *dev,
				struct device_attribute *attr, char *buf)
{
	return sim_vgpu_show_params(dev_get_drvdata(dev), buf);
}

static ssize_t vgpu_params_store(struct device *dev,
				 struct device_attribute *attr,
				 const char *buf, size_t count)
{
	return sim_vgpu_store_params(dev_get_drvdata(dev), buf, count);
}
static DEVICE_ATTR_RW(vgpu_params);

static struct attribute *sim_mdev_attrs[] = {
	&dev_attr_vm_name.attr,
	&dev_attr_vgpu_params.attr,
	NULL
};

static const struct attribute_group sim_mdev_group = {
	.name = "nvidia",
	.attrs = sim_mdev_attrs,
};

static const struct attribute_group *sim_mdev_groups[] = {
	&sim_mdev_group,
	NULL
};

static struct mdev_driver sim_mdev_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.probe = sim_mdev_probe,
	.remove = sim_mdev_remove,
	.get_available = sim_mdev_available,
	.show_description = sim_mdev_description,
	.driver = {
		.name = "nvidia-vgpu-vfio",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = sim_mdev_groups,
	},
};

int sim_mdev_driver_register(void)
{
	return mdev_register_driver(&sim_mdev_driver);
}

void sim_mdev_driver_unregister(void)
{
	mdev_unregister_driver(&sim_mdev_driver);
}

int sim_mdev_offer(struct sim_parent *parent)
{
	const struct sim_card *card = parent->gpu->spec.card;
	unsigned int i;

	for (i = 0; i < card->num_types; i++) {
		parent->mdev_types[i].sysfs_name = card->types[i].number;
		parent->mdev_types[i].pretty_name = card->types[i].name;
		parent->mdev_ptrs[i] = &parent->mdev_types[i];
	}
	return mdev_register_parent(&parent->mdev, &parent->pdev->dev,
				    &sim_mdev_driver, parent->mdev_ptrs,
				    card->num_types);
}

void sim_mdev_withdraw(struct sim_parent *parent)
{
	mdev_unregister_parent(&parent->mdev);
}
