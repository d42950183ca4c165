/* The table of hosts from inside: hosts.c has it, host_join.c fills it, host_names.c finds by name; a host's keys, its signed reports
 * and its credit have files of their own. */
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

/* ---- host_keys.c ---- */
/* Notes in the registration of a host which keys are its. */
void host_keys_note(json_t *doc, const char *tls_pub, const char *ssh_pub);
/* Are tls_pub_key and ssh_pub_key of these parameters the host's? Of one that is not registered: yes. */
enum tp_err host_keys_check(struct auth *auth, const char *id, const json_t *params, bool *ret_same,
                            struct tp_error *error) TP_MUST;

/* ---- host_report.c ---- */
struct host_report {
    int64_t issued_ms; /* of the host's clock; 0: it is not signed */
    char hash[HASH_TEXT_SIZE];
};
/* Puts what the host has signed in the place of the call's params. TP_DENIED with a sentence when it should be signed and is not. */
enum tp_err host_report_open(struct call *call, struct host *host, struct host_report *ret_report,
                             struct tp_error *error) TP_MUST;
/* TP_DENIED for one that says something else than what is known and is older than that, or of the future. */
enum tp_err host_report_is_news(const struct host *host, const struct host_report *report,
                                struct tp_error *error) TP_MUST;
enum tp_err host_report_keep(struct auth *auth, struct host *host, const struct host_report *report,
                             struct tp_error *error) TP_MUST;
enum tp_err host_reports_load(struct auth *auth, struct tp_error *error) TP_MUST;

/* ---- host_credit.c ---- */
/* Takes cost_ms of the host's credit, which grows by a millisecond each millisecond; TP_LIMIT with a sentence when it is used up. */
enum tp_err hosts_spend(struct host *host, int64_t cost_ms, struct tp_error *error) TP_MUST;

#endif
