/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * keyring.h - what this host knows for CURVE: its own key, and the collectors
 * it has enrolled at. Two private files (common/private_file.h) of the state
 * folder:
 *
 *	key		see common/key.h
 *	collectors	lines "URL ENROLL_URL KEY", comments that begin with #
 *
 * They are read anew for each connection, so that a new key or collector needs
 * no restart.
 *
 * Errors: -errno, and what is wrong on which file in *ret_why.
 */
#ifndef WEIR_PROBE_UPLINK_KEYRING_H
#define WEIR_PROBE_UPLINK_KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "common/key.h"

#define KEYRING_DEFAULT	   "/var/lib/weir-probe"
#define KEYRING_MAX	   16 /* collectors */
#define KEYRING_URL_BYTES  288
#define KEYRING_WHY_BYTES  512
#define KEYRING_FILE_BYTES 16384

struct known_collector {
	char url[KEYRING_URL_BYTES], enroll_url[KEYRING_URL_BYTES];
	uint8_t key[KEY_BYTES];
};

struct keyring {
	struct key_pair own;
	size_t n;
	struct known_collector collectors[KEYRING_MAX];
};

/* What a connection needs. */
struct link_keys {
	struct key_pair own;
	uint8_t server_key[KEY_BYTES];
};

/* The text of the file collectors, NUL-terminated. -EBADMSG with a constant text. */
int keyring_parse(const char *text, struct keyring *ret, const char **ret_why);

/* -ENOENT: not enrolled anywhere yet. */
int keyring_load(const char *folder, struct keyring *ret, char ret_why[KEYRING_WHY_BYTES]);

/* The key of this host, made if there is none, and the folder with it. */
int keyring_own(const char *folder, struct key_pair *ret, char ret_why[KEYRING_WHY_BYTES]);

/* Puts c into the file, over the one of the same url. */
int keyring_add(const char *folder, const struct known_collector *c,
		char ret_why[KEYRING_WHY_BYTES]);

/* Puts a new own key over the one that is there. */
int keyring_replace_own(const char *folder, const struct key_pair *pair,
			char ret_why[KEYRING_WHY_BYTES]);

/*
 * What a connection to url needs. A url that is not in the file is taken for
 * another address of the only collector that is.
 */
int keyring_for(const char *folder, const char *url, struct link_keys *ret,
		char ret_why[KEYRING_WHY_BYTES]);

void keyring_forget(struct keyring *k);

#endif /* WEIR_PROBE_UPLINK_KEYRING_H */
