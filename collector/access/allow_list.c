// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/access/allow_list.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct allow_list {
	pthread_rwlock_t lock; /* of all below */
	bool filled;
	struct allowed *entries;
	size_t n;
};

int allow_list_new(struct allow_list **ret)
{
	struct allow_list *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	(void)pthread_rwlock_init(&l->lock, NULL); /* cannot fail with default attributes */
	*ret = l;
	return 0;
}

void allow_list_free(struct allow_list *l)
{
	if (!l)
		return;
	(void)pthread_rwlock_destroy(&l->lock); /* nobody holds it */
	free(l->entries);
	free(l);
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, KEY_BYTES);
}

void allow_list_replace(struct allow_list *l, struct allowed *entries, size_t n)
{
	struct allowed *old;

	if (n)
		qsort(entries, n, sizeof(*entries), compare);
	(void)pthread_rwlock_wrlock(&l->lock); /* fails only for its holder */
	old = l->entries;
	l->entries = entries;
	l->n = n;
	l->filled = true;
	(void)pthread_rwlock_unlock(&l->lock);
	free(old);
}

bool allow_list_filled(struct allow_list *l)
{
	bool filled;

	(void)pthread_rwlock_rdlock(&l->lock); /* see below */
	filled = l->filled;
	(void)pthread_rwlock_unlock(&l->lock);
	return filled;
}

bool allow_list_find(struct allow_list *l, const uint8_t public_key[KEY_BYTES],
		     uint8_t *ret_probe_id)
{
	const struct allowed *found = NULL;

	(void)pthread_rwlock_rdlock(&l->lock); /* fails beyond a number of readers we never have */
	if (l->n)
		found = bsearch(public_key, l->entries, l->n, sizeof(*found), compare);
	if (found && ret_probe_id)
		memcpy(ret_probe_id, found->probe_id, KEY_ID_BYTES);
	(void)pthread_rwlock_unlock(&l->lock);
	return found != NULL;
}
