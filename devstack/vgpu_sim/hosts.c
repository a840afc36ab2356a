// SPDX-License-Identifier: GPL-2.0-only
/* Which GPUs there are: the parameters "hosts" and "gpus". */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vgpu_sim.h"

#define SIM_DEFAULT_HOST "v100x8"

static char *hosts;
module_param(hosts, charp, 0444);
MODULE_PARM_DESC(hosts, "a host to be: v100x8 (without gpus= the default), a40-sriov, l40s-vendor-vfio, ...");

static char *gpus;
module_param(gpus, charp, 0444);
MODULE_PARM_DESC(gpus, "GPUs: CARD@ADDRESS[/VFS],... such as v100-sxm2-32gb@0000:1a:00.0,a40@0000:41:00.0/16");

static int add_gpu(struct list_head *list, const struct sim_host_gpu *spec,
		   const char *param)
{
	struct sim_gpu *gpu;

	list_for_each_entry(gpu, list, list) {
		if (gpu->spec.domain != spec->domain ||
		    gpu->spec.bus != spec->bus)
			continue;
		pr_err("%s: found two GPUs on the bus %04x:%02x, expected each on a bus of its own\n",
		       param, spec->domain, spec->bus);
		return -EINVAL;
	}
	gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	if (!gpu)
		return -ENOMEM;
	gpu->spec = *spec;
	raw_spin_lock_init(&gpu->cfg_lock);
	mutex_init(&gpu->lock);
	list_add_tail(&gpu->list, list);
	return 0;
}

static int add_host(struct list_head *list, const char *name)
{
	char known[256] = "";
	unsigned int i, j;
	size_t len = 0;
	int ret;

	for (i = 0; i < sim_num_hosts; i++) {
		if (strcmp(sim_hosts[i].name, name)) {
			len += scnprintf(known + len, sizeof(known) - len,
					 "%s%s", len ? ", " : "",
					 sim_hosts[i].name);
			continue;
		}
		for (j = 0; j < sim_hosts[i].num_gpus; j++) {
			ret = add_gpu(list, &sim_hosts[i].gpus[j], "hosts");
			if (ret)
				return ret;
		}
		return 0;
	}
	pr_err("hosts: found '%s', expected one of %s\n", name, known);
	return -EINVAL;
}

static const struct sim_card *find_card(const char *name)
{
	char known[256] = "";
	size_t len = 0;
	unsigned int i;

	for (i = 0; i < sim_num_cards; i++) {
		if (!strcmp(sim_cards[i]->name, name))
			return sim_cards[i];
		len += scnprintf(known + len, sizeof(known) - len, "%s%s",
				 len ? ", " : "", sim_cards[i]->name);
	}
	pr_err("gpus: found the card '%s', expected one of %s\n", name, known);
	return NULL;
}

static int parse_address(const char *text, struct sim_host_gpu *spec)
{
	unsigned int domain = 0, bus = 0;
	char again[16];
	int n = sscanf(text, "%4x:%2x", &domain, &bus);

	snprintf(again, sizeof(again), "%04x:%02x:00.0", domain, bus);
	if (n != 2 || strcasecmp(again, text)) {
		pr_err("gpus: found the address '%s', expected one such as 0000:1a:00.0, device 00 and function 0\n",
		       text);
		return -EINVAL;
	}
	spec->domain = domain;
	spec->bus = bus;
	return 0;
}

static int parse_gpu(struct list_head *list, char *text)
{
	struct sim_host_gpu spec = { .node = NUMA_NO_NODE };
	char *address = text, *card = strsep(&address, "@"), *vfs;
	unsigned int least;
	int ret;

	if (!address) {
		pr_err("gpus: found '%s', expected CARD@ADDRESS[/VFS]\n", card);
		return -EINVAL;
	}
	vfs = address;
	strsep(&vfs, "/");
	spec.card = find_card(card);
	if (!spec.card)
		return -EINVAL;
	ret = parse_address(address, &spec);
	if (ret)
		return ret;
	spec.total_vfs = spec.card->total_vfs;
	least = spec.card->framework == SIM_VENDOR_VFIO;
	if (vfs && (!isdigit(*vfs) || kstrtouint(vfs, 10, &spec.total_vfs) ||
		    spec.total_vfs < least || spec.total_vfs > SIM_MAX_VFS)) {
		pr_err("gpus: found '%s' VFs of %s, expected %u to %u\n",
		       vfs, address, least, SIM_MAX_VFS);
		return -EINVAL;
	}
	return add_gpu(list, &spec, "gpus");
}

static int parse_gpus(struct list_head *list)
{
	char *copy, *rest, *one;
	int ret = 0;

	copy = kstrdup(gpus, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	rest = copy;
	while (!ret && (one = strsep(&rest, ",")))
		ret = parse_gpu(list, one);
	kfree(copy);
	return ret;
}

/* Whatever happened, sim_hosts_free() must follow. */
int sim_hosts_parse(struct list_head *list)
{
	bool has_gpus = gpus && *gpus;
	int ret;

	if (hosts && *hosts)
		ret = add_host(list, hosts);
	else if (!has_gpus)
		ret = add_host(list, SIM_DEFAULT_HOST);
	else
		ret = 0;
	if (!ret && has_gpus)
		ret = parse_gpus(list);
	return ret;
}

void sim_hosts_free(struct list_head *list)
{
	struct sim_gpu *gpu, *next;

	list_for_each_entry_safe(gpu, next, list, list) {
		list_del(&gpu->list);
		kfree(gpu);
	}
}
