// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest sees of a vGPU: a PCI device with one BAR that reads as zero
 * and no interrupts.
 */
#include <linux/eventfd.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#include "vgpu.h"

#define SIM_BAR0_SIZE		(16u << 20)
#define SIM_OFFSET_SHIFT	40
#define SIM_OFFSET(index)	((u64)(index) << SIM_OFFSET_SHIFT)

/* The caller holds the lock. */
void sim_vgpu_reset(struct sim_vgpu *vgpu)
{
	const struct sim_card *card = vgpu->parent->gpu->spec.card;
	u8 *cfg = vgpu->cfg;

	memset(cfg, 0, sizeof(vgpu->cfg));
	*(__le16 *)(cfg + PCI_VENDOR_ID) = cpu_to_le16(card->vendor);
	*(__le16 *)(cfg + PCI_DEVICE_ID) = cpu_to_le16(card->device);
	*(__le32 *)(cfg + PCI_CLASS_REVISION) =
		cpu_to_le32(card->class << 8 | SIM_REVISION);
	*(__le16 *)(cfg + PCI_SUBSYSTEM_VENDOR_ID) = cpu_to_le16(card->vendor);
	*(__le16 *)(cfg + PCI_SUBSYSTEM_ID) = cpu_to_le16(SIM_SUBSYSTEM_ID);
}

static u8 writable(unsigned int where)
{
	switch (where) {
	case PCI_COMMAND:
		return PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_COMMAND + 1:
		return PCI_COMMAND_INTX_DISABLE >> 8;
	case PCI_BASE_ADDRESS_0 ... PCI_BASE_ADDRESS_0 + 3:
		return ~(SIM_BAR0_SIZE - 1) >> 8 * (where - PCI_BASE_ADDRESS_0);
	case PCI_INTERRUPT_LINE:
		return 0xff;
	default:
		return 0;
	}
}

static u64 region_size(unsigned int index)
{
	switch (index) {
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return PCI_CFG_SPACE_SIZE;
	case VFIO_PCI_BAR0_REGION_INDEX:
		return SIM_BAR0_SIZE;
	default:
		return 0;
	}
}

/* How much of an access is within its region; 0 for none at all. */
static size_t clip(loff_t pos, size_t count, unsigned int *where)
{
	u64 size = region_size((u64)pos >> SIM_OFFSET_SHIFT);
	u64 offset = pos & (BIT_ULL(SIM_OFFSET_SHIFT) - 1);

	if (offset >= size)
		return 0;
	*where = offset;
	return min_t(u64, count, size - offset);
}

static bool in_cfg(loff_t pos)
{
	return (u64)pos >> SIM_OFFSET_SHIFT == VFIO_PCI_CONFIG_REGION_INDEX;
}

ssize_t sim_vgpu_read(struct vfio_device *vdev, char __user *buf,
		      size_t count, loff_t *ppos)
{
	struct sim_vgpu *vgpu = sim_vgpu_of(vdev);
	u8 copy[PCI_CFG_SPACE_SIZE];
	unsigned int where;

	count = clip(*ppos, count, &where);
	if (!count)
		return -EINVAL;
	if (in_cfg(*ppos)) {
		mutex_lock(&vgpu->lock);
		memcpy(copy, vgpu->cfg + where, count);
		mutex_unlock(&vgpu->lock);
		if (copy_to_user(buf, copy, count))
			return -EFAULT;
	} else if (clear_user(buf, count)) {
		return -EFAULT;
	}
	*ppos += count;
	return count;
}

ssize_t sim_vgpu_write(struct vfio_device *vdev, const char __user *buf,
		       size_t count, loff_t *ppos)
{
	struct sim_vgpu *vgpu = sim_vgpu_of(vdev);
	u8 copy[PCI_CFG_SPACE_SIZE], mask;
	unsigned int where, i;

	count = clip(*ppos, count, &where);
	if (!count)
		return -EINVAL;
	if (in_cfg(*ppos)) {
		if (copy_from_user(copy, buf, count))
			return -EFAULT;
		mutex_lock(&vgpu->lock);
		for (i = 0; i < count; i++) {
			mask = writable(where + i);
			vgpu->cfg[where + i] &= ~mask;
			vgpu->cfg[where + i] |= copy[i] & mask;
		}
		mutex_unlock(&vgpu->lock);
	}
	*ppos += count;
	return count;
}

static long get_info(void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long get_region_info(void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_region_info, offset);
	struct vfio_region_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	info.size = region_size(info.index);
	info.offset = SIM_OFFSET(info.index);
	info.cap_offset = 0;
	info.flags = info.size ? VFIO_REGION_INFO_FLAG_READ |
				 VFIO_REGION_INFO_FLAG_WRITE : 0;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long get_irq_info(void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	/* Without an answer for errors QEMU does not expect to hear of them. */
	if (info.argsz < minsz || info.index >= VFIO_PCI_NUM_IRQS ||
	    info.index == VFIO_PCI_ERR_IRQ_INDEX)
		return -EINVAL;
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	info.count = info.index == VFIO_PCI_REQ_IRQ_INDEX;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

void sim_vgpu_set_request(struct sim_vgpu *vgpu, struct eventfd_ctx *ctx)
{
	mutex_lock(&vgpu->lock);
	swap(vgpu->request, ctx);
	mutex_unlock(&vgpu->lock);
	if (ctx)
		eventfd_ctx_put(ctx);
}

/* The only interrupt is the one that asks the guest to let go. */
static long set_irqs(struct sim_vgpu *vgpu, void __user *arg)
{
	struct eventfd_ctx *ctx = NULL;
	struct vfio_irq_set set;
	s32 fd = -1;

	if (copy_from_user(&set, arg, sizeof(set)))
		return -EFAULT;
	if (set.index != VFIO_PCI_REQ_IRQ_INDEX)
		return -EINVAL;
	switch (set.flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_NONE:
		break;
	case VFIO_IRQ_SET_DATA_EVENTFD:
		if (set.argsz < sizeof(set) + sizeof(fd) || set.count != 1)
			return -EINVAL;
		if (copy_from_user(&fd, arg + sizeof(set), sizeof(fd)))
			return -EFAULT;
		break;
	default:
		return -EINVAL;
	}
	if (fd >= 0) {
		ctx = eventfd_ctx_fdget(fd);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx);
	}
	sim_vgpu_set_request(vgpu, ctx);
	return 0;
}

long sim_vgpu_ioctl(struct vfio_device *vdev, unsigned int cmd,
		    unsigned long arg)
{
	struct sim_vgpu *vgpu = sim_vgpu_of(vdev);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return get_info(uarg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return get_region_info(uarg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return get_irq_info(uarg);
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(vgpu, uarg);
	case VFIO_DEVICE_RESET:
		mutex_lock(&vgpu->lock);
		sim_vgpu_reset(vgpu);
		mutex_unlock(&vgpu->lock);
		return 0;
	default:
		return -ENOTTY;
	}
}
