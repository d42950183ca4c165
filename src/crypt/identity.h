/*
 * Who a certificate is for. In X.509 it travels as JSON in one extension of our own (never critical);
 * in SSH certificates as the extension tport-identity@tport with the same JSON.
 */
#ifndef CRYPT_IDENTITY_H
#define CRYPT_IDENTITY_H

#include "base/json.h"

enum identity_kind { IDENTITY_USER, IDENTITY_HOST };

/* Why a certificate of a user is for one target. */
enum one_target_reason {
    TARGET_ANY,     /* it is for none: it opens what its owner may open */
    TARGET_BY_CODE, /* a one-time code was given for this target */
    TARGET_OF_FILE, /* it stands in a kubeconfig that was downloaded for this cluster */
    TARGET_REASON_COUNT
};

/* The only thing that a certificate opens. Either all of it is empty, or one of node and kube is there. */
struct one_target {
    enum one_target_reason reason;
    char *node; /* host id, or NULL */
    char *kube; /* name of a Kubernetes cluster, or NULL */
};

struct one_target one_target_copy(const struct one_target *target) TP_MUST;
void one_target_free(struct one_target *target); /* what it holds, not the struct */

struct identity {
    enum identity_kind kind;
    char *cluster;
    char *name;               /* user name, or host name of a host */
    char *host_id;            /* hosts: UUID; NULL for users */
    char *host_role;          /* hosts: "node" (every agent) or "proxy"; NULL for users */
    json_t *roles;            /* users: array of strings; hosts: what they joined as (["Node", "Kube"]), or NULL */
    json_t *traits;           /* users: object of string arrays; else NULL */
    json_t *logins;           /* users: array of strings; else NULL */
    char *login_ip;           /* users: address at login, may be NULL */
    char *pinned_ip;          /* users: the only address that may use it, or NULL */
    char *login_device;       /* users: UUID of the device of the login's code, or NULL; in X.509 beside the JSON */
    struct one_target target; /* users: what it is for, and nothing else */
    /* With TARGET_BY_CODE, and only then: */
    char *mfa_device;       /* UUID of the device that made the code, or NULL */
    int64_t base_not_after; /* Unix seconds: the end of the certificate that asked for it; 0: none */
    int64_t not_before;     /* Unix seconds; from the certificate, not from the JSON */
    int64_t not_after;
};

void identity_init(struct identity *identity); /* all empty */
void identity_free(struct identity *identity); /* what it holds, not the struct */
/* Strict: unknown version, missing member or wrong type is TP_INVALID. Validity is left alone. */
enum tp_err identity_from_json(const json_t *json, struct identity *ret_identity, struct tp_error *error) TP_MUST;
json_t *identity_to_json(const struct identity *identity) TP_MUST;

#endif
