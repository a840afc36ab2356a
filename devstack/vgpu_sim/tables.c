// SPDX-License-Identifier: GPL-2.0-only
/*
 * Made by "python -m tools.vgpu_sim_tables" from nova_vgpu_ext/sim/cards.yaml
 * and nova_vgpu_ext/sim/profiles; do not edit.
 */
#include <linux/kernel.h>

#include "vgpu_sim.h"

static const struct sim_type v100_sxm2_32gb_types[] = {
	{ 194, "194", "GRID V100DX-1Q",
	  "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=32",
	  1024, 32 },
	{ 195, "195", "GRID V100DX-2Q",
	  "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=16",
	  2048, 16 },
	{ 196, "196", "GRID V100DX-4Q",
	  "num_heads=4, frl_config=60, framebuffer=4096M, max_resolution=7680x4320, max_instance=8",
	  4096, 8 },
	{ 197, "197", "GRID V100DX-8Q",
	  "num_heads=4, frl_config=60, framebuffer=8192M, max_resolution=7680x4320, max_instance=4",
	  8192, 4 },
	{ 198, "198", "GRID V100DX-16Q",
	  "num_heads=4, frl_config=60, framebuffer=16384M, max_resolution=7680x4320, max_instance=2",
	  16384, 2 },
	{ 199, "199", "GRID V100DX-32Q",
	  "num_heads=4, frl_config=60, framebuffer=32768M, max_resolution=7680x4320, max_instance=1",
	  32768, 1 },
	{ 200, "200", "GRID V100DX-1A",
	  "num_heads=1, frl_config=60, framebuffer=1024M, max_resolution=1280x1024, max_instance=32",
	  1024, 32 },
	{ 201, "201", "GRID V100DX-2A",
	  "num_heads=1, frl_config=60, framebuffer=2048M, max_resolution=1280x1024, max_instance=16",
	  2048, 16 },
	{ 202, "202", "GRID V100DX-4A",
	  "num_heads=1, frl_config=60, framebuffer=4096M, max_resolution=1280x1024, max_instance=8",
	  4096, 8 },
	{ 203, "203", "GRID V100DX-8A",
	  "num_heads=1, frl_config=60, framebuffer=8192M, max_resolution=1280x1024, max_instance=4",
	  8192, 4 },
	{ 204, "204", "GRID V100DX-16A",
	  "num_heads=1, frl_config=60, framebuffer=16384M, max_resolution=1280x1024, max_instance=2",
	  16384, 2 },
	{ 205, "205", "GRID V100DX-32A",
	  "num_heads=1, frl_config=60, framebuffer=32768M, max_resolution=1280x1024, max_instance=1",
	  32768, 1 },
	{ 206, "206", "GRID V100DX-1B",
	  "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=32",
	  1024, 32 },
	{ 207, "207", "GRID V100DX-2B",
	  "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=5120x2880, max_instance=16",
	  2048, 16 },
	{ 219, "219", "GRID V100DX-2B4",
	  "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=5120x2880, max_instance=16",
	  2048, 16 },
};
static_assert(ARRAY_SIZE(v100_sxm2_32gb_types) <= SIM_MAX_TYPES);

static const struct sim_card v100_sxm2_32gb = {
	.name = "v100-sxm2-32gb",
	.vendor = 0x10de,
	.device = 0x1db5,
	.class = 0x030200,
	.framework = SIM_MDEV,
	.fb_mib = 32768,
	.total_vfs = 0,
	.types = v100_sxm2_32gb_types,
	.num_types = ARRAY_SIZE(v100_sxm2_32gb_types),
};

static const struct sim_type a40_types[] = {
	{ 557, "557", "NVIDIA A40-1B",
	  "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=32",
	  1024, 32 },
	{ 558, "558", "NVIDIA A40-2B",
	  "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=5120x2880, max_instance=24",
	  2048, 24 },
	{ 559, "559", "NVIDIA A40-1Q",
	  "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=32",
	  1024, 32 },
	{ 560, "560", "NVIDIA A40-2Q",
	  "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=24",
	  2048, 24 },
	{ 561, "561", "NVIDIA A40-3Q",
	  "num_heads=4, frl_config=60, framebuffer=3072M, max_resolution=7680x4320, max_instance=16",
	  3072, 16 },
	{ 562, "562", "NVIDIA A40-4Q",
	  "num_heads=4, frl_config=60, framebuffer=4096M, max_resolution=7680x4320, max_instance=12",
	  4096, 12 },
	{ 563, "563", "NVIDIA A40-6Q",
	  "num_heads=4, frl_config=60, framebuffer=6144M, max_resolution=7680x4320, max_instance=8",
	  6144, 8 },
	{ 564, "564", "NVIDIA A40-8Q",
	  "num_heads=4, frl_config=60, framebuffer=8192M, max_resolution=7680x4320, max_instance=6",
	  8192, 6 },
	{ 565, "565", "NVIDIA A40-12Q",
	  "num_heads=4, frl_config=60, framebuffer=12288M, max_resolution=7680x4320, max_instance=4",
	  12288, 4 },
	{ 566, "566", "NVIDIA A40-16Q",
	  "num_heads=4, frl_config=60, framebuffer=16384M, max_resolution=7680x4320, max_instance=3",
	  16384, 3 },
	{ 567, "567", "NVIDIA A40-24Q",
	  "num_heads=4, frl_config=60, framebuffer=24576M, max_resolution=7680x4320, max_instance=2",
	  24576, 2 },
	{ 568, "568", "NVIDIA A40-48Q",
	  "num_heads=4, frl_config=60, framebuffer=49152M, max_resolution=7680x4320, max_instance=1",
	  49152, 1 },
};
static_assert(ARRAY_SIZE(a40_types) <= SIM_MAX_TYPES);

static const struct sim_card a40 = {
	.name = "a40",
	.vendor = 0x10de,
	.device = 0x2235,
	.class = 0x030200,
	.framework = SIM_MDEV,
	.fb_mib = 49152,
	.total_vfs = 32,
	.types = a40_types,
	.num_types = ARRAY_SIZE(a40_types),
};

static const struct sim_type l40s_types[] = {
	{ 1145, "1145", "NVIDIA L40S-1B",
	  "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=32",
	  1024, 32 },
	{ 1146, "1146", "NVIDIA L40S-2B",
	  "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=5120x2880, max_instance=24",
	  2048, 24 },
	{ 1147, "1147", "NVIDIA L40S-1Q",
	  "num_heads=4, frl_config=60, framebuffer=1024M, max_resolution=5120x2880, max_instance=32",
	  1024, 32 },
	{ 1148, "1148", "NVIDIA L40S-2Q",
	  "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=24",
	  2048, 24 },
	{ 1149, "1149", "NVIDIA L40S-3Q",
	  "num_heads=4, frl_config=60, framebuffer=3072M, max_resolution=7680x4320, max_instance=16",
	  3072, 16 },
	{ 1150, "1150", "NVIDIA L40S-4Q",
	  "num_heads=4, frl_config=60, framebuffer=4096M, max_resolution=7680x4320, max_instance=12",
	  4096, 12 },
	{ 1151, "1151", "NVIDIA L40S-6Q",
	  "num_heads=4, frl_config=60, framebuffer=6144M, max_resolution=7680x4320, max_instance=8",
	  6144, 8 },
	{ 1152, "1152", "NVIDIA L40S-8Q",
	  "num_heads=4, frl_config=60, framebuffer=8192M, max_resolution=7680x4320, max_instance=6",
	  8192, 6 },
	{ 1153, "1153", "NVIDIA L40S-12Q",
	  "num_heads=4, frl_config=60, framebuffer=12288M, max_resolution=7680x4320, max_instance=4",
	  12288, 4 },
	{ 1154, "1154", "NVIDIA L40S-16Q",
	  "num_heads=4, frl_config=60, framebuffer=16384M, max_resolution=7680x4320, max_instance=3",
	  16384, 3 },
	{ 1155, "1155", "NVIDIA L40S-24Q",
	  "num_heads=4, frl_config=60, framebuffer=24576M, max_resolution=7680x4320, max_instance=2",
	  24576, 2 },
	{ 1156, "1156", "NVIDIA L40S-48Q",
	  "num_heads=4, frl_config=60, framebuffer=49152M, max_resolution=7680x4320, max_instance=1",
	  49152, 1 },
};
static_assert(ARRAY_SIZE(l40s_types) <= SIM_MAX_TYPES);

static const struct sim_card l40s = {
	.name = "l40s",
	.vendor = 0x10de,
	.device = 0x26b9,
	.class = 0x030200,
	.framework = SIM_VENDOR_VFIO,
	.fb_mib = 49152,
	.total_vfs = 32,
	.types = l40s_types,
	.num_types = ARRAY_SIZE(l40s_types),
};

static const struct sim_card no_driver_10de_1db5 = {
	.name = "10de:1db5",
	.vendor = 0x10de,
	.device = 0x1db5,
	.class = 0x030200,
	.framework = SIM_NO_DRIVER,
};

const struct sim_card *const sim_cards[] = {
	&v100_sxm2_32gb,
	&a40,
	&l40s,
};
const unsigned int sim_num_cards = ARRAY_SIZE(sim_cards);

static const struct sim_host_gpu host_a40_sriov[] = {
	{ &a40, 0x0000, 0x41, 0, 32 },
};

static const struct sim_host_gpu host_l40s_vendor_vfio[] = {
	{ &l40s, 0x0000, 0xc1, 1, 32 },
};

static const struct sim_host_gpu host_large[] = {
	{ &a40, 0x0000, 0x1a, 0, 64 },
	{ &a40, 0x0000, 0x1b, 0, 64 },
	{ &a40, 0x0000, 0x3d, 0, 64 },
	{ &a40, 0x0000, 0x3e, 0, 64 },
	{ &a40, 0x0000, 0x88, 1, 64 },
	{ &a40, 0x0000, 0x89, 1, 64 },
	{ &a40, 0x0000, 0xb2, 1, 64 },
	{ &a40, 0x0000, 0xb3, 1, 64 },
};

static const struct sim_host_gpu host_mixed[] = {
	{ &v100_sxm2_32gb, 0x0000, 0x1a, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x1b, 0, 0 },
	{ &a40, 0x0000, 0x41, 0, 32 },
	{ &l40s, 0x0000, 0xc1, 1, 32 },
	{ &no_driver_10de_1db5, 0x0000, 0xd8, 1, 0 },
};

static const struct sim_host_gpu host_v100x8[] = {
	{ &v100_sxm2_32gb, 0x0000, 0x1a, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x1b, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x3d, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x3e, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x88, 1, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x89, 1, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0xb2, 1, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0xb3, 1, 0 },
};

static const struct sim_host_gpu host_v100x8_busy[] = {
	{ &v100_sxm2_32gb, 0x0000, 0x1a, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x1b, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x3d, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x3e, 0, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x88, 1, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0x89, 1, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0xb2, 1, 0 },
	{ &v100_sxm2_32gb, 0x0000, 0xb3, 1, 0 },
};

const struct sim_host sim_hosts[] = {
	{ "a40-sriov", host_a40_sriov,
	  ARRAY_SIZE(host_a40_sriov) },
	{ "l40s-vendor-vfio", host_l40s_vendor_vfio,
	  ARRAY_SIZE(host_l40s_vendor_vfio) },
	{ "large", host_large,
	  ARRAY_SIZE(host_large) },
	{ "mixed", host_mixed,
	  ARRAY_SIZE(host_mixed) },
	{ "v100x8", host_v100x8,
	  ARRAY_SIZE(host_v100x8) },
	{ "v100x8-busy", host_v100x8_busy,
	  ARRAY_SIZE(host_v100x8_busy) },
};
const unsigned int sim_num_hosts = ARRAY_SIZE(sim_hosts);
