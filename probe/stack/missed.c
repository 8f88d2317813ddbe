// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/stack/missed.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

uint64_t missed_runs(const struct bpf_object *object)
{
	struct bpf_program *prog;
	uint64_t sum = 0;

	bpf_object__for_each_program(prog, object)
	{
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len) == 0)
			sum += info.recursion_misses;
	}
	return sum;
}
