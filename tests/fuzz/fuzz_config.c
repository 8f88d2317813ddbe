// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fuzz_config.c - any bytes as a configuration file, with an option of every type. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "common/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
	char *config, *text;
	bool flag;
	uint64_t number, bytes, duration_ms;
	double real;
	struct option_list list;
	int choice;
	int64_t time_ms;
};

#define AT(field) offsetof(struct settings, field)

static const struct option_row rows[] = {
	{.name = "config", .type = OPTION_STRING, .offset = AT(config), .cli_only = true},
	{.name = "text", .type = OPTION_STRING, .offset = AT(text)},
	{.name = "flag", .type = OPTION_FLAG, .offset = AT(flag)},
	{.name = "number", .type = OPTION_U64, .offset = AT(number), .min = 1, .max = 1e6},
	{.name = "bytes", .type = OPTION_BYTES, .offset = AT(bytes)},
	{.name = "duration", .type = OPTION_DURATION_MS, .offset = AT(duration_ms)},
	{.name = "real", .type = OPTION_DOUBLE, .offset = AT(real), .min = -10, .max = 10},
	{.name = "list", .type = OPTION_LIST, .offset = AT(list)},
	{.name = "choice", .type = OPTION_CHOICE, .offset = AT(choice), .choices = "a|b|abc"},
	{.name = "time", .type = OPTION_TIME, .offset = AT(time_ms)},
};

static const struct command command = {
	.name = "fuzz",
	.summary = "",
	.tables = {{rows, sizeof(rows) / sizeof(rows[0])}},
};

/* Refused, or every value is within its range. */
static void check(const struct settings *s)
{
	assert(s->number == 0 || (s->number >= 1 && s->number <= 1000000));
	assert(s->real >= -10 && s->real <= 10);
	assert(s->choice >= 0 && s->choice < 3);
	for (size_t i = 0; i < s->list.n; i++)
		assert(s->list.items[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[32], name[] = "fuzz", option[] = "--config";
	char *argv[] = {name, option, path, NULL};
	int fd = memfd_create("config", 0), first = 0, err;
	struct settings s;

	log_set_level((enum log_level) - 1); /* every input is an error */
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = options_parse(&command, "fuzz", 3, argv, &s, &first);
	assert(err == 0 || err == -EINVAL);
	if (err == 0) {
		check(&s);
		options_free(command.tables, &s);
	}
	close(fd);
	return 0;
}
