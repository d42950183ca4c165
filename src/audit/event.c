#include "audit/event.h"

#include "base/clock.h"
#include "crypt/key.h"

#include <string.h>

struct row {
    const char *name;
    const char *good;
    const char *bad; /* NULL: the same */
};

static const struct row rows[] = {
    {"user.login", "T1000I", "T1000W"},
    {"user.create", "T1002I", NULL},
    {"user.update", "T1003I", NULL},
    {"user.delete", "T1004I", NULL},
    {"user.password_change", "T1005I", NULL},
    {"mfa.add", "T1006I", NULL},
    {"mfa.delete", "T1007I", NULL},
    {"mfa_auth_challenge.validate", "T1016I", "T1016W"},
    {"recovery_code.generated", "T1008I", NULL},
    {"recovery_code.used", "T1009I", "T1009W"},
    {"session.rejected", "T1006W", NULL},
    {"session.start", "T2000I", NULL},
    {"session.join", "T2001I", NULL},
    {"resize", "T2002I", NULL},
    {"session.leave", "T2003I", NULL},
    {"session.end", "T2004I", NULL},
    {"session.upload", "T2005I", NULL},
    {"session.data", "T2006I", NULL},
    {"app.session.start", "T2007I", "T2007E"},
    {"app.session.chunk", "T2008I", NULL},
    {"app.session.request", "T2009I", NULL},
    {"app.session.end", "T2011I", NULL},
    {"session.connect", "T2010I", NULL},
    {"session.recording.access", "T2012I", NULL},
    {"subsystem", "T3001I", "T3001E"},
    {"exec", "T3002I", "T3002E"},
    {"port", "T3003I", "T3003E"},
    {"scp.download", "T3004I", "T3004E"},
    {"scp.upload", "T3005I", "T3005E"},
    {"scp.disallowed", "T3010E", NULL},
    {"client.disconnect", "T3006I", NULL},
    {"auth", "T3007W", NULL},
    {"x11-forward", "T3008I", "T3008W"},
    {"kube.request", "T3009I", NULL},
    {"kube.create", "T3010I", NULL},
    {"kube.update", "T3011I", NULL},
    {"kube.delete", "T3012I", NULL},
    {"sftp", "TS001I", "TS001E"},
    {"session.command", "T4000I", NULL},
    {"session.disk", "T4001I", NULL},
    {"session.network", "T4002I", NULL},
    {"access_request.create", "T5000I", NULL},
    {"access_request.update", "T5001I", NULL},
    {"access_request.review", "T5002I", NULL},
    {"access_request.delete", "T5003I", NULL},
    {"access_request.search", "T5005I", NULL},
    {"reset_password_token.create", "T6000I", NULL},
    {"recovery_token.create", "T6001I", NULL},
    {"privilege_token.create", "T6002I", NULL},
    {"trusted_cluster.create", "T7000I", NULL},
    {"trusted_cluster.delete", "T7001I", NULL},
    {"trusted_cluster_token.create", "T7002I", NULL},
    {"join_token.create", "TJT00I", NULL},
    {"github.created", "T8000I", NULL},
    {"github.deleted", "T8001I", NULL},
    {"github.updated", "T80002I", NULL},
    {"oidc.created", "T8100I", NULL},
    {"oidc.deleted", "T8101I", NULL},
    {"oidc.updated", "T8102I", NULL},
    {"saml.created", "T8200I", NULL},
    {"saml.deleted", "T8201I", NULL},
    {"saml.updated", "T8202I", NULL},
    {"role.created", "T9000I", NULL},
    {"role.deleted", "T9001I", NULL},
    {"role.updated", "T9002I", NULL},
    {"bot.join", "TJ001I", "TJ001E"},
    {"instance.join", "TJ002I", "TJ002E"},
    {"lock.created", "TLK00I", NULL},
    {"lock.deleted", "TLK01I", NULL},
    {"cert.create", "TC000I", NULL},
    {"cert.generation_mismatch", "TCB00W", NULL},
    {"app.create", "TAP03I", NULL},
    {"app.update", "TAP04I", NULL},
    {"app.delete", "TAP05I", NULL},
    {"db.create", "TDB03I", NULL},
    {"db.update", "TDB04I", NULL},
    {"db.delete", "TDB05I", NULL},
    {"db.session.start", "TDB00I", "TDB00W"},
    {"db.session.end", "TDB01I", NULL},
    {"db.session.query", "TDB02I", NULL},
    {"auth_preference.update", "TCAUTH001I", NULL},
    {"cluster_networking_config.update", "TCNET002I", NULL},
    {"session_recording_config.update", "TCREC003I", NULL},
    /* Ours: Teleport has no events for these. */
    {"join_token.delete", "TJT01I", NULL},
    {"mfa.rename", "TMF01I", NULL},
    {"user.logout", "TUL01I", NULL},
    {"node.created", "TND02I", NULL},
    {"node.updated", "TND03I", NULL},
    {"node.deleted", "TND01I", NULL},
    {"kube_server.deleted", "TKS01I", NULL},
    {"host.reports_held", "THR01W", NULL},
    {"cert_authority.rotate", "TRT01I", NULL},
    {"audit.prune", "TAR001I", NULL},
    {"session.recording.prune", "TAR002I", NULL},
    {"audit.disk_low", "TAR003E", NULL},
};

static const struct row *find(const char *name)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

const char *event_code(const char *name, bool success)
{
    const struct row *row = find(name);
    if (!row)
        return "TCC00E";
    return success || !row->bad ? row->good : row->bad;
}

bool event_known(const char *name)
{
    return find(name) != NULL;
}

const char *event_name_at(size_t index)
{
    return index < sizeof(rows) / sizeof(rows[0]) ? rows[index].name : NULL;
}

json_t *event_new(const char *name, bool success, const char *cluster)
{
    json_t *event = json_object();
    char uuid[UUID_TEXT_SIZE], now[CLOCK_TEXT_SIZE];
    crypt_uuid(uuid);
    clock_format_ms(clock_wall_ms(), now);
    (void)json_object_set_new(event, "event", json_string(name));
    (void)json_object_set_new(event, "code", json_string(event_code(name, success)));
    (void)json_object_set_new(event, "uid", json_string(uuid));
    (void)json_object_set_new(event, "time", json_string(now));
    (void)json_object_set_new(event, "ei", json_integer(0));
    if (cluster)
        (void)json_object_set_new(event, "cluster_name", json_string(cluster));
    return event;
}
