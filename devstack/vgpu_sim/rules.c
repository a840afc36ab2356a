// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many vGPUs fit: what fits() and available() say in
 * nova_vgpu_ext/sim/description.py.
 */
#include "vgpu_sim.h"

static bool fits(struct sim_gpu *gpu, unsigned int type)
{
	const struct sim_type *t = &gpu->spec.card->types[type];

	return gpu->fb_used + t->fb_mib <= gpu->spec.card->fb_mib &&
	       gpu->used[type] < t->maximum;
}

static unsigned int available(struct sim_parent *parent, unsigned int type)
{
	struct sim_gpu *gpu = parent->gpu;

	if (parent->pdev->is_virtfn)
		return !parent->num_vgpus && fits(gpu, type);
	if (gpu->num_vgpus != gpu->used[type])
		return 0;
	return gpu->spec.card->types[type].maximum - gpu->used[type];
}

bool sim_fits(struct sim_gpu *gpu, unsigned int type)
{
	bool ret;

	mutex_lock(&gpu->lock);
	ret = fits(gpu, type);
	mutex_unlock(&gpu->lock);
	return ret;
}

unsigned int sim_available(struct sim_parent *parent, unsigned int type)
{
	unsigned int ret;

	mutex_lock(&parent->gpu->lock);
	ret = available(parent, type);
	mutex_unlock(&parent->gpu->lock);
	return ret;
}

static void account(struct sim_parent *parent, unsigned int type, int n)
{
	struct sim_gpu *gpu = parent->gpu;

	parent->num_vgpus += n;
	gpu->num_vgpus += n;
	gpu->used[type] += n;
	gpu->fb_used += n * (int)gpu->spec.card->types[type].fb_mib;
}

int sim_reserve(struct sim_parent *parent, unsigned int type)
{
	struct sim_gpu *gpu = parent->gpu;
	int ret = 0;

	mutex_lock(&gpu->lock);
	if (gpu->closing)
		ret = -ENODEV;
	else if (!available(parent, type))
		ret = -ENOSPC;
	else
		account(parent, type, 1);
	mutex_unlock(&gpu->lock);
	return ret;
}

void sim_release(struct sim_parent *parent, unsigned int type)
{
	mutex_lock(&parent->gpu->lock);
	account(parent, type, -1);
	mutex_unlock(&parent->gpu->lock);
}

/* Let no vGPU be made until sim_reopen(), unless there is one. */
int sim_close(struct sim_gpu *gpu)
{
	int ret = 0;

	mutex_lock(&gpu->lock);
	if (gpu->num_vgpus)
		ret = -EBUSY;
	else
		gpu->closing = true;
	mutex_unlock(&gpu->lock);
	return ret;
}

void sim_reopen(struct sim_gpu *gpu)
{
	mutex_lock(&gpu->lock);
	gpu->closing = false;
	mutex_unlock(&gpu->lock);
}
