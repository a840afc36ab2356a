/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the simulated vGPU host share. */
#ifndef VGPU_SIM_H
#define VGPU_SIM_H

#include <linux/list.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define SIM_DRIVER		"nvidia"
#define SIM_SUBSYSTEM_ID	0x1249
#define SIM_REVISION		0xa1
#define SIM_VF_OFFSET		4
#define SIM_MAX_VFS		(256 - SIM_VF_OFFSET)
#define SIM_MAX_TYPES		32

/* tables.c, made by tools/vgpu_sim_tables.py */

enum sim_framework {
	SIM_MDEV,
	SIM_VENDOR_VFIO,
	SIM_NO_DRIVER,
};

struct sim_type {
	unsigned int id;
	const char *number;	/* the id as text, without "nvidia-" */
	const char *name;
	const char *description;
	unsigned int fb_mib;
	unsigned int maximum;
};

struct sim_card {
	const char *name;
	u16 vendor;
	u16 device;
	u32 class;
	enum sim_framework framework;
	unsigned int fb_mib;
	unsigned int total_vfs;
	const struct sim_type *types;
	unsigned int num_types;
};

struct sim_host_gpu {
	const struct sim_card *card;
	u16 domain;
	u8 bus;
	int node;
	unsigned int total_vfs;
};

struct sim_host {
	const char *name;
	const struct sim_host_gpu *gpus;
	unsigned int num_gpus;
};

extern const struct sim_card *const sim_cards[];
extern const unsigned int sim_num_cards;
extern const struct sim_host sim_hosts[];
extern const unsigned int sim_num_hosts;

/* One card and its bus; both live as long as the module. */
struct sim_gpu {
	struct list_head list;
	struct sim_host_gpu spec;

	/* bus.c */
	struct pci_host_bridge *bridge;
	struct pci_sysdata sysdata;
	struct resource busn;
	raw_spinlock_t cfg_lock;
	u8 *cfg;

	/* rules.c */
	struct mutex lock;
	bool closing;
	unsigned int num_vgpus;
	unsigned int fb_used;
	unsigned int used[SIM_MAX_TYPES];
};

struct sim_vgpu;

/* A function that vGPUs are made on: a VF, or a GPU without SR-IOV. */
struct sim_parent {
	struct sim_gpu *gpu;
	struct pci_dev *pdev;
	unsigned int num_vgpus;		/* under gpu->lock */

	struct delayed_work offer_work;
	bool offered;
	bool leaving;
	wait_queue_head_t leave_wait;

	/* vendor.c */
	struct mutex lock;
	struct sim_vgpu *vgpu;
	bool changing;

	/* mdev.c */
	struct mdev_parent mdev;
	struct mdev_type *mdev_ptrs[SIM_MAX_TYPES];
	struct rcu_head rcu;
	struct mdev_type mdev_types[];
};

/* hosts.c */
int sim_hosts_parse(struct list_head *gpus);
void sim_hosts_free(struct list_head *gpus);

/* bus.c */
int sim_buses_add(struct list_head *gpus);
void sim_buses_remove(struct list_head *gpus);
struct sim_gpu *sim_gpu_of(struct pci_dev *pdev);

/* gpu.c */
int sim_gpu_driver_register(void);
void sim_gpu_driver_unregister(void);

/* rules.c */
bool sim_fits(struct sim_gpu *gpu, unsigned int type);
unsigned int sim_available(struct sim_parent *parent, unsigned int type);
int sim_reserve(struct sim_parent *parent, unsigned int type);
void sim_release(struct sim_parent *parent, unsigned int type);
int sim_close(struct sim_gpu *gpu);
void sim_reopen(struct sim_gpu *gpu);

/* vgpu.c */
struct sim_vgpu *sim_vgpu_create(struct sim_parent *parent, struct device *dev,
				 unsigned int type);
void sim_vgpu_destroy(struct sim_vgpu *vgpu);
int sim_vgpu_retire(struct sim_vgpu *vgpu);
unsigned int sim_vgpu_type(struct sim_vgpu *vgpu);
ssize_t sim_vgpu_show_guest(struct sim_vgpu *vgpu, char *buf);
ssize_t sim_vgpu_show_params(struct sim_vgpu *vgpu, char *buf);
ssize_t sim_vgpu_store_params(struct sim_vgpu *vgpu, const char *buf,
			      size_t count);

/* guest.c */
void sim_guest_name(char *name, size_t size);

/* mdev.c */
int sim_mdev_driver_register(void);
void sim_mdev_driver_unregister(void);
int sim_mdev_offer(struct sim_parent *parent);
void sim_mdev_withdraw(struct sim_parent *parent);

/* vendor.c */
int sim_vendor_offer(struct sim_parent *parent);
void sim_vendor_withdraw(struct sim_parent *parent);

/* fault.c */
int sim_fault_create(void);
int sim_fault_create_delay(struct sim_parent *parent);
unsigned long sim_fault_offer_delay(void);
bool sim_fault_removal_held(void);
void sim_fault_wait_removal(void);
bool sim_fault_sriov_busy(void);
void sim_fault_end(void);

#endif
