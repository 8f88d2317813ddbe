// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/names/quic.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#ifdef WEIR_NETTLE
#include <nettle/gcm.h>
#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#endif

#include "probe/names/assembly.h"
#include "probe/names/reader.h"

#define LONG_HEADER_MASK 0xf0 /* form, fixed bit, type */
#define SAMPLE_OFFSET	 4    /* from the packet number (RFC 9001 5.4.2) */
#define SAMPLE_BYTES	 16
#define TAG_BYTES	 16

/* RFC 9000 16: the two highest bits tell how many bytes it has. */
static int get_varint(struct reader *r, uint64_t *ret)
{
	uint32_t first, next;
	uint64_t value;
	int err = reader_uint(r, 1, &first);

	if (err)
		return err;
	value = first & 0x3f;
	for (unsigned n = (1u << (first >> 6)) - 1; n > 0; n--) {
		err = reader_uint(r, 1, &next);
		if (err)
			return err;
		value = value << 8 | next;
	}
	*ret = value;
	return 0;
}

static int get_bytes(struct reader *r, uint64_t n, struct reader *ret)
{
	return n > r->left ? -EBADMSG : reader_sub(r, n, ret);
}

/* What is known of a version: the salt (RFC 9001 5.2, RFC 9369 3.3.1, and the drafts'). */
#define SALT_BYTES 20

struct salt {
	uint8_t bytes[SALT_BYTES];
};

static const struct salt draft_22 = {{0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a,
				      0x96, 0xcd, 0x21, 0x51, 0x9e, 0xbd, 0x7a, 0x02, 0x64, 0x4a}};
static const struct salt draft_23 = {{0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7,
				      0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02}};
static const struct salt draft_29 = {{0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97,
				      0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99}};
static const struct salt rfc_9001 = {{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
				      0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}};
static const struct salt rfc_9369 = {{0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
				      0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9}};
static const struct salt google_t050 = {{0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72,
					 0x91, 0x55, 0x80, 0x30, 0x4c, 0x43, 0xa2,
					 0x36, 0x7c, 0x60, 0x48, 0x83, 0x10}};
static const struct salt google_t051 = {{0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee,
					 0x5f, 0xa4, 0x50, 0x6c, 0x19, 0x12, 0x4f,
					 0xc8, 0xcc, 0xda, 0x6e, 0x03, 0x3d}};

/* Versions from first to last, under a mask. */
static const struct {
	uint32_t mask, first, last;
	const struct salt *salt;
} versions[] = {
	{UINT32_MAX, QUIC_V1, QUIC_V1, &rfc_9001},
	{UINT32_MAX, QUIC_V2, QUIC_V2, &rfc_9369},
	{UINT32_MAX, QUIC_DRAFT_29, 0xff000020, &draft_29},
	{UINT32_MAX, 0xff000021, QUIC_DRAFT_34, &rfc_9001},
	{UINT32_MAX, 0xff000017, 0xff00001c, &draft_23},
	{UINT32_MAX, QUIC_DRAFT_22, QUIC_DRAFT_22, &draft_22},
	{UINT32_MAX, 0xfaceb001, 0xfaceb001, &draft_22}, /* mvfst */
	{UINT32_MAX, 0xfaceb002, 0xfaceb002, &draft_23},
	{UINT32_MAX, 0xfaceb00e, 0xfaceb00e, &draft_23},
	{UINT32_MAX, 0x54303530, 0x54303530, &google_t050}, /* "T050" */
	{UINT32_MAX, 0x54303531, 0x54303531, &google_t051},
	{0x0f0f0f0f, 0x0a0a0a0a, 0x0a0a0a0a, &draft_29}, /* no server knows it */
};

/* NULL: not a version that we know. */
static const struct salt *salt_of(uint32_t version)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		uint32_t v = version & versions[i].mask;

		if (v >= versions[i].first && v <= versions[i].last)
			return versions[i].salt;
	}
	return NULL;
}

static bool is_initial(uint8_t first, uint32_t version)
{
	return (first & LONG_HEADER_MASK) == (version == QUIC_V2 ? 0xd0 : 0xc0) && salt_of(version);
}

int quic_parse(const uint8_t *data, size_t len, struct quic_initial *ret)
{
	struct reader r = {data, len, len}, dcid, scid, token, payload;
	uint64_t token_len, payload_len;
	uint32_t first, version;

	if (reader_uint(&r, 1, &first) || reader_uint(&r, 4, &version) ||
	    !is_initial((uint8_t)first, version))
		return -ENOENT;
	if (reader_vector(&r, 1, &dcid) || reader_vector(&r, 1, &scid) ||
	    dcid.left > QUIC_CID_MAX || scid.left > QUIC_CID_MAX || get_varint(&r, &token_len) ||
	    get_bytes(&r, token_len, &token) || get_varint(&r, &payload_len) ||
	    get_bytes(&r, payload_len, &payload) || payload_len < SAMPLE_OFFSET + SAMPLE_BYTES)
		return -EBADMSG;
	*ret = (struct quic_initial){
		.version = version,
		.dcid = dcid.p,
		.dcid_len = dcid.have,
		.packet = data,
		.pn_offset = (size_t)(payload.p - data),
		.len = (size_t)(payload.p - data) + payload_len,
	};
	return 0;
}

/* --- decryption ---------------------------------------------------------------- */

#ifdef WEIR_NETTLE

struct keys {
	uint8_t key[AES128_KEY_SIZE];
	uint8_t iv[GCM_IV_SIZE];
	uint8_t hp[AES128_KEY_SIZE]; /* header protection */
};

/* HKDF-Expand-Label of RFC 8446 7.1, without context. */
static void expand(const uint8_t secret[SHA256_DIGEST_SIZE], const char *label, uint8_t *ret,
		   size_t len)
{
	struct hmac_sha256_ctx hmac;
	uint8_t info[32] = {0,	 (uint8_t)len, (uint8_t)(6 + strlen(label)), 't', 'l', 's', '1',
			    '3', ' '};

	memcpy(info + 9, label, strlen(label) + 1); /* the 0 is for no context */
	hmac_sha256_set_key(&hmac, SHA256_DIGEST_SIZE, secret);
	hkdf_expand(&hmac, (nettle_hash_update_func *)hmac_sha256_update,
		    (nettle_hash_digest_func *)hmac_sha256_digest, SHA256_DIGEST_SIZE,
		    10 + strlen(label), info, len, ret);
}

static struct keys client_keys(const struct quic_initial *i)
{
	bool v2 = i->version == QUIC_V2;
	uint8_t secret[SHA256_DIGEST_SIZE];
	struct hmac_sha256_ctx hmac;
	struct keys k = {0};

	hmac_sha256_set_key(&hmac, SALT_BYTES, salt_of(i->version)->bytes);
	hkdf_extract(&hmac, (nettle_hash_update_func *)hmac_sha256_update,
		     (nettle_hash_digest_func *)hmac_sha256_digest, sizeof(secret), i->dcid_len,
		     i->dcid, secret);
	expand(secret, "client in", secret, sizeof(secret));
	expand(secret, v2 ? "quicv2 key" : "quic key", k.key, sizeof(k.key));
	expand(secret, v2 ? "quicv2 iv" : "quic iv", k.iv, sizeof(k.iv));
	expand(secret, v2 ? "quicv2 hp" : "quic hp", k.hp, sizeof(k.hp));
	return k;
}

/*
 * Uncovers the first byte and the packet number in header, a copy of the
 * packet's start that ends SAMPLE_OFFSET bytes behind pn_offset. Returns the
 * number's length, and the nonce in iv.
 */
static size_t unprotect(const struct quic_initial *i, const uint8_t hp[AES128_KEY_SIZE],
			uint8_t *header, uint8_t iv[GCM_IV_SIZE])
{
	uint8_t mask[SAMPLE_BYTES];
	struct aes128_ctx aes;
	size_t pn_len;

	aes128_set_encrypt_key(&aes, hp);
	aes128_encrypt(&aes, SAMPLE_BYTES, mask, i->packet + i->pn_offset + SAMPLE_OFFSET);
	header[0] ^= mask[0] & 0x0f;
	pn_len = (header[0] & 3u) + 1;
	for (size_t n = 0; n < pn_len; n++) {
		header[i->pn_offset + n] ^= mask[1 + n];
		iv[GCM_IV_SIZE - pn_len + n] ^= header[i->pn_offset + n];
	}
	return pn_len;
}

int quic_decrypt(const struct quic_initial *i, uint8_t plain[QUIC_PLAIN_MAX], size_t *ret_len)
{
	struct keys k = client_keys(i);
	uint8_t header[QUIC_PLAIN_MAX], tag[TAG_BYTES];
	struct gcm_aes128_ctx gcm;
	size_t header_len, len;

	if (i->len > QUIC_PLAIN_MAX)
		return -EMSGSIZE;
	memcpy(header, i->packet, i->pn_offset + SAMPLE_OFFSET);
	header_len = i->pn_offset + unprotect(i, k.hp, header, k.iv);
	len = i->len - header_len - TAG_BYTES; /* quic_parse() saw a sample: not below 0 */
	gcm_aes128_set_key(&gcm, k.key);
	gcm_aes128_set_iv(&gcm, sizeof(k.iv), k.iv);
	gcm_aes128_update(&gcm, header_len, header);
	gcm_aes128_decrypt(&gcm, len, plain, i->packet + header_len);
	gcm_aes128_digest(&gcm, sizeof(tag), tag);
	if (!memeql_sec(tag, i->packet + i->len - TAG_BYTES, sizeof(tag)))
		return -EBADMSG;
	*ret_len = len;
	return 0;
}

#else

int quic_decrypt(const struct quic_initial *i, uint8_t plain[QUIC_PLAIN_MAX], size_t *ret_len)
{
	(void)i;
	(void)plain;
	(void)ret_len;
	return -ENOSYS;
}

#endif

/* --- frames -------------------------------------------------------------------- */

enum frame {
	PADDING,
	PING,
	ACK,
	ACK_ECN,
	CRYPTO = 6,
	GOOGLE_CRYPTO = 8 /* T050 */,
	CONNECTION_CLOSE = 0x1c
};

static int collect_crypto(struct reader *r, struct assembly *a)
{
	struct reader data;
	uint64_t offset, len;
	int err = get_varint(r, &offset);

	if (!err)
		err = get_varint(r, &len);
	if (!err)
		err = get_bytes(r, len, &data);
	return err ? err : assembly_add(a, offset, data.p, data.have);
}

/* RFC 9000 19.3: largest, delay, count, first; two more for each of count; three with ECN. */
static int skip_ack(struct reader *r, bool ecn)
{
	uint64_t fields[4], unused;
	int err = 0;

	for (int i = 0; i < 4 && !err; i++)
		err = get_varint(r, &fields[i]);
	if (err || fields[2] > r->left)
		return -EBADMSG;
	for (uint64_t n = 2 * fields[2] + (ecn ? 3 : 0); n > 0 && !err; n--)
		err = get_varint(r, &unused);
	return err;
}

int quic_collect(const uint8_t *plain, size_t len, struct assembly *a)
{
	struct reader r = {plain, len, len};
	uint32_t type;
	int err = 0;

	while (!err && r.left > 0) {
		err = reader_uint(&r, 1, &type);
		if (err || type == PADDING || type == PING)
			continue;
		if (type == CRYPTO || type == GOOGLE_CRYPTO)
			err = collect_crypto(&r, a);
		else if (type == ACK || type == ACK_ECN)
			err = skip_ack(&r, type == ACK_ECN);
		else
			return type == CONNECTION_CLOSE ? 0 : -EBADMSG; /* nothing of use behind */
	}
	return err;
}
