/*
 * The configuration file tport.conf (YAML, the sections and keys of Teleport's teleport.yaml). One table
 * (conf_table.c) has a row for each key; it drives reading, defaults, messages, the JSON form and the manual page.
 * A struct conf does not change once it is read.
 */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include "base/err.h"

#include <jansson.h>
#include <sys/socket.h>

#define CONF_DEFAULT_FILE "/etc/tport/tport.conf"
#define CONF_ERRORS_MAX 100

/* Who reads a key; conf_to_json picks by it. Master has the whole struct. */
#define CONF_AUTH 1u
#define CONF_WORKER 2u
#define CONF_AGENT 4u

struct conf_list {
    char **items;
    size_t count;
};

struct conf_label {
    char *name;
    char *value;
};

struct conf_labels {
    struct conf_label *items;
    size_t count;
};

/* A label whose value a command prints. */
struct conf_command {
    char *name;
    struct conf_list command; /* program and arguments, never a shell line */
    int64_t period;           /* ms, at least 1000 */
};

struct conf_commands {
    struct conf_command *items;
    size_t count;
};

struct conf_keypair {
    char *key_file;
    char *cert_file;
};

struct conf_keypairs {
    struct conf_keypair *items;
    size_t count;
};

struct conf {
    char *file;       /* as given to conf_parse */
    bool is_teleport; /* the file says teleport: and not tport:, so Teleport's defaults hold */
    char *version;    /* "v1" to "v3" */

    /* tport. Texts are never NULL: "" when the file says nothing and there is no default. */
    char *nodename;
    char *data_dir;
    char *pid_file;
    char *auth_token;  /* the token, or the absolute path of a file that holds it: conf_token reads it */
    char *join_method; /* "token" */
    char *join_token;  /* join_params.token_name; the same meaning as auth_token */
    struct conf_list
        ca_pin;         /* "sha256:hex", or absolute paths of files that hold one a line: conf_ca_pins reads them */
    char *proxy_server; /* host:port */
    struct conf_list auth_servers;
    char *log_output;   /* "stderr", "stdout" or a path */
    char *log_severity; /* for log_level_parse */
    char *log_format;   /* "text" or "json" */
    int64_t workers;    /* processes that serve connections; default: the number of processors */
    char *auth_user;
    char *worker_user;
    char *session_user;
    char *agent_user;

    /* auth_service */
    bool auth_enabled;
    char *cluster_name;
    char *secrets_key_file;  /* an absolute path, or "": one in data_dir */
    struct conf_list tokens; /* "node:VALUE": roles, colon, value or absolute path */
    char *auth_type;         /* "local" */
    bool local_auth;
    char *second_factor;         /* "off", "otp", "on", "optional" */
    int64_t default_session_ttl; /* ms */
    char *locking_mode;          /* "best_effort" or "strict" */
    char *session_recording;     /* "node", "node-sync", "off" */
    int64_t events_max_age;      /* ms; these four: 0: no bound */
    int64_t events_max_size;     /* bytes */
    int64_t recordings_max_age;  /* ms */
    int64_t recordings_max_size; /* bytes */
    int64_t retention_min_age;   /* ms: what is younger does not go because of a size */
    int64_t client_idle_timeout; /* ms, 0: never */
    int64_t web_idle_timeout;    /* ms */
    bool announce_watchers;
    bool disconnect_expired_cert;
    bool require_session_mfa;
    int64_t keep_alive_interval; /* ms */
    int64_t keep_alive_count_max;
    char *message_of_the_day;

    /* proxy_service */
    bool proxy_enabled;
    char *web_listen_addr;
    struct conf_list public_addr; /* host or host:port; the first one stands in links */
    struct conf_keypairs https_keypairs;
    char *proxy_protocol;                    /* "on", "off", or "" (on exactly when there are trusted ranges) */
    struct conf_list proxy_protocol_trusted; /* CIDR ranges, for conf_cidr_has */

    /* ssh_service */
    bool ssh_enabled;
    struct conf_labels labels;
    struct conf_commands commands;
    bool permit_user_env;
    bool pam_enabled;
    char *pam_service_name;
    bool port_forwarding;
    bool ssh_file_copy;

    /* kubernetes_service. At most one of kubeconfig_file and kube_cluster_name is given; neither means the cluster that
     * this process runs in, under the name of tport's cluster. */
    bool kube_enabled;
    char *kubeconfig_file;   /* an absolute path; each of its contexts is a cluster */
    char *kube_cluster_name; /* of the cluster that this process runs in */
    struct conf_labels kube_labels;
    struct conf_commands kube_commands;
};

/* Sentences for people, each "FILE:LINE: ...". Zero-initialise it; conf_report_free frees it. */
struct conf_report {
    struct conf_list errors;
    struct conf_list warnings; /* keys that have no effect; nothing to stop for */
};

/* Reads a configuration text. All errors are collected (up to CONF_ERRORS_MAX), not only the first; error gets the
 * first one. The caller conf_free's the result. report may be NULL. */
enum tp_err conf_parse(const char *text, size_t size, const char *file, struct conf **ret_conf,
                       struct conf_report *report, struct tp_error *error) TP_MUST;
/* The same for a file. */
enum tp_err conf_load(const char *path, struct conf **ret_conf, struct conf_report *report,
                      struct tp_error *error) TP_MUST;
/* NULL is fine. Wipes what is secret. */
void conf_free(struct conf *conf);
void conf_report_free(struct conf_report *report);

/* The keys that one of readers (CONF_AUTH | ...) needs, as nested objects named like the file's sections; 0: all keys
 * but the secret ones (for people). The caller json_decref's it. */
json_t *conf_to_json(const struct conf *conf, unsigned readers) TP_MUST;
/* The struct out of conf_to_json; keys that were not sent have their defaults. */
enum tp_err conf_from_json(const json_t *object, struct conf **ret_conf, struct tp_error *error) TP_MUST;

/* Names the keys ("proxy_service.web_listen_addr") that differ and take effect at a start only, not at a reload. The
 * caller frees the items and the array with mem_free. */
struct conf_list conf_needs_restart(const struct conf *old, const struct conf *fresh) TP_MUST;

/* The join token (auth_token or join_params.token_name), read from its file when it is a path. TP_NOT_FOUND when there
 * is none. The caller secret_free's it. */
enum tp_err conf_token(const struct conf *conf, char **ret_token, struct tp_error *error) TP_MUST;
/* The pins, those in files too, each checked to be "sha256:" and 64 hex digits. Free items and array with mem_free. */
enum tp_err conf_ca_pins(const struct conf *conf, struct conf_list *ret_pins, struct tp_error *error) TP_MUST;

/* Splits "host:port", "[v6]:port", "host" or "v6" (port then is otherwise_port). The caller mem_free's ret_host.
 * TP_INVALID for anything else, and for a port alone. */
enum tp_err conf_addr_split(const char *text, uint16_t otherwise_port, char **ret_host, uint16_t *ret_port) TP_MUST;
/* "10.0.0.0/8", "::1", "192.0.2.7". */
bool conf_cidr_valid(const char *text);
/* The address (IPv4, IPv6, or IPv4 mapped into IPv6) lies in the range. */
bool conf_cidr_has(const char *text, const struct sockaddr *addr);
/* A label's name: letters, digits and _ . / : * - */
bool conf_label_name_valid(const char *name);
/* A Kubernetes cluster's name: letters, digits and . _ - : / @ +, a letter or digit first, at most CONF_KUBE_NAME_MAX
 * bytes. Wide enough for the contexts that cloud tools write (arn:aws:eks:..., gke_...). */
#define CONF_KUBE_NAME_MAX 200
bool conf_kube_name_valid(const char *name);
#define CONF_KUBE_CLUSTERS_MAX 256 /* of one host */

#endif
