// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "common/key.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/private_file.h"

/* CURVE's keys are those of crypto_box (ZeroMQ RFC 26). */
_Static_assert(crypto_box_PUBLICKEYBYTES == KEY_BYTES, "a public key of CURVE");
_Static_assert(crypto_box_SECRETKEYBYTES == KEY_BYTES, "a secret key of CURVE");

int key_make(struct key_pair *ret)
{
	struct key_pair pair;

	if (sodium_init() < 0 || crypto_box_keypair(pair.public_key, pair.secret_key) != 0)
		return -EIO;
	key_id(pair.public_key, pair.id);
	*ret = pair;
	key_forget(&pair);
	return 0;
}

/* Z85 (ZeroMQ RFC 32): five digits, the highest first, for each four bytes. */
static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz"
			       "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
#define BASE 85u

void key_format(const uint8_t key[KEY_BYTES], char ret[KEY_TEXT_BYTES])
{
	for (size_t i = 0; i < KEY_BYTES / 4; i++) {
		const uint8_t *four = key + 4 * i;
		uint32_t value = (uint32_t)four[0] << 24 | (uint32_t)four[1] << 16 |
				 (uint32_t)four[2] << 8 | four[3];

		for (size_t digit = 5; digit-- > 0; value /= BASE)
			ret[5 * i + digit] = alphabet[value % BASE];
	}
	ret[KEY_TEXT_BYTES - 1] = '\0';
}

int key_parse(const char *text, uint8_t ret[KEY_BYTES])
{
	uint8_t key[KEY_BYTES];

	if (strnlen(text, KEY_TEXT_BYTES) != KEY_TEXT_BYTES - 1 ||
	    strspn(text, alphabet) != KEY_TEXT_BYTES - 1)
		return -EINVAL;
	for (size_t i = 0; i < KEY_BYTES / 4; i++) {
		uint64_t value = 0;

		for (size_t digit = 0; digit < 5; digit++)
			value = value * BASE +
				(size_t)(strchr(alphabet, text[5 * i + digit]) - alphabet);
		if (value > UINT32_MAX)
			return -EINVAL;
		for (size_t byte = 4; byte-- > 0; value >>= 8)
			key[4 * i + byte] = (uint8_t)value;
	}
	memcpy(ret, key, KEY_BYTES);
	explicit_bzero(key, sizeof(key));
	return 0;
}

void key_id(const uint8_t public_key[KEY_BYTES], uint8_t ret[KEY_ID_BYTES])
{
	/* Fails for lengths that it does not know only. */
	(void)crypto_generichash(ret, KEY_ID_BYTES, public_key, KEY_BYTES, NULL, 0);
}

void key_fingerprint(const uint8_t public_key[KEY_BYTES], char ret[KEY_FINGERPRINT_BYTES])
{
	uint8_t id[KEY_ID_BYTES];

	key_id(public_key, id);
	for (int i = 0; i < 5; i++)
		(void)snprintf(ret + (i ? i * 5 - 1 : 0), 6, "%s%02x%02x", i ? "-" : "", id[2 * i],
			       id[2 * i + 1]);
}

void key_forget(struct key_pair *pair)
{
	explicit_bzero(pair->secret_key, sizeof(pair->secret_key));
}

/* --- files --------------------------------------------------------------------- */

static int parse_id(const char *text, uint8_t ret[KEY_ID_BYTES])
{
	size_t len;
	const char *end;

	if (strlen(text) != (size_t)2 * KEY_ID_BYTES ||
	    sodium_hex2bin(ret, KEY_ID_BYTES, text, strlen(text), NULL, &len, &end) != 0 ||
	    len != KEY_ID_BYTES || *end)
		return -EINVAL;
	return 0;
}

struct fields {
	bool has_public, has_secret, has_id;
};

/* One "name = value"; a name that is not known, or comes twice, is refused. */
static const char *read_field(const char *name, const char *value, struct fields *seen,
			      struct key_pair *pair)
{
	bool *has;
	int err;

	if (strcmp(name, "public") == 0) {
		has = &seen->has_public;
		err = key_parse(value, pair->public_key);
	} else if (strcmp(name, "secret") == 0) {
		has = &seen->has_secret;
		err = key_parse(value, pair->secret_key);
	} else if (strcmp(name, "id") == 0) {
		has = &seen->has_id;
		err = parse_id(value, pair->id);
	} else {
		return "an unknown name";
	}
	if (err)
		return "a value that is no key";
	if (*has)
		return "a name that comes twice";
	*has = true;
	return NULL;
}

static const char *read_line(char *line, struct fields *seen, struct key_pair *pair)
{
	char *name, *equals, *value, *rest, *save = NULL;

	name = strtok_r(line, " \t\r", &save);
	if (!name || *name == '#')
		return NULL;
	equals = strtok_r(NULL, " \t\r", &save);
	value = strtok_r(NULL, " \t\r", &save);
	rest = strtok_r(NULL, " \t\r", &save);
	if (!equals || strcmp(equals, "=") != 0 || !value || rest)
		return "a line that is not \"name = value\"";
	return read_field(name, value, seen, pair);
}

/* The public key must be that of the secret one. */
static bool belong_together(const struct key_pair *pair)
{
	uint8_t public_key[KEY_BYTES];

	return crypto_scalarmult_base(public_key, pair->secret_key) == 0 &&
	       memcmp(public_key, pair->public_key, KEY_BYTES) == 0;
}

int key_file_parse(const char *text, struct key_pair *ret, const char **ret_why)
{
	char copy[KEY_FILE_MAX], *line, *save = NULL;
	struct key_pair pair = {0};
	struct fields seen = {0};
	const char *why = NULL;
	size_t len = strlen(text);

	if (len >= sizeof(copy)) {
		*ret_why = "too long";
		return -EBADMSG;
	}
	memcpy(copy, text, len + 1);
	for (line = strtok_r(copy, "\n", &save); line && !why; line = strtok_r(NULL, "\n", &save))
		why = read_line(line, &seen, &pair);
	explicit_bzero(copy, sizeof(copy));
	if (!why && !(seen.has_public && seen.has_secret))
		why = "no public or no secret key in it";
	if (!why && !belong_together(&pair))
		why = "its public key is not that of its secret key";
	if (!why && !seen.has_id)
		key_id(pair.public_key, pair.id);
	if (!why)
		*ret = pair;
	key_forget(&pair);
	*ret_why = why;
	return why ? -EBADMSG : 0;
}

int key_load(const char *path, struct key_pair *ret, const char **ret_why)
{
	char text[KEY_FILE_MAX];
	size_t len;
	int err = private_file_read(path, text, sizeof(text), &len, ret_why);

	if (err)
		return err;
	if (strlen(text) != len) {
		*ret_why = "not a text";
		err = -EBADMSG;
	} else {
		err = key_file_parse(text, ret, ret_why);
	}
	explicit_bzero(text, sizeof(text));
	return err;
}

int key_save(const char *path, const struct key_pair *pair, bool replace, const char **ret_why)
{
	char public_text[KEY_TEXT_BYTES], secret_text[KEY_TEXT_BYTES];
	char id_text[2 * KEY_ID_BYTES + 1], text[KEY_FILE_MAX];
	int len, err;

	key_format(pair->public_key, public_text);
	key_format(pair->secret_key, secret_text);
	(void)sodium_bin2hex(id_text, sizeof(id_text), pair->id, KEY_ID_BYTES);
	len = snprintf(text, sizeof(text),
		       "# Whoever has the secret key can speak in this one's name.\n"
		       "public = %s\nsecret = %s\nid = %s\n",
		       public_text, secret_text, id_text);
	err = private_file_write(path, text, (size_t)len, replace, ret_why);
	explicit_bzero(secret_text, sizeof(secret_text));
	explicit_bzero(text, sizeof(text));
	return err;
}

int key_load_or_make(const char *path, struct key_pair *ret, bool *ret_made, const char **ret_why)
{
	struct key_pair pair;
	int err;

	*ret_made = false;
	err = key_load(path, ret, ret_why);
	if (err != -ENOENT)
		return err;
	err = key_make(&pair);
	if (err) {
		*ret_why = strerror(-err);
		return err;
	}
	err = key_save(path, &pair, false, ret_why);
	if (!err) {
		*ret = pair;
		*ret_made = true;
	}
	key_forget(&pair);
	return err == -EEXIST ? key_load(path, ret, ret_why) : err;
}
