// SPDX-License-Identifier: GPL-2.0-only
/* The name of the guest whose QEMU opens a vGPU. */
#include <linux/ctype.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "vgpu_sim.h"

#define SIM_MAX_ARGS (128 << 10)

/* The NUL-separated arguments of the current process, and a NUL. */
static char *read_args(size_t *len)
{
	struct mm_struct *mm = current->mm;
	unsigned long start;
	char *args;

	if (!mm)
		return NULL;
	spin_lock(&mm->arg_lock);
	start = mm->arg_start;
	*len = min_t(unsigned long, mm->arg_end - start, SIM_MAX_ARGS);
	spin_unlock(&mm->arg_lock);
	args = kvmalloc(*len + 1, GFP_KERNEL);
	if (!args)
		return NULL;
	if (copy_from_user(args, (void __user *)start, *len)) {
		kvfree(args);
		return NULL;
	}
	args[*len] = '\0';
	return args;
}

/* "guest=a,,b,debug-threads=on" and "a,,b,process=c" both name "a,b". */
static void take_name(const char *opts, char *name, size_t size)
{
	bool first = true;

	for (; *opts; first = false) {
		bool guest = strstarts(opts, "guest=");
		size_t n = 0;

		if (guest)
			opts += strlen("guest=");
		else if (first && opts[strcspn(opts, "=,")] != '=')
			guest = true;
		for (; *opts; opts++) {
			if (*opts == ',' && *++opts != ',')
				break;
			if (guest && n < size - 1)
				name[n++] = *opts;
		}
		if (guest)
			name[n] = '\0';
	}
}

void sim_guest_name(char *name, size_t size)
{
	char *args, *end, *arg;
	size_t len;

	*name = '\0';
	args = read_args(&len);
	if (args) {
		end = args + len;
		for (arg = args; arg < end; arg += strlen(arg) + 1)
			if (!strcmp(arg, "-name") || !strcmp(arg, "--name")) {
				arg += strlen(arg) + 1;
				if (arg >= end)
					break;
				take_name(arg, name, size);
			}
		kvfree(args);
	}
	if (!*name)
		strscpy(name, current->group_leader->comm, size);
	for (; *name; name++)
		if (!isascii(*name) || !isprint(*name))
			*name = '?';
}
