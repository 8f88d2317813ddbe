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

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define MOST_INSNS 250000 /* a quarter of the limit */

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

/* The folder of the objects that this build has made: whatever is added is checked. */
static void list_objects(glob_t *ret)
{
	char path[PATH_MAX], pattern[PATH_MAX + 32];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	assert_true(len > 0);
	path[len] = 0; /* B/tests/bpf/test_verifier */
	for (int up = 0; up < 3; up++) {
		assert_non_null(strrchr(path, '/'));
		*strrchr(path, '/') = 0;
	}
	(void)snprintf(pattern, sizeof(pattern), "%s/bpf/*.bpf.o", path);
	assert_int_equal(glob(pattern, 0, NULL, ret), 0);
}

static void test_complexity(void **state)
{
	glob_t found;

	(void)state;
	list_objects(&found);
	assert_true(found.gl_pathc >= 2);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct bpf_object *object = bpf_object__open_file(found.gl_pathv[i], NULL);

		printf("%s\n", strrchr(found.gl_pathv[i], '/') + 1);
		assert_non_null(object);
		assert_int_equal(bpf_object__load(object), 0);
		check_programs(object);
		bpf_object__close(object);
	}
	globfree(&found);
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
