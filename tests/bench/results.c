// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench/results.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PATH_BYTES 512

struct results {
	FILE *out;
	char path[PATH_BYTES];
};

/* First line of a command's output, or of a file's line that starts with prefix. */
static void first_line(FILE *f, const char *prefix, char *ret, size_t size)
{
	char line[256];

	snprintf(ret, size, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		const char *text = line;

		if (strncmp(line, prefix, strlen(prefix)) != 0)
			continue;
		if (*prefix && strchr(line, ':'))
			text = strchr(line, ':') + 1 + strspn(strchr(line, ':') + 1, " \t");
		snprintf(ret, size, "%.*s", (int)strcspn(text, "\n\"\\"), text);
		return;
	}
}

static void describe(FILE *out, const char *target, uint64_t seed)
{
	char cpu[128], commit[64];
	struct utsname u;
	FILE *f;

	f = fopen("/proc/cpuinfo", "r");
	first_line(f, "model name", cpu, sizeof(cpu));
	if (f)
		fclose(f);
	f = popen("git rev-parse HEAD 2>/dev/null", "r");
	first_line(f, "", commit, sizeof(commit));
	if (f)
		pclose(f);
	if (uname(&u) != 0)
		snprintf(u.release, sizeof(u.release), "unknown");

	printf("%s on %ld x %s, Linux %s, commit %.12s\n", target, sysconf(_SC_NPROCESSORS_ONLN),
	       cpu, u.release, commit);
	fprintf(out,
		"{\n  \"target\": \"%s\",\n  \"seed\": %llu,\n  \"commit\": \"%s\",\n"
		"  \"machine\": {\"cpu\": \"%s\", \"cpus\": %ld, \"kernel\": \"%s\"}",
		target, (unsigned long long)seed, commit, cpu, sysconf(_SC_NPROCESSORS_ONLN),
		u.release);
}

struct results *results_open(const char *dir, const char *target, uint64_t seed)
{
	struct results *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	snprintf(r->path, sizeof(r->path), "%s/%s.json", dir, target);
	if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
		perror(dir);
		free(r);
		return NULL;
	}
	r->out = fopen(r->path, "w");
	if (!r->out) {
		perror(r->path);
		free(r);
		return NULL;
	}
	describe(r->out, target, seed);
	return r;
}

void results_add(struct results *r, const char *key, double value, const char *text)
{
	printf("  %-36s %10.2f  %s\n", key, value, text);
	fprintf(r->out, ",\n  \"%s\": %.3f", key, value);
}

int results_close(struct results *r)
{
	int err = 0;

	fprintf(r->out, "\n}\n");
	if (ferror(r->out))
		err = -EIO;
	if (fclose(r->out) != 0)
		err = -errno;
	if (err)
		fprintf(stderr, "%s: %s\n", r->path, strerror(-err));
	else
		printf("written to %s\n", r->path);
	free(r);
	return err;
}
