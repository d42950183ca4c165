/* The table of hosts from inside: hosts.c has it, host_join.c fills it, host_names.c finds by name. */
#ifndef AUTH_HOSTS_H
#define AUTH_HOSTS_H

#include "auth/inner.h"

/* ---- hosts.c ---- */
/* The host of this id under this name, known before or not; it has been seen now. */
struct host *hosts_add(struct auth *auth, const char *id, const char *name);
/* hash of the join token that it came with, NULL: none. */
void hosts_keep_token(struct host *host, const char *hash);

/* ---- host_names.c: several hosts may have one name ---- */
/* The first host of this name, in capitals or not, or NULL; the others follow by next_named, in no order. */
struct host *host_names_first(const struct auth *auth, const char *name) TP_MUST;
/* Gives the host a name, instead of the one that it has, if any. */
void host_names_set(struct auth *auth, struct host *host, const char *name);
/* Takes the host's name from it; it goes, or gets another one. */
void host_names_drop(struct auth *auth, struct host *host);
/* Does a host other than id own this: by its id or its name, alone or as NAME.CLUSTER? */
bool host_names_taken(const struct auth *auth, const char *id, const char *name) TP_MUST;
/* In small letters, as names of hosts are kept. mem_free it. */
char *host_names_lower(const char *text) TP_MUST;

#endif
