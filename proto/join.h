/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * join.h - the join string: all that a new host needs to find its collector,
 * to know it, and to be admitted.
 *
 *	weir1_ + base64url, without padding, of
 *
 *	offset size  field
 *	     0   32  public key of the collector
 *	    32   16  secret of the token; 16 zeros: no token
 *	    48    2  port for data, big-endian
 *	    50    2  port for enrolment
 *	    52    n  the collector's host: a name, an IPv4, or an IPv6 address
 *	  52+n    4  CRC-32C of all before, little-endian
 *
 * The checksum finds a string that was copied with a letter missing; only the
 * secret is secret.
 */
#ifndef WEIR_PROTO_JOIN_H
#define WEIR_PROTO_JOIN_H

#include <stdint.h>

#define JOIN_KEY_BYTES	  32
#define JOIN_SECRET_BYTES 16
#define JOIN_HOST_MAX	  253
#define JOIN_TEXT_MAX	  512 /* with its NUL */

struct join {
	uint8_t server_key[JOIN_KEY_BYTES];
	uint8_t secret[JOIN_SECRET_BYTES];
	uint16_t port, enroll_port;
	char host[JOIN_HOST_MAX + 1];
};

/* Returns -EINVAL for a host that join_parse() would refuse. */
int join_format(const struct join *j, char ret[JOIN_TEXT_MAX]);

/* Returns -EINVAL, and in *ret_why what is wrong with it. */
int join_parse(const char *text, struct join *ret, const char **ret_why);

#endif /* WEIR_PROTO_JOIN_H */
