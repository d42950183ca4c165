/* Who this host is: keys, certificates and what it trusts, kept in DATA_DIR/agent (files of mode 0600). */
#ifndef AGENT_AGENT_STATE_H
#define AGENT_AGENT_STATE_H

#include "base/json.h"
#include "crypt/identity.h"

struct agent_state {
    char *host_id;
    char *tls_key;            /* PEM */
    char *tls_cert;           /* PEM */
    char *ssh_key;            /* OpenSSH private key */
    char *ssh_public;         /* its public half, one line */
    char *ssh_cert;           /* one line */
    json_t *cas;              /* host_signers, user_ca_tls, user_ca_ssh, grant_keys of cluster.cas */
    struct identity identity; /* of tls_cert */
    /* Out of cas. */
    char *host_ca_pems; /* X.509, all host CAs in one text */
    char **host_ca_ssh; /* NULL-terminated lines; none: a state of before they were needed */
    char **user_ca_ssh; /* NULL-terminated lines */
    uint8_t (*grant_keys)[32];
    size_t grant_key_count;
};

void agent_state_init(struct agent_state *state);
/* Wipes and frees what it holds. */
void agent_state_free(struct agent_state *state);
/* A host id for a new host, kept in the directory at once so that a repeated join is the same host. dir is made. */
enum tp_err agent_state_host_id(const char *dir, char **ret_host_id, struct tp_error *error) TP_MUST;
/* TP_NOT_FOUND when this host has not joined yet; other errors name the file. */
enum tp_err agent_state_load(const char *dir, struct agent_state *ret_state, struct tp_error *error) TP_MUST;
/* Makes a state of keys and the answer of host.join (borrowed), checking that the certificate is for our host id. keys are
 * copied. */
enum tp_err agent_state_make(const char *host_id, const char *tls_key, const char *ssh_key, const char *ssh_public,
                             const json_t *answer, struct agent_state *ret_state, struct tp_error *error) TP_MUST;
/* Makes the state that follows on the answer of host.renew (borrowed): keys and id stay, the certificates must be of CAs that
 * we trust, and whom we trust changes only by a word that these have signed. */
enum tp_err agent_state_renew(const struct agent_state *state, const json_t *answer, struct agent_state *ret_state,
                              struct tp_error *error) TP_MUST;
/* Replaces cas by the answer of cluster.cas (borrowed), if it is signed by a host CA of now. ret_changed: something in it is new.
 * The old one stays when it fails. */
enum tp_err agent_state_set_cas(struct agent_state *state, const json_t *answer, bool *ret_changed,
                                struct tp_error *error) TP_MUST;
/* Writes all files, each atomically and durably. */
enum tp_err agent_state_save(const char *dir, const struct agent_state *state, struct tp_error *error) TP_MUST;

#endif
