// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench-store/fill_options.h"

#include <stdlib.h>

#define HOSTS_MAX 250

uint64_t fill_number(const char *text)
{
	char *end;
	double n = strtod(text, &end);

	if (end == text || n < 0)
		return 0;
	if (*end == 'k' || *end == 'M')
		n *= *end++ == 'k' ? 1e3 : 1e6;
	return *end ? 0 : (uint64_t)n;
}

bool fill_options_take(struct fill_options *o, int option, const char *arg)
{
	uint64_t n = arg ? fill_number(arg) : 0;

	if (n == 0)
		return false;
	switch (option) {
	case 'f':
		o->flows = n;
		return true;
	case 'h':
		o->fleet.hosts = (unsigned)n;
		return n <= HOSTS_MAX;
	case 'r':
		o->fleet.flows_per_s = (double)n;
		return true;
	case 's':
		o->fleet.seed = n;
		return true;
	default:
		return false;
	}
}
