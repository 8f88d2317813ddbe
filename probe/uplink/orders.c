// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/uplink/orders.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/private_file.h"

#define LINE_MAX_BYTES 200
#define FILE_BYTES     (ORDERS_KEPT * LINE_MAX_BYTES + 1)

/* The answers given last, in rising order of their numbers. */
struct memory {
	size_t n;
	struct command_result kept[ORDERS_KEPT];
};

/* FNV-1a: one file for each collector. */
static int file_name(const char *state_dir, const char *url, char ret[PATH_MAX])
{
	uint64_t hash = 0xcbf29ce484222325ull;
	int n;

	for (const char *p = url; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 0x100000001b3ull;
	n = snprintf(ret, PATH_MAX, "%s/orders-%016" PRIx64, state_dir, hash);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Lines "ID STATUS TEXT". */
static bool parse(char *text, struct memory *ret)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct command_result *r = &ret->kept[ret->n];
		int at = 0;

		if (ret->n == ORDERS_KEPT ||
		    sscanf(line, "%" SCNu64 " %" SCNu32 " %n", &r->command_id, &r->status, &at) !=
			    2 ||
		    at == 0 || (ret->n > 0 && r->command_id <= r[-1].command_id))
			return false;
		(void)snprintf(r->text, sizeof(r->text), "%s", line + at);
		ret->n++;
	}
	return true;
}

/* What cannot be read is no reason to do something twice. */
static int read_memory(const char *path, struct memory *ret)
{
	char text[FILE_BYTES];
	const char *why;
	size_t len;
	int err = private_file_read(path, text, sizeof(text), &len, &why);

	ret->n = 0;
	if (err == -ENOENT)
		return 0;
	if (err)
		return err;
	return parse(text, ret) ? 0 : -EBADMSG;
}

static int write_memory(const char *path, const struct memory *m)
{
	char text[FILE_BYTES];
	const char *why;
	size_t at = 0;

	for (size_t i = 0; i < m->n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%" PRIu64 " %" PRIu32 " %s\n",
				       m->kept[i].command_id, m->kept[i].status, m->kept[i].text);
	return private_file_write(path, text, at, true, &why);
}

static void remember(struct memory *m, const struct command_result *r)
{
	if (m->n == ORDERS_KEPT)
		memmove(m->kept, m->kept + 1, --m->n * sizeof(m->kept[0]));
	m->kept[m->n++] = *r;
}

/* The answer to a number that was there before. */
static void repeat(const struct memory *m, struct command_result *ret)
{
	for (size_t i = 0; i < m->n; i++) {
		if (m->kept[i].command_id == ret->command_id) {
			*ret = m->kept[i];
			return;
		}
	}
	ret->status = EALREADY;
	(void)snprintf(ret->text, sizeof(ret->text), "its answer is no longer kept");
}

static void answer(struct command_result *ret, uint32_t status, const char *text)
{
	ret->status = status;
	(void)snprintf(ret->text, sizeof(ret->text), "%s", text);
}

static void carry_out(const struct host_command *c, uint64_t now_ns, struct command_result *ret)
{
	if (now_ns > c->not_after_ns) {
		answer(ret, ETIME, "it came after its time");
		return;
	}
	switch (c->kind) {
	case COMMAND_ECHO:
		answer(ret, 0, "weir-probe " WEIR_VERSION);
		break;
	case COMMAND_BLOCK:
	case COMMAND_UNBLOCK:
		answer(ret, EOPNOTSUPP, "this probe cannot block");
		break;
	default:
		answer(ret, EINVAL, "this probe does not know that order");
	}
}

int orders_obey(const char *state_dir, const char *url, const struct host_command *c,
		uint64_t now_ns, struct command_result *ret)
{
	struct command_result r = {.command_id = c->command_id};
	struct memory m;
	char path[PATH_MAX];
	int err = file_name(state_dir, url, path);

	if (!err)
		err = read_memory(path, &m);
	if (err)
		return err;
	if (m.n > 0 && c->command_id <= m.kept[m.n - 1].command_id) {
		repeat(&m, &r);
	} else {
		carry_out(c, now_ns, &r);
		remember(&m, &r);
		err = write_memory(path, &m);
		if (err)
			return err;
		log_info("order %" PRIu64 " of %s: %s", r.command_id, url, r.text);
	}
	*ret = r;
	return 0;
}
