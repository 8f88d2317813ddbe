/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * key.h - CURVE keys: made, named, kept in files.
 *
 * A public key is an identity. Its text is Z85 (ZeroMQ RFC 32), its id the
 * BLAKE2b-128 of it, its fingerprint the first 80 bits of that, for people to
 * compare.
 *
 * A key file has lines "name = value" and comments that begin with #:
 *
 *	public = Z85
 *	secret = Z85
 *	id = 32 hexadecimal digits
 *
 * id is who the owner is: without it, the id of the public key. It stays when
 * the key is replaced (weir-probe key rotate).
 *
 * Errors: -errno; *ret_why is a constant text.
 */
#ifndef WEIR_COMMON_KEY_H
#define WEIR_COMMON_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES	      32
#define KEY_TEXT_BYTES	      41 /* with its NUL */
#define KEY_ID_BYTES	      16
#define KEY_FINGERPRINT_BYTES 25 /* 1234-5678-9abc-def0-1234 and NUL */
#define KEY_FILE_MAX	      1024

struct key_pair {
	uint8_t public_key[KEY_BYTES], secret_key[KEY_BYTES];
	uint8_t id[KEY_ID_BYTES];
};

/* A new pair. -EIO: there are no random numbers. */
int key_make(struct key_pair *ret);

void key_format(const uint8_t key[KEY_BYTES], char ret[KEY_TEXT_BYTES]);
/* -EINVAL unless text is Z85 of 32 bytes. */
int key_parse(const char *text, uint8_t ret[KEY_BYTES]);

void key_id(const uint8_t public_key[KEY_BYTES], uint8_t ret[KEY_ID_BYTES]);
void key_fingerprint(const uint8_t public_key[KEY_BYTES], char ret[KEY_FINGERPRINT_BYTES]);

/* The text of a key file; text is NUL-terminated. -EBADMSG. */
int key_file_parse(const char *text, struct key_pair *ret, const char **ret_why);

/* Reads, or writes, PATH as private_file.h wants it. */
int key_load(const char *path, struct key_pair *ret, const char **ret_why);
int key_save(const char *path, const struct key_pair *pair, bool replace, const char **ret_why);

/* Loads the key of path, which is made if it is not there. *ret_made: whether it was. */
int key_load_or_make(const char *path, struct key_pair *ret, bool *ret_made, const char **ret_why);

/* Overwrites the secret. */
void key_forget(struct key_pair *pair);

#endif /* WEIR_COMMON_KEY_H */
