/*
 * What a login leaves in ~/.tport: who, where, keys and certificates (behaviour.md 9). Names that come from the
 * outside become file names only after a check.
 */
#ifndef CLI_COMMON_PROFILE_H
#define CLI_COMMON_PROFILE_H

#include "crypt/identity.h"

struct profile {
    char *home;    /* ~/.tport */
    char *host;    /* the proxy's name; file names are made of it */
    char *address; /* HOST:PORT */
    char *user;
    char *cluster;
    bool kube;                        /* the proxy serves Kubernetes */
    json_t *kube_users, *kube_groups; /* texts: what the roles gave at the login; NULL: none */
    bool
        mfa_never; /* at the login no role asked for a code before each session; the proxy still says so when one does */
    char *ssh_key, *ssh_public, *ssh_cert; /* paths */
    char *tls_key, *tls_cert, *cas;
    char *known_hosts;
    struct identity identity; /* what the TLS certificate says; empty before profile_load */
};

/* What profile_save writes; all texts borrowed. */
struct profile_content {
    const char *ssh_key;          /* OpenSSH form */
    const char *ssh_public;       /* authorized_keys line */
    const char *ssh_cert;         /* certificate line */
    const char *tls_key;          /* PEM */
    const char *tls_cert;         /* PEM */
    const char *cas;              /* PEM, one or more certificates */
    const char *const *host_keys; /* authorized_keys lines of the SSH host CA; NULL-terminated */
};

/* TPORT_HOME (or TELEPORT_HOME), else ~/.tport. mem_free it. */
char *profile_home(void) TP_MUST;
/* The HOST of "HOST", "HOST:PORT", "https://HOST:PORT/" and the port (443 when none is given): a name or an address of
 * letters, digits, '.', '-' ('[...]' and ':' for IPv6); TP_INVALID otherwise. mem_free ret_host. */
enum tp_err profile_parse_proxy(const char *text, char **ret_host, uint16_t *ret_port, struct tp_error *error) TP_MUST;
/* User names that can be file names: no '/', no control characters, not "." or "..", no leading '-' or '.'. */
enum tp_err profile_check_user(const char *user, struct tp_error *error) TP_MUST;
/* A cluster's or host's name: letters, digits, '.', '-', '_'; it starts with a letter or digit. */
bool profile_good_name(const char *name);

/* Fills in the paths; nothing is read. profile_free it. TP_INVALID when a name can't be part of a path. */
enum tp_err profile_init(struct profile *profile, const char *home, const char *host, const char *address,
                         const char *user, const char *cluster, struct tp_error *error) TP_MUST;
void profile_free(struct profile *profile);
/* The profile of that proxy ("HOST" or "HOST:PORT"), or the current one for NULL. TP_UNAUTHENTICATED "run tport login" when
 * there is none, or when it is of another port than the one that was named. An expired one is loaded too. profile_free it in every case. */
enum tp_err profile_load(const char *home, const char *proxy, struct profile *ret_profile,
                         struct tp_error *error) TP_MUST;
/* TP_EXPIRED with a sentence when the certificate is no longer valid. */
enum tp_err profile_check_valid(const struct profile *profile, struct tp_error *error) TP_MUST;
/* Writes all files and makes it the current one. Takes the lock of home. */
enum tp_err profile_save(const struct profile *profile, const struct profile_content *content,
                         struct tp_error *error) TP_MUST;
/* Replaces what the profile trusts (as in struct profile_content), if it differs. Takes the lock of home only then. */
enum tp_err profile_update_trust(const struct profile *profile, const char *cas, const char *const *host_keys,
                                 struct tp_error *error) TP_MUST;
/* Roles ask for a code now, which they did not at the login: takes mfa_never out of the profile and its file, if it is there.
 * What fails then only costs a refused connection the next time. */
void profile_note_mfa(struct profile *profile);
/* Removes what identity files have left there (identity_file.h). Takes the lock of home. */
enum tp_err profile_remove_identities(const char *home, struct tp_error *error) TP_MUST;
/* Removes the profile of that proxy with its keys. Takes the lock of home. */
enum tp_err profile_remove(const char *home, const char *host, struct tp_error *error) TP_MUST;
/* Proxy names of all profiles, sorted; ends with NULL. Free each and the array. */
char **profile_list(const char *home, size_t *ret_count) TP_MUST;
/* The current proxy's name, or NULL. mem_free it. */
char *profile_current(const char *home) TP_MUST;

#endif
