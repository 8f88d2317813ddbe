// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * property.c - random questions to the store and to plain rows of the same flows:
 *
 *	weir-property --queries 10000 --seed 1 --figures FILE
 *
 * A question whose answers differ is made as short as it stays wrong, and
 * printed with both answers. Exit status 1 if there was one. FILE gets
 * "property_queries=N property_mismatches=N".
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/property/checks.h"
#include "tests/property/choices.h"
#include "tests/property/data.h"
#include "tests/property/need.h"
#include "tests/unit/pick.h"

#define MAX_SHOWN 5 /* mismatches of one kind of data */

struct run {
	uint64_t queries, mismatches, shown;
	uint64_t errors, empty; /* answers that say little */
};

struct failing {
	struct data *data;
	const struct check *check;
};

static size_t still_fails(struct choices *c, void *arg)
{
	struct failing *f = arg;
	struct check_result r = {0};
	size_t size = 0;

	f->check->run(f->data, c, &r);
	if (r.differs)
		size = strlen(r.question);
	check_result_done(&r);
	return size;
}

static void show(struct data *d, const struct check *check, struct choices *c)
{
	struct failing f = {d, check};
	struct check_result r = {0};

	choices_shrink(c, still_fails, &f);
	check->run(d, c, &r);
	printf("MISMATCH on \"%s\", %s:\n  %s\n  store: %s\n  rows:  %s\n", d->name, check->name,
	       r.question, r.got, r.wanted);
	(void)fflush(stdout); /* to be read while the rest runs */
	check_result_done(&r);
}

static void ask(struct data *d, uint64_t seed, struct run *run)
{
	static struct choices c;
	const struct check *check;
	struct check_result r = {0};

	choices_begin(&c, seed);
	check = check_of(d, pick_any(&seed));
	check->run(d, &c, &r);
	run->queries++;
	run->errors += r.error;
	run->empty += r.empty;
	run->mismatches += r.differs;
	if (r.differs && run->shown++ < MAX_SHOWN)
		show(d, check, &c);
	check_result_done(&r);
}

static void ask_of_kind(size_t kind, uint64_t seed, uint64_t queries, struct run *total)
{
	struct data *d = data_new(kind, seed);
	uint64_t began = clock_mono_ns();
	struct run run = {0};

	for (uint64_t i = 0; i < queries; i++)
		ask(d, pick_any(&seed), &run);
	printf("%-28s %6" PRIu64 " queries, %" PRIu64 " of nothing, %" PRIu64 " errors, %" PRIu64
	       " mismatches, %.1f s\n",
	       d->name, run.queries, run.empty, run.errors, run.mismatches,
	       (double)(clock_mono_ns() - began) / NS_PER_SEC);
	(void)fflush(stdout); /* as above */
	total->queries += run.queries;
	total->mismatches += run.mismatches;
	data_free(d);
}

static void print_figures(FILE *f, const struct run *total)
{
	fprintf(f, "property_queries=%" PRIu64 " property_mismatches=%" PRIu64 "\n", total->queries,
		total->mismatches);
}

static void write_figures(const char *path, const struct run *total)
{
	FILE *f = fopen(path, "w");

	need(f != NULL, path);
	print_figures(f, total);
	need(fclose(f) == 0, path);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"queries", required_argument, NULL, 'q'},
						{"seed", required_argument, NULL, 's'},
						{"figures", required_argument, NULL, 'f'},
						{0}};
	const char *figures = NULL;
	uint64_t queries = 10000, seed = clock_real_ns() / NS_PER_SEC % 1000000, rng;
	struct run total = {0};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'q')
			queries = strtoull(optarg, NULL, 10);
		else if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'f')
			figures = optarg;
		else
			return 2;
	}
	printf("%s: %" PRIu64 " queries, seed %" PRIu64 "\n", argv[0], queries, seed);
	rng = seed;
	for (size_t i = 0; i < data_kinds(); i++)
		ask_of_kind(i, pick_any(&rng), data_share(i, queries), &total);
	print_figures(stdout, &total);
	if (figures)
		write_figures(figures, &total);
	return total.mismatches ? 1 : 0;
}
