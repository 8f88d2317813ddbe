/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sql_functions.h - what weir adds to SQLite's SQL.
 *
 *	in_prefix(addr, cidr)   1 if the address text is within the prefix, else 0
 *	quantile(x, q)          aggregate: the value at rank ceil(q * n) of x sorted,
 *	                        0 <= q <= 1; NULLs do not count, NULL for no values
 *	approx_distinct(x)      aggregate: about how many different values, 1.6 % standard
 *				error, exact up to 512 (distinct_sketch.h); NULLs do not count
 *	distinct_sketch(x)      aggregate: the sketch that it counts with, a blob
 *	distinct_merge(sketch)  aggregate: the sketch of all their values together
 *	distinct_count(sketch)  how many it has: approx_distinct(x) again
 *	addr_blob(text)         an address as 16 bytes, IPv4 as ::ffff:a.b.c.d
 *	addr_text(blob)         and back, as host_addr has them
 *	proto_name(n)           'tcp', ..., or the number as text
 *	tcp_flags(n)            letters FSRPAUECN of the bits that are set
 *	endpoint(addr, port)    '10.0.0.1:80', '[::1]:80'; no port part for port 0
 *	time_bucket(ms, s)      ms rounded down to a multiple of s seconds
 *	utc(ms)                 '2026-11-24 10:42:10'
 *
 * All are NULL when an argument is, and deterministic. A cidr, q or s that
 * makes no sense is an error of the statement. Memory of quantile() is 8 bytes
 * a value and comes from SQLite's heap, so its limit holds.
 */
#ifndef WEIR_COLLECTOR_SQLITE_SQL_FUNCTIONS_H
#define WEIR_COLLECTOR_SQLITE_SQL_FUNCTIONS_H

#include <sqlite3.h>

/* Adds them to a connection. Returns -ENOMEM. */
int sql_functions_register(sqlite3 *db);

/* in_prefix() itself, for the virtual table that can use it as a condition. */
void sql_in_prefix(sqlite3_context *ctx, int n, sqlite3_value **values);

#endif /* WEIR_COLLECTOR_SQLITE_SQL_FUNCTIONS_H */
