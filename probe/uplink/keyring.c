// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/uplink/keyring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/private_file.h"
#include "probe/uplink/link.h"

#define PATH_BYTES 4096

static int make_path(const char *folder, const char *name, char ret[PATH_BYTES],
		     char why[KEYRING_WHY_BYTES])
{
	if (snprintf(ret, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES)
		return 0;
	(void)snprintf(why, KEYRING_WHY_BYTES, "the name of the state folder is too long");
	return -ENAMETOOLONG;
}

static int explain(int err, const char *path, const char *text, char why[KEYRING_WHY_BYTES])
{
	if (err)
		(void)snprintf(why, KEYRING_WHY_BYTES, "%.400s: %.100s", path, text);
	return err;
}

/* --- the file of collectors -------------------------------------------------------------- */

static const char *read_line(char *line, struct keyring *k)
{
	struct known_collector *c = &k->collectors[k->n];
	char *url, *enroll_url, *key, *rest, *save = NULL;

	url = strtok_r(line, " \t\r", &save);
	if (!url || *url == '#')
		return NULL;
	enroll_url = strtok_r(NULL, " \t\r", &save);
	key = strtok_r(NULL, " \t\r", &save);
	rest = strtok_r(NULL, " \t\r", &save);
	if (!enroll_url || !key || rest)
		return "a line that is not \"URL ENROLL_URL KEY\"";
	if (k->n == KEYRING_MAX)
		return "too many collectors";
	if (link_check_url(url) != 0 || link_check_url(enroll_url) != 0 ||
	    strlen(url) >= sizeof(c->url) || strlen(enroll_url) >= sizeof(c->enroll_url))
		return "an address that is not tcp://HOST:PORT";
	if (key_parse(key, c->key) != 0)
		return "a key that is none";
	memcpy(c->url, url, strlen(url) + 1);
	memcpy(c->enroll_url, enroll_url, strlen(enroll_url) + 1);
	k->n++;
	return NULL;
}

int keyring_parse(const char *text, struct keyring *ret, const char **ret_why)
{
	char copy[KEYRING_FILE_BYTES], *line, *save = NULL;
	size_t len = strlen(text);
	const char *why = NULL;

	if (len >= sizeof(copy)) {
		*ret_why = "too long";
		return -EBADMSG;
	}
	memcpy(copy, text, len + 1);
	ret->n = 0;
	for (line = strtok_r(copy, "\n", &save); line && !why; line = strtok_r(NULL, "\n", &save))
		why = read_line(line, ret);
	*ret_why = why;
	return why ? -EBADMSG : 0;
}

static int load_collectors(const char *folder, struct keyring *ret, char why[KEYRING_WHY_BYTES])
{
	char path[PATH_BYTES], text[KEYRING_FILE_BYTES];
	const char *reason = "";
	size_t len;
	int err = make_path(folder, "collectors", path, why);

	if (err)
		return err;
	err = private_file_read(path, text, sizeof(text), &len, &reason);
	if (!err && strlen(text) != len) {
		reason = "not a text";
		err = -EBADMSG;
	}
	if (!err)
		err = keyring_parse(text, ret, &reason);
	return explain(err, path, reason, why);
}

static int save_collectors(const char *folder, const struct keyring *k, char why[KEYRING_WHY_BYTES])
{
	char path[PATH_BYTES], text[KEYRING_FILE_BYTES], key[KEY_TEXT_BYTES];
	const char *reason = "";
	size_t len = 0;
	int err = make_path(folder, "collectors", path, why);

	if (err)
		return err;
	for (size_t i = 0; i < k->n; i++) {
		key_format(k->collectors[i].key, key);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %s\n",
					k->collectors[i].url, k->collectors[i].enroll_url, key);
	}
	err = private_file_write(path, text, len, true, &reason);
	return explain(err, path, reason, why);
}

int keyring_add(const char *folder, const struct known_collector *c,
		char ret_why[KEYRING_WHY_BYTES])
{
	struct keyring k = {.n = 0};
	size_t at = 0;
	int err = load_collectors(folder, &k, ret_why);

	if (err && err != -ENOENT)
		return err;
	while (at < k.n && strcmp(k.collectors[at].url, c->url) != 0)
		at++;
	if (at == KEYRING_MAX)
		return explain(-ENOSPC, folder, "too many collectors", ret_why);
	k.collectors[at] = *c;
	if (at == k.n)
		k.n++;
	return save_collectors(folder, &k, ret_why);
}

/* --- keys ------------------------------------------------------------------------------- */

int keyring_own(const char *folder, struct key_pair *ret, char ret_why[KEYRING_WHY_BYTES])
{
	char path[PATH_BYTES];
	const char *reason = "";
	bool made;
	int err = make_path(folder, "key", path, ret_why);

	if (err)
		return err;
	err = private_folder_make(folder);
	if (err)
		return explain(err, folder, strerror(-err), ret_why);
	err = key_load_or_make(path, ret, &made, &reason);
	return explain(err, path, reason, ret_why);
}

int keyring_replace_own(const char *folder, const struct key_pair *pair,
			char ret_why[KEYRING_WHY_BYTES])
{
	char path[PATH_BYTES];
	const char *reason = "";
	int err = make_path(folder, "key", path, ret_why);

	if (err)
		return err;
	err = key_save(path, pair, true, &reason);
	return explain(err, path, reason, ret_why);
}

int keyring_load(const char *folder, struct keyring *ret, char ret_why[KEYRING_WHY_BYTES])
{
	char path[PATH_BYTES];
	const char *reason = "";
	int err = make_path(folder, "key", path, ret_why);

	if (err)
		return err;
	err = key_load(path, &ret->own, &reason);
	if (err)
		return explain(err, path, reason, ret_why);
	return load_collectors(folder, ret, ret_why);
}

int keyring_for(const char *folder, const char *url, struct link_keys *ret,
		char ret_why[KEYRING_WHY_BYTES])
{
	cleanup(keyring_forget) struct keyring k;
	const struct known_collector *found = NULL;
	int err = keyring_load(folder, &k, ret_why);

	if (err)
		return err;
	for (size_t i = 0; i < k.n; i++)
		if (strcmp(k.collectors[i].url, url) == 0)
			found = &k.collectors[i];
	if (!found && k.n == 1)
		found = &k.collectors[0];
	if (!found)
		return explain(-ENOKEY, url, "this host has not enrolled there", ret_why);
	ret->own = k.own;
	memcpy(ret->server_key, found->key, KEY_BYTES);
	return 0;
}

void keyring_forget(struct keyring *k)
{
	key_forget(&k->own);
}
