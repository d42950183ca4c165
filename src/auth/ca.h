/* The certificate authorities: their keys, made at the first start (ca.c), and where a rotation stands (ca_rotate.c). */
#ifndef AUTH_CA_H
#define AUTH_CA_H

#include "base/err.h"
#include "base/json.h"
#include "crypt/key.h"

struct auth;

enum ca_kind { CA_USER, CA_HOST, CA_APP, CA_DB, CA_KIND_COUNT };

/* Where the rotation of a CA stands (ca_rotate.c). */
enum ca_phase { CA_STANDBY, CA_INIT, CA_UPDATE_CLIENTS, CA_UPDATE_SERVERS, CA_ROLLBACK, CA_PHASE_COUNT };

/* The keys of a CA: an X.509 half (P-256) and an SSH half (Ed25519). */
struct ca_keys {
    struct key *tls_key;
    struct key *ssh_key;
    char *tls_pem;
    char *ssh_line; /* authorized_keys form of ssh_key */
};

/* One certificate authority. */
struct ca {
    struct ca_keys keys;
    struct ca_keys fresh; /* all NULL in standby: the set that takes over in a rotation; trusted like keys */
    char *trusted_pems;   /* of both, for checks */
    enum ca_phase phase;
    bool automatic; /* phases follow each other by the grace period */
    int64_t grace_ms;
    int64_t started_ms; /* of the rotation, wall */
    int64_t changed_ms; /* wall: the last phase began; 0: never rotated */
    int64_t since;      /* Unix seconds: what is signed with changed last; 0: never */
};

/* First start: fixes the cluster name, makes presets. Later: checks the name. */
enum tp_err bootstrap_run(struct auth *auth, struct tp_error *error) TP_MUST;
/* Loads roles and locks into the caches. */
enum tp_err bootstrap_load(struct auth *auth, struct tp_error *error) TP_MUST;
const char *ca_name(enum ca_kind kind);
/* Loads the keys of all CAs out of the secrets store; makes those that are missing. */
enum tp_err ca_load(struct auth *auth, struct tp_error *error) TP_MUST;
void ca_free(struct auth *auth);
/* Reads one CA anew, after a change in the store. On failure the old keys stay. */
enum tp_err ca_reload(struct auth *auth, enum ca_kind kind, struct tp_error *error) TP_MUST;
/* A new set of keys as it is stored: {"tls_key", "tls_cert", "ssh_key", "created"}. */
json_t *ca_make_keys(struct auth *auth, enum ca_kind kind) TP_MUST;
/* The keys that certificates are signed with now: those of clients (users; hosts towards the proxy), or of servers (what
 * the proxy shows in TLS, what hosts show in SSH). Borrowed until the next change. */
const struct ca_keys *ca_signer(const struct auth *auth, enum ca_kind kind, bool servers) TP_MUST;
/* "standby" ...; ca_phase_parse gives CA_PHASE_COUNT for another name. */
const char *ca_phase_name(enum ca_phase phase);
enum ca_phase ca_phase_parse(const char *name);
/* Once a second: rotations that move on by themselves. */
void ca_tick(struct auth *auth);
/* The result of cluster.cas. */
json_t *ca_describe(const struct auth *auth) TP_MUST;
/* The same, signed for who gets it from a worker (crypt/statement.h). */
json_t *ca_describe_signed(const struct auth *auth) TP_MUST;
/* Pins of the host CA, both while a rotation runs: ["sha256:HEX"]. */
json_t *ca_pins(const struct auth *auth) TP_MUST;

#endif
