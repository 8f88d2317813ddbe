/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * filter.h - the filter language: words in the manner of tcpdump and nfdump,
 * read into a tree (collector/filter/filter_tree.h) that becomes a condition over the
 * columns of flows.
 *
 *	filter     = or
 *	or         = and { ("or" | "||") and }
 *	and        = not { ["and" | "&&"] not }        "and" may only be left out
 *	                                               between a word such as tcp and
 *	                                               a keyword: tcp dst port 80
 *	not        = [ "not" | "!" ] not | "(" or ")" | term
 *	term       = [side] ("host" | "ip") value      address; host also takes the
 *	                                               name of a reporting host
 *	           | [side] "net" value                CIDR
 *	           | [side] ("port" | "portrange") ( value | A-B | op N )
 *	           | [side] "flags" LETTERS            all of FSRPAUECN are set
 *	           | "proto" value                     name or number
 *	           | "tcp" | "udp" | "icmp" | "icmp6" | "ip" | "ip6"
 *	           | text-column value                 iface, role, direction, end_reason
 *	           | number-column ( [op] N | "in" list )  any other column of flows
 *	side       = "src" | "dst" | "src" "or" "dst" | "src" "and" "dst"
 *	value      = WORD | "in" "[" WORD { [","] WORD } "]"
 *	op         = ">" | ">=" | "<" | "<=" | "=" | "==" | "!="
 *
 * Keywords ignore case. "quoted words" may hold anything. N takes k, M, G, T
 * (powers of 1000) and, for times, us, ms, s, m, h. Without a side, host, net
 * and port mean either end; flags and the plain columns mean src to dst. A
 * comparison with something that was not measured does not hold, so that "not"
 * always gives exactly the other records.
 */
#ifndef WEIR_COLLECTOR_FILTER_FILTER_H
#define WEIR_COLLECTOR_FILTER_FILTER_H

#include <stddef.h>
#include <stdio.h>

struct filter_tree;
struct query;

/* Above these a filter is refused; the last two also keep SQLite within its own limits. */
#define FILTER_MAX_BYTES 8192
#define FILTER_MAX_TERMS 400
#define FILTER_MAX_DEPTH 12 /* parentheses and negations within each other */

struct filter_error {
	size_t at; /* byte of the filter where it stops making sense */
	char text[160];
};

/*
 * Reads text; an empty filter holds for every record. Returns -EINVAL or -ENOMEM
 * with *ret_error set. *ret: release with filter_tree_free().
 */
int filter_parse(const char *text, struct filter_tree **ret, struct filter_error *ret_error);

/* Reads text and appends the condition to q. Errors of filter_parse(); q is as it was then. */
int filter_compile(const char *text, struct query *q, struct filter_error *ret_error);

/* Prints the error with the filter and a caret under the place. */
void filter_print_error(FILE *out, const char *text, const struct filter_error *error);

/* The page of `weir-collector help filter`. */
void filter_print_help(FILE *out);

#endif /* WEIR_COLLECTOR_FILTER_FILTER_H */
