/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * quic.h - QUIC Initial packets, version 1 (RFC 9000, 9001), its drafts 22 to 34, mvfst's and
 * Google's names for some of them (T050, T051), versions that a client makes up to force a
 * negotiation (RFC 9000 15), which differ in the salt, and 2 (RFC 9369): the version, and
 * the client's TLS messages inside.
 *
 * Initial packets are encrypted with keys that follow from a connection id in
 * the same packet: no secret, but it takes AES-128-GCM and HKDF-SHA256. They
 * come from libnettle; a build without it (WEIR_NETTLE unset) says -ENOSYS.
 *
 * Threads: no state; any. Memory: the caller's.
 */
#ifndef WEIR_PROBE_NAMES_QUIC_H
#define WEIR_PROBE_NAMES_QUIC_H

#include <stddef.h>
#include <stdint.h>

struct assembly;

#define QUIC_V1	       1u
#define QUIC_DRAFT_22  0xff000016u
#define QUIC_DRAFT_29  0xff00001du
#define QUIC_DRAFT_34  0xff000022u
#define QUIC_V2	       0x6b3343cfu
#define QUIC_CID_MAX   20   /* RFC 9000 17.2 */
#define QUIC_PLAIN_MAX 2048 /* longer packets are refused */

/* Where things are in an Initial packet; pointers into what was parsed. */
struct quic_initial {
	uint32_t version;
	const uint8_t *dcid;
	size_t dcid_len;
	const uint8_t *packet;
	size_t pn_offset; /* of the packet number, which is encrypted as well */
	size_t len;	  /* of the packet; the datagram may go on with another one */
};

/* Returns -ENOENT when it is no Initial of a version we know, -EBADMSG when it is malformed. */
int quic_parse(const uint8_t *data, size_t len, struct quic_initial *ret);

/*
 * Decrypts an Initial that a client sent before it heard from the server.
 * Returns -EBADMSG for any other, since it does not authenticate; -EMSGSIZE
 * above QUIC_PLAIN_MAX; -ENOSYS in a build that cannot.
 */
int quic_decrypt(const struct quic_initial *initial, uint8_t plain[QUIC_PLAIN_MAX],
		 size_t *ret_len);

/*
 * Adds what the CRYPTO frames carry to a. Returns -EBADMSG for a frame that has
 * no place in an Initial (RFC 9000 12.4), or an error of assembly_add().
 */
int quic_collect(const uint8_t *plain, size_t len, struct assembly *a);

#endif /* WEIR_PROBE_NAMES_QUIC_H */
