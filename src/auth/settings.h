/* Settings: the configuration file, and over it the resources that people put. */
#ifndef AUTH_SETTINGS_H
#define AUTH_SETTINGS_H

#include "base/err.h"
#include "base/json.h"
#include "rbac/rbac.h"

struct auth;

/* How long and how much is kept; 0: no bound. */
struct keep_rules {
    int64_t events_max_age_ms;
    uint64_t events_max_bytes;
    int64_t recordings_max_age_ms;
    uint64_t recordings_max_bytes;
    int64_t min_age_ms; /* what is younger does not go because of max_bytes */
};

/* Settings: the configuration file, and over it the resources that people put. */
struct settings {
    char *cluster;
    char *data_dir;
    char *version;
    char *public_addr; /* the first one, "" when none is set */
    json_t *conf;      /* the "auth" object of the configuration event */
    uid_t admin_uid;   /* may use the admin socket besides root and us; (uid_t)-1: nobody */
    int64_t default_session_ttl_ms;
    int64_t web_idle_ms;      /* web sessions that nobody used for so long are over; 0: never */
    bool record;              /* false: session_recording is off */
    bool announce_watchers;   /* who is watched is told so */
    char *message_of_the_day; /* or NULL */
    struct rbac_cluster cluster_options;
    struct keep_rules keep;
};

/* Reads a configuration event; on failure settings stay as they were. */
enum tp_err settings_read(struct settings *settings, const json_t *config, struct tp_error *error) TP_MUST;
/* Puts stored resources (cluster_auth_preference ...) over the file's values. */
void settings_apply(struct auth *auth);
void settings_free(struct settings *settings);

#endif
