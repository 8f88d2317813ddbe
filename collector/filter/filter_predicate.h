/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * filter_predicate.h - a filter as a condition on whole columns, for what reads
 * the flow store without SQL. It finds the same records as the SQL of
 * collector/filter/filter_tree.h.
 */
#ifndef WEIR_COLLECTOR_FILTER_FILTER_PREDICATE_H
#define WEIR_COLLECTOR_FILTER_FILTER_PREDICATE_H

#include <stddef.h>
#include <stdint.h>

struct filter_predicate;
struct filter_tree;
struct predicate;
struct host_names;

/*
 * tree and its texts are borrowed while *ret lives; hosts only until the call
 * returns. Returns 0 or -ENOMEM.
 */
int filter_predicate_new(const struct filter_tree *tree, const struct host_names *hosts,
			 struct filter_predicate **ret);

/* NULL is a no-op. */
void filter_predicate_free(struct filter_predicate *f);

/* Owned by f. */
const struct predicate *filter_predicate_root(const struct filter_predicate *f);

#endif /* WEIR_COLLECTOR_FILTER_FILTER_PREDICATE_H */
