/* What tests of Kubernetes in auth share: roles, hosts with clusters, grants. */
#ifndef TEST_AUTH_KUBE_HELP_H
#define TEST_AUTH_KUBE_HELP_H

#include "auth/caller.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"
#include "auth_help.h"

static inline char *make_token(struct fixture *fixture, json_t *roles)
{
    json_t *made = must(fixture, as_local(), "tokens.add", json_pack("{s:o}", "roles", roles));
    char *token = mem_strdup(json_get_text(made, "token", ""));
    json_decref(made);
    return token;
}

static inline json_t *join_as(const char *token, const char *id, const char *name, const char *role,
                              const struct keys *keys)
{
    json_t *params = join_params(token, id, name, keys);
    json_object_set_new(params, "role", json_string(role));
    return params;
}

static inline void join(struct fixture *fixture, const char *id, const char *name, const char *role)
{
    struct keys keys = keys_make();
    char *token = make_token(fixture, json_pack("[s, s]", "Node", "kube"));
    json_decref(must(fixture, as_nobody("10.8.8.8"), "host.join", join_as(token, id, name, role, &keys)));
    mem_free(token);
    keys_free(&keys);
}

/* clusters is stolen. */
static inline json_t *beat(const char *name, const char *service, json_t *clusters)
{
    return json_pack("{s:s, s:[s], s:o}", "hostname", name, "services", service, "kube_clusters", clusters);
}

static inline json_t *cluster(const char *name, const char *env)
{
    return json_pack("{s:s, s:{s:s}, s:{}}", "name", name, "labels", "env", env, "cmd_labels");
}

static inline size_t count_items(struct fixture *fixture, const char *kind)
{
    json_t *got = must(fixture, as_local(), "resources.get", json_pack("{s:s}", "kind", kind));
    size_t count = json_array_size(json_object_get(got, "items"));
    json_decref(got);
    return count;
}

static inline void put_role(struct fixture *fixture, const char *name, json_t *allow, json_t *deny, json_t *options)
{
    json_t *spec = json_pack("{s:o, s:o}", "allow", allow, "deny", deny != NULL ? deny : json_object());
    if (options != NULL) {
        json_object_set_new(spec, "options", options);
    }
    json_t *role =
        json_pack("{s:s, s:s, s:{s:s}, s:o}", "kind", "role", "version", "v5", "metadata", "name", name, "spec", spec);
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o, s:b}", "resource", role, "force", 1)));
}

/* Allows clusters with this label, as this group. */
static inline json_t *allows(const char *env, const char *group)
{
    return json_pack("{s:{s:s}, s:[s]}", "kubernetes_labels", "env", env, "kubernetes_groups", group);
}

static inline void up(struct fixture *fixture, const char *id, const char *name, int worker)
{
    struct caller host = as_host(id, name);
    host.worker = worker;
    json_decref(must(fixture, host, "tunnel.up", json_pack("{s:i}", "tunnel", 5)));
}

static inline void serve(struct fixture *fixture, const char *id, const char *host, json_t *clusters)
{
    join(fixture, id, host, "kube");
    json_decref(must(fixture, as_host(id, host), "host.heartbeat", beat(host, "kube", clusters)));
}

static inline json_t *target(const char *name)
{
    char label[KUBE_LABEL_SIZE];
    kube_label(name, label);
    return json_pack("{s:s, s:i}", "target", label, "worker", 1);
}

static inline json_t *open_grant(struct fixture *fixture, const json_t *result, const char *host_id)
{
    struct tp_error error = {0};
    struct buf bytes;
    uint8_t key[1][32];
    json_t *grant = NULL;
    const char *text = json_get_text(result, "grant", "");
    buf_init(&bytes, 65536);
    assert_int_equal(dec_base64(text, strlen(text), &bytes), TP_OK);
    assert_int_equal(key_ed25519_public(fixture->auth->grant_key, key[0]), TP_OK);
    assert_int_equal(grant_open(buf_head(&bytes), buf_size(&bytes), (const uint8_t(*)[32])key, 1, host_id, "kube",
                                clock_wall(), &grant, &error),
                     TP_OK);
    buf_free(&bytes);
    return grant;
}

static inline bool is_cut(struct fixture *fixture, const char *sid)
{
    const struct live *live = map_get(fixture->auth->live, sid);
    assert_non_null(live);
    return live->cut;
}

static inline char *connect_sid(struct fixture *fixture, const char *user)
{
    json_t *result = must(fixture, as_user(fixture, user), "kube.connect", target("c"));
    char *sid = mem_strdup(json_get_text(result, "sid", ""));
    json_decref(result);
    return sid;
}

#endif
