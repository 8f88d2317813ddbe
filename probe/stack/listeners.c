// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/stack/listeners.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "bpf/sockets_abi.h"

void listeners_begin(struct listeners *l)
{
	l->pass++;
}

/* The socket's place; a new one's, too, if there is room; or NULL. */
static struct listener_seen *find(struct listeners *l, uint64_t cookie, bool *ret_new)
{
	for (uint32_t i = 0; i < l->n_seen; i++) {
		if (l->seen[i].cookie == cookie) {
			*ret_new = false;
			return &l->seen[i];
		}
	}
	*ret_new = true;
	return l->n_seen < LISTENERS_MAX ? &l->seen[l->n_seen++] : NULL;
}

/* As names of counters have it: [a-z0-9_]. */
static void make_name(const struct sock_listener *s, char ret[LISTENERS_NAME_MAX])
{
	int n = snprintf(ret, LISTENERS_NAME_MAX, "%u_", s->local_port);

	for (size_t i = 0; i < SOCK_COMM_BYTES - 1 && s->owner.comm[i]; i++) {
		int c = tolower((unsigned char)s->owner.comm[i]);

		ret[n++] = (char)((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_');
	}
	ret[n] = '\0';
}

static void count(struct listeners *l, const struct sock_listener *s, uint32_t drops)
{
	char name[LISTENERS_NAME_MAX];
	uint32_t i = 0;

	if (drops == 0)
		return;
	make_name(s, name);
	while (i < l->n_named && strcmp(l->named[i].name, name) != 0)
		i++;
	if (i == LISTENERS_MAX_NAMES) {
		l->other += drops;
		return;
	}
	if (i == l->n_named)
		memcpy(l->named[l->n_named++].name, name, sizeof(name));
	l->named[i].drops += drops;
}

void listeners_put(struct listeners *l, const struct sock_listener *s)
{
	bool is_new;
	struct listener_seen *seen = find(l, s->cookie, &is_new);

	if (!seen)
		return; /* followed when another one is gone */
	/* What it had refused before our first pass is not ours to tell. */
	if (!is_new)
		count(l, s, s->drops - seen->drops);
	else if (l->pass > 1)
		count(l, s, s->drops);
	*seen = (struct listener_seen){s->cookie, s->drops, l->pass};
}

void listeners_end(struct listeners *l)
{
	for (uint32_t i = 0; i < l->n_seen;) {
		if (l->seen[i].pass != l->pass)
			l->seen[i] = l->seen[--l->n_seen];
		else
			i++;
	}
}
