/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sql_functions.h - what weir adds to SQLite's SQL.
 *
 *	in_prefix(addr, cidr)   1 if the address text is within the prefix, else 0
 *	quantile(x, q)          aggregate: the value at rank ceil(q * n) of x sorted,
 *	                        0 <= q <= 1; NULLs do not count, NULL for no values
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
#ifndef WEIR_COLLECTOR_SQL_FUNCTIONS_H
#define WEIR_COLLECTOR_SQL_FUNCTIONS_H

#include <sqlite3.h>

/* Adds them to a connection. Returns -ENOMEM. */
int sql_functions_register(sqlite3 *db);

/* in_prefix() itself, for the virtual table that can use it as a condition. */
void sql_in_prefix(sqlite3_context *ctx, int n, sqlite3_value **values);

#endif /* WEIR_COLLECTOR_SQL_FUNCTIONS_H */
