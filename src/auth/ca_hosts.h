/* Hosts in a rotation of the host CA: who has renewed, and who would be shut out. */
#ifndef AUTH_CA_HOSTS_H
#define AUTH_CA_HOSTS_H

#include "auth/ca.h"
#include "base/err.h"
#include "base/json.h"

struct auth;

/* Do hosts have to renew in the phase that this CA is in? */
bool ca_moves_hosts(const struct auth *auth, enum ca_kind kind) TP_MUST;
/* Who has not: {"total", "not_renewed", "names": [{"id", "hostname", "online"}]}, the first hundred by name.
 * Of all hosts: for the local administrator and those who may rotate. */
json_t *ca_hosts(const struct auth *auth) TP_MUST;
/* Some of them, for a sentence: "db1, web3 (offline, ID) and 7 more". mem_free it. */
char *ca_hosts_said(const json_t *hosts) TP_MUST;
/* May this phase come, or would it shut hosts out (TP_CONFLICT, with their names)? */
enum tp_err ca_hosts_ready(const struct auth *auth, enum ca_kind kind, enum ca_phase to,
                           struct tp_error *error) TP_MUST;

#endif
