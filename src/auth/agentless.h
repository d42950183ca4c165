/*
 * Servers without an agent, as people wrote them: kind node, sub_kind openssh. They are kept, listed and decided about like
 * nodes; nothing connects to them yet.
 *
 * Whoever may write them must not draw to himself what is meant for a host: a host that joined is always found first,
 * by its id and by its name, and no certificate, route or grant knows of these.
 */
#ifndef AUTH_AGENTLESS_H
#define AUTH_AGENTLESS_H

#include "base/err.h"
#include "base/json.h"

struct auth;
struct call;
struct rbac_target;

struct agentless;

enum tp_err agentless_load(struct auth *auth, struct tp_error *error) TP_MUST;
void agentless_free(struct auth *auth);
/* May this document be kept? For what the form of documents does not say. */
enum tp_err agentless_check(const struct call *call, const json_t *doc, struct tp_error *error) TP_MUST;
/* It was written, or (NULL) removed. */
void agentless_changed(struct auth *auth, const char *id, const json_t *doc);
bool agentless_is(const json_t *doc);
/* By id or name, among those that the caller may list, unless a host has that name; the first one by id when several have it.
 * NULL: none. */
const struct agentless *agentless_find(const struct call *call, const char *target);
/* Why nobody gets there: TP_UNAVAILABLE and a sentence. */
enum tp_err agentless_refuse(const struct agentless *server, struct tp_error *error) TP_MUST;
/* The decision's view. It lives until the next change. */
void agentless_target(const struct agentless *server, struct rbac_target *ret_target);
const char *agentless_id(const struct agentless *server);
/* nodes.list with sub_kind: those that the caller may list, by their ids. */
void agentless_list(struct call *call);

#endif
