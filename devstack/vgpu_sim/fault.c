// SPDX-License-Identifier: GPL-2.0-only
/* Faults on demand; every parameter can be written at any time. */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/moduleparam.h>
#include <linux/spinlock.h>

#include "vgpu_sim.h"

/* udev waits for a device that is being made: no hung task at 120 s. */
#define SIM_MAX_CREATE_DELAY_MS	60000
#define SIM_MAX_TYPES_DELAY_MS	600000

static int set_errno(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, MAX_ERRNO);
}

static int set_create_delay(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, SIM_MAX_CREATE_DELAY_MS);
}

static int set_types_delay(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, SIM_MAX_TYPES_DELAY_MS);
}

static const struct kernel_param_ops errno_ops = {
	.set = set_errno,
	.get = param_get_uint,
};

static const struct kernel_param_ops create_delay_ops = {
	.set = set_create_delay,
	.get = param_get_uint,
};

static const struct kernel_param_ops types_delay_ops = {
	.set = set_types_delay,
	.get = param_get_uint,
};

static DEFINE_SPINLOCK(create_lock);

static unsigned int create_errno;
module_param_cb(create_errno, &errno_ops, &create_errno, 0644);
__MODULE_PARM_TYPE(create_errno, "uint");
MODULE_PARM_DESC(create_errno, "the error number with which each vGPU creation fails (0: none does)");

static unsigned int create_fail_nth;
module_param(create_fail_nth, uint, 0644);
MODULE_PARM_DESC(create_fail_nth, "the N-th vGPU creation from now fails, with create_errno or EIO; both are 0 afterwards");

static unsigned int create_delay_ms;
module_param_cb(create_delay_ms, &create_delay_ops, &create_delay_ms, 0644);
__MODULE_PARM_TYPE(create_delay_ms, "uint");
MODULE_PARM_DESC(create_delay_ms, "how long each vGPU creation takes (at most 60000)");

static unsigned int types_delay_ms;
module_param_cb(types_delay_ms, &types_delay_ops, &types_delay_ms, 0644);
__MODULE_PARM_TYPE(types_delay_ms, "uint");
MODULE_PARM_DESC(types_delay_ms, "how long after a device its vGPU types appear (at most 600000)");

static unsigned int sriov_busy;
module_param(sriov_busy, uint, 0644);
MODULE_PARM_DESC(sriov_busy, "the next N attempts to enable VFs fail with EBUSY");

static bool hold_removal;
static bool ended;
static DECLARE_WAIT_QUEUE_HEAD(hold_wait);

static int set_hold(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	wake_up_all(&hold_wait);
	return ret;
}

static const struct kernel_param_ops hold_ops = {
	.set = set_hold,
	.get = param_get_bool,
};
module_param_cb(hold_removal, &hold_ops, &hold_removal, 0644);
__MODULE_PARM_TYPE(hold_removal, "bool");
MODULE_PARM_DESC(hold_removal, "removing an mdev hangs until this is cleared, removing a vGPU type fails with EBUSY");

/* With which error the creation that begins now has to fail, or 0. */
int sim_fault_create(void)
{
	int ret;

	spin_lock(&create_lock);
	ret = -create_errno;
	if (create_fail_nth) {
		if (--create_fail_nth) {
			ret = 0;
		} else {
			create_errno = 0;
			ret = ret ?: -EIO;
		}
	}
	spin_unlock(&create_lock);
	return ret;
}

int sim_fault_create_delay(struct sim_parent *parent)
{
	unsigned int ms = READ_ONCE(create_delay_ms);
	long left;

	if (!ms)
		return 0;
	left = wait_event_interruptible_timeout(parent->leave_wait,
						READ_ONCE(parent->leaving),
						msecs_to_jiffies(ms));
	if (left < 0)
		return -EINTR;
	return left ? -ENODEV : 0;
}

unsigned long sim_fault_offer_delay(void)
{
	return msecs_to_jiffies(READ_ONCE(types_delay_ms));
}

bool sim_fault_removal_held(void)
{
	return READ_ONCE(hold_removal) && !READ_ONCE(ended);
}

void sim_fault_wait_removal(void)
{
	/* Idle, so that the kernel does not report a hung task. */
	wait_event_idle(hold_wait, !sim_fault_removal_held());
}

bool sim_fault_sriov_busy(void)
{
	unsigned int n = READ_ONCE(sriov_busy);

	/* The PF's device lock keeps others out, but not those of other PFs. */
	while (n && !try_cmpxchg(&sriov_busy, &n, n - 1))
		;
	return n;
}

void sim_fault_end(void)
{
	WRITE_ONCE(ended, true);
	wake_up_all(&hold_wait);
}
