/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* message.c - all messages but BATCH, which is in batch.c. */
#include "proto/message.h"

#include <errno.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/frame.h"
#include "weir.pb-c.h"

/*
 * Every unpack is the same: decode within the budget, then check and copy with
 * read(), which returns NULL or why the message is refused.
 */
static int unpack(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t len,
		  const char *(*read)(const void *message, void *ret), void *ret,
		  const char **ret_why)
{
	struct codec codec;
	const char *why;
	ProtobufCMessage *m;
	int err;

	codec_init(&codec);
	err = codec_decode(&codec, type, body, len, &m, ret_why);
	if (err)
		return err;
	why = read(m, ret);
	codec_free_message(&codec, m);
	return why ? codec_refuse(why, ret_why) : 0;
}

/* --- HELLO ---------------------------------------------------------------- */

int hello_pack(const struct hello *h, struct packed *ret)
{
	Weir__Hello m = WEIR__HELLO__INIT;
	uint32_t index[HELLO_MAX_IFACES];
	char *name[HELLO_MAX_IFACES], *hooks[HELLO_MAX_IFACES];
	ProtobufCBinaryData addrs[HELLO_MAX_ADDRS];

	if (h->n_ifaces > HELLO_MAX_IFACES || h->n_open_epochs > HELLO_MAX_EPOCHS ||
	    h->n_addrs > HELLO_MAX_ADDRS)
		return -E2BIG;
	for (size_t i = 0; i < h->n_addrs; i++)
		addrs[i] = (ProtobufCBinaryData){16, (uint8_t *)h->addrs[i]};
	for (size_t i = 0; i < h->n_ifaces; i++) {
		index[i] = h->ifaces[i].index;
		name[i] = (char *)h->ifaces[i].name;
		hooks[i] = (char *)h->ifaces[i].hooks;
	}
	m.version_major = h->version_major;
	m.version_minor = h->version_minor;
	m.probe_id = (ProtobufCBinaryData){PROBE_ID_BYTES, (uint8_t *)h->probe_id};
	m.epoch = h->epoch;
	m.oldest_seq = h->oldest_seq;
	m.host_name = (char *)h->host_name;
	m.build = (char *)h->build;
	m.kernel = (char *)h->kernel;
	m.boot_id = (ProtobufCBinaryData){BOOT_ID_BYTES, (uint8_t *)h->boot_id};
	m.real_ns = h->real_ns;
	m.mono_ns = h->mono_ns;
	m.n_iface_index = m.n_iface_name = m.n_iface_hooks = h->n_ifaces;
	m.iface_index = index;
	m.iface_name = name;
	m.iface_hooks = hooks;
	m.backlog_batches = h->backlog_batches;
	m.backlog_bytes = h->backlog_bytes;
	m.run = h->run;
	m.elsewhere = h->elsewhere;
	m.n_open_epoch = h->n_open_epochs;
	m.open_epoch = (uint64_t *)h->open_epochs;
	m.n_address = h->n_addrs;
	m.address = addrs;
	return codec_seal(&m.base, FRAME_HELLO, ret);
}

static const char *read_ifaces(const Weir__Hello *m, struct hello *ret)
{
	if (m->n_iface_index > HELLO_MAX_IFACES)
		return "too many interfaces";
	if (m->n_iface_name != m->n_iface_index || m->n_iface_hooks != m->n_iface_index)
		return "interface columns of different lengths";
	ret->n_ifaces = m->n_iface_index;
	for (size_t i = 0; i < ret->n_ifaces; i++) {
		struct hello_iface *iface = &ret->ifaces[i];

		iface->index = m->iface_index[i];
		if (iface->index == 0 || iface->index > INT32_MAX)
			return "iface_index out of range";
		if (!codec_text(m->iface_name[i], iface->name, sizeof(iface->name)) ||
		    iface->name[0] == '\0')
			return "bad iface_name";
		if (!codec_text(m->iface_hooks[i], iface->hooks, sizeof(iface->hooks)))
			return "bad iface_hooks";
	}
	return NULL;
}

static const char *read_addrs(const Weir__Hello *m, struct hello *ret)
{
	if (m->n_address > HELLO_MAX_ADDRS)
		return "too many addresses";
	ret->n_addrs = m->n_address;
	for (size_t i = 0; i < ret->n_addrs; i++) {
		if (!codec_bytes(&m->address[i], ret->addrs[i], 16))
			return "address is not 16 bytes";
	}
	return NULL;
}

static const char *read_hello(const void *message, void *out)
{
	const Weir__Hello *m = message;
	struct hello *ret = out;

	ret->version_major = m->version_major;
	ret->version_minor = m->version_minor;
	ret->epoch = m->epoch;
	ret->oldest_seq = m->oldest_seq;
	ret->real_ns = m->real_ns;
	ret->mono_ns = m->mono_ns;
	ret->backlog_batches = m->backlog_batches;
	ret->backlog_bytes = m->backlog_bytes;
	ret->run = m->run ? m->run : m->epoch;
	ret->elsewhere = m->elsewhere;
	if (m->n_open_epoch > HELLO_MAX_EPOCHS)
		return "too many epochs";
	ret->n_open_epochs = m->n_open_epoch;
	if (m->n_open_epoch)
		memcpy(ret->open_epochs, m->open_epoch, m->n_open_epoch * sizeof(*m->open_epoch));
	if (!codec_bytes(&m->probe_id, ret->probe_id, PROBE_ID_BYTES))
		return "probe_id is not 16 bytes";
	if (!codec_bytes(&m->boot_id, ret->boot_id, BOOT_ID_BYTES))
		return "boot_id is not 16 bytes";
	if (m->oldest_seq > COUNT_MAX || m->backlog_batches > COUNT_MAX ||
	    m->backlog_bytes > COUNT_MAX)
		return "count out of range";
	if (m->real_ns > COUNT_MAX || m->mono_ns > COUNT_MAX)
		return "clock out of range";
	if (m->epoch == 0)
		return "epoch is 0";
	if (!codec_text(m->host_name, ret->host_name, sizeof(ret->host_name)) ||
	    ret->host_name[0] == '\0')
		return "bad host_name";
	if (!codec_text(m->build, ret->build, sizeof(ret->build)))
		return "bad build";
	if (!codec_text(m->kernel, ret->kernel, sizeof(ret->kernel)))
		return "bad kernel";
	return read_ifaces(m, ret) ?: read_addrs(m, ret);
}

int hello_unpack(const uint8_t *body, size_t len, struct hello *ret, const char **ret_why)
{
	struct hello h = {0};
	int err = unpack(&weir__hello__descriptor, body, len, read_hello, &h, ret_why);

	if (!err)
		*ret = h;
	return err;
}

/* --- WELCOME -------------------------------------------------------------- */

int welcome_pack(const struct welcome *w, struct packed *ret)
{
	Weir__Welcome m = WEIR__WELCOME__INIT;

	m.version_major = w->version_major;
	m.version_minor = w->version_minor;
	m.epoch = w->epoch;
	m.last_seq = w->last_seq;
	m.credit_bytes = w->credit_bytes;
	m.max_batch_bytes = w->max_batch_bytes;
	m.heartbeat_ms = w->heartbeat_ms;
	m.real_ns = w->real_ns;
	return codec_seal(&m.base, FRAME_WELCOME, ret);
}

static const char *read_welcome(const void *message, void *out)
{
	const Weir__Welcome *m = message;

	if (m->last_seq > COUNT_MAX || m->credit_bytes > COUNT_MAX)
		return "count out of range";
	if (m->real_ns > COUNT_MAX)
		return "clock out of range";
	*(struct welcome *)out = (struct welcome){
		.version_major = m->version_major,
		.version_minor = m->version_minor,
		.epoch = m->epoch,
		.last_seq = m->last_seq,
		.credit_bytes = m->credit_bytes,
		.max_batch_bytes = m->max_batch_bytes,
		.heartbeat_ms = m->heartbeat_ms,
		.real_ns = m->real_ns,
	};
	return NULL;
}

int welcome_unpack(const uint8_t *body, size_t len, struct welcome *ret, const char **ret_why)
{
	return unpack(&weir__welcome__descriptor, body, len, read_welcome, ret, ret_why);
}

/* --- ACK ------------------------------------------------------------------ */

int ack_pack(const struct ack *a, struct packed *ret)
{
	Weir__Ack m = WEIR__ACK__INIT;

	m.epoch = a->epoch;
	m.up_to_seq = a->up_to_seq;
	m.credit_bytes = a->credit_bytes;
	return codec_seal(&m.base, FRAME_ACK, ret);
}

static const char *read_ack(const void *message, void *out)
{
	const Weir__Ack *m = message;

	if (m->up_to_seq > COUNT_MAX || m->credit_bytes > COUNT_MAX)
		return "count out of range";
	*(struct ack *)out = (struct ack){
		.epoch = m->epoch,
		.up_to_seq = m->up_to_seq,
		.credit_bytes = m->credit_bytes,
	};
	return NULL;
}

int ack_unpack(const uint8_t *body, size_t len, struct ack *ret, const char **ret_why)
{
	return unpack(&weir__ack__descriptor, body, len, read_ack, ret, ret_why);
}

/* --- NACK ----------------------------------------------------------------- */

int nack_pack(const struct nack *n, struct packed *ret)
{
	Weir__Nack m = WEIR__NACK__INIT;

	m.epoch = n->epoch;
	m.seq = n->seq;
	m.code = (Weir__NackCode)n->code;
	m.last_seq = n->last_seq;
	m.retry_after_ms = n->retry_after_ms;
	m.text = (char *)n->text;
	return codec_seal(&m.base, FRAME_NACK, ret);
}

static const char *read_nack(const void *message, void *out)
{
	const Weir__Nack *m = message;
	struct nack n = {
		.epoch = m->epoch,
		.seq = m->seq,
		.last_seq = m->last_seq,
		.code = (enum nack_code)m->code,
		.retry_after_ms = m->retry_after_ms,
	};

	if (m->seq > COUNT_MAX || m->last_seq > COUNT_MAX)
		return "count out of range";
	if ((unsigned)m->code > NACK_NOT_ADMITTED)
		return "unknown code";
	if (!codec_text(m->text, n.text, sizeof(n.text)))
		return "bad text";
	*(struct nack *)out = n;
	return NULL;
}

int nack_unpack(const uint8_t *body, size_t len, struct nack *ret, const char **ret_why)
{
	return unpack(&weir__nack__descriptor, body, len, read_nack, ret, ret_why);
}

/* --- COMMAND, COMMAND_RESULT ------------------------------------------------- */

int host_command_pack(const struct host_command *c, struct packed *ret)
{
	Weir__Command m = WEIR__COMMAND__INIT;

	m.command_id = c->command_id;
	m.not_after_ns = c->not_after_ns;
	m.kind = (Weir__CommandKind)c->kind;
	m.ttl_s = c->ttl_s;
	m.dry_run = c->dry_run;
	m.prefix = (char *)c->prefix;
	m.reason = (char *)c->reason;
	m.actor = (char *)c->actor;
	return codec_seal(&m.base, FRAME_COMMAND, ret);
}

static const char *read_command(const void *message, void *out)
{
	const Weir__Command *m = message;
	struct host_command c = {
		.command_id = m->command_id,
		.not_after_ns = m->not_after_ns,
		.kind = (uint32_t)m->kind,
		.ttl_s = m->ttl_s,
		.dry_run = m->dry_run,
	};

	if (m->command_id == 0 || m->command_id > COUNT_MAX)
		return "command_id out of range";
	if (m->not_after_ns > COUNT_MAX)
		return "not_after_ns out of range";
	if (!codec_text(m->prefix, c.prefix, sizeof(c.prefix)) ||
	    !codec_text(m->reason, c.reason, sizeof(c.reason)) ||
	    !codec_text(m->actor, c.actor, sizeof(c.actor)))
		return "bad text";
	*(struct host_command *)out = c;
	return NULL;
}

int host_command_unpack(const uint8_t *body, size_t len, struct host_command *ret,
			const char **ret_why)
{
	return unpack(&weir__command__descriptor, body, len, read_command, ret, ret_why);
}

int command_result_pack(const struct command_result *r, struct packed *ret)
{
	Weir__CommandResult m = WEIR__COMMAND_RESULT__INIT;

	m.command_id = r->command_id;
	m.status = r->status;
	m.text = (char *)r->text;
	return codec_seal(&m.base, FRAME_COMMAND_RESULT, ret);
}

static const char *read_command_result(const void *message, void *out)
{
	const Weir__CommandResult *m = message;
	struct command_result r = {.command_id = m->command_id, .status = m->status};

	if (m->command_id == 0 || m->command_id > COUNT_MAX)
		return "command_id out of range";
	if (m->status > INT32_MAX)
		return "status out of range";
	if (!codec_text(m->text, r.text, sizeof(r.text)))
		return "bad text";
	*(struct command_result *)out = r;
	return NULL;
}

int command_result_unpack(const uint8_t *body, size_t len, struct command_result *ret,
			  const char **ret_why)
{
	return unpack(&weir__command_result__descriptor, body, len, read_command_result, ret,
		      ret_why);
}

/* --- PING, PONG ----------------------------------------------------------- */

/* Ping stands for Pong too: they are the same on the wire. */
int ping_pack(int type, uint64_t nonce, struct packed *ret)
{
	Weir__Ping m = WEIR__PING__INIT;

	m.nonce = nonce;
	return codec_seal(&m.base, type, ret);
}

static const char *read_ping(const void *message, void *out)
{
	*(uint64_t *)out = ((const Weir__Ping *)message)->nonce;
	return NULL;
}

int ping_unpack(const uint8_t *body, size_t len, uint64_t *ret_nonce, const char **ret_why)
{
	return unpack(&weir__ping__descriptor, body, len, read_ping, ret_nonce, ret_why);
}
