// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_verifier.c - what the programs cost the kernel's verifier, which decides
 * how long the probe takes to start and how near the limit of a million
 * instructions the next change is. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/flow_abi.h"
#include "bpf/tally_abi.h"
#include "drops.skel.h"
#include "sockets.skel.h"
#include "weir.skel.h"

#define MOST_INSNS 200000 /* a fifth of the limit */

static void check_programs(const struct bpf_object *object)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, object)
	{
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);

		assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len), 0);
		printf("%-20s %6u instructions processed, %5u bytes of machine code\n",
		       bpf_program__name(prog), info.verified_insns, info.jited_prog_len);
		assert_in_range(info.verified_insns, 1, MOST_INSNS);
	}
}

static void test_complexity(void **state)
{
	struct weir_bpf *weir = weir_bpf__open_and_load();
	struct drops_bpf *drops = drops_bpf__open_and_load();
	struct sockets_bpf *sockets = sockets_bpf__open_and_load();

	(void)state;
	assert_non_null(weir);
	assert_non_null(drops);
	assert_non_null(sockets);
	check_programs(weir->obj);
	check_programs(drops->obj);
	check_programs(sockets->obj);
	weir_bpf__destroy(weir);
	drops_bpf__destroy(drops);
	sockets_bpf__destroy(sockets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_complexity)};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
