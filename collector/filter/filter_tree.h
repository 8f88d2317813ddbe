/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * filter_tree.h - what a filter says, as a tree: the one thing that the parser
 * (collector/filter/filter.h) makes, and from which every back end is written.
 *
 * Nodes are numbered; children are a list: nodes[n].first, then .next, until
 * FILTER_NO_NODE. Columns are those of flows in SQL. Memory: the tree owns its
 * nodes and texts. Threads: read it from any.
 */
#ifndef WEIR_COLLECTOR_FILTER_FILTER_TREE_H
#define WEIR_COLLECTOR_FILTER_FILTER_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"

struct query;

#define FILTER_NO_NODE SIZE_MAX

enum filter_node_kind {
	FILTER_ALL, /* every record */
	FILTER_AND, /* every child; at least one */
	FILTER_OR,  /* any child; at least one */
	FILTER_NOT, /* not its one child */
	/* Of a column. None of them holds where its value was not measured (NULL). */
	FILTER_COMPARE, /* column op low */
	FILTER_BETWEEN, /* low <= column <= high */
	FILTER_BITS,	/* column has all bits of low */
	FILTER_TEXT,	/* column is text */
	FILTER_PREFIX,	/* the address column lies within prefix; 128 bits: is it */
};

enum filter_compare { FILTER_EQ, FILTER_NE, FILTER_LT, FILTER_LE, FILTER_GT, FILTER_GE };

struct filter_node {
	enum filter_node_kind kind;
	enum filter_compare op;
	const char *column; /* constant */
	int64_t low, high;
	char *text;
	bool any_case; /* text: one of few words, whatever their case */
	struct addr_prefix prefix;
	size_t first, next;
};

struct filter_tree {
	struct filter_node *nodes;
	size_t n, max, root;
};

/* Nodes one after the other, to become the children of one. */
struct filter_chain {
	size_t first, last;
};

#define FILTER_CHAIN_EMPTY                                                                         \
	{                                                                                          \
		FILTER_NO_NODE, FILTER_NO_NODE                                                     \
	}

/* NULL is a no-op. */
void filter_tree_free(struct filter_tree *tree);

/* Adds a node; its text is taken, always. *ret: its number. Returns -ENOMEM. */
int filter_tree_add(struct filter_tree *tree, struct filter_node node, size_t *ret);

void filter_chain_add(struct filter_tree *tree, struct filter_chain *chain, size_t node);

/* Appends the condition, with its values bound, in parentheses where they are needed. */
void filter_tree_sql(const struct filter_tree *tree, struct query *q);

#endif /* WEIR_COLLECTOR_FILTER_FILTER_TREE_H */
