#include "auth/ca.h"
#include "auth/inner.h"

#include <string.h>

/* A preset role as JSON with the label that marks it. */
static json_t *preset_json(const char *name, struct tp_error *error)
{
    const char *yaml = rbac_preset_yaml(name);
    struct node *node = NULL;
    if (node_parse_one(yaml, strlen(yaml), name, &node, error) != TP_OK) {
        return NULL;
    }
    json_t *json = node_to_json(node);
    node_free(node);
    json_t *metadata = json_object_get(json, "metadata");
    json_t *labels = json_object_get(metadata, "labels");
    if (labels == NULL) {
        labels = json_object();
        json_object_set_new(metadata, "labels", labels);
    }
    json_object_set_new(labels, "teleport.internal/resource-type", json_string("preset"));
    return json;
}

/* Presets are made once; what an administrator removes later stays removed. */
static enum tp_err presets_make(struct auth *auth, struct tp_error *error)
{
    for (size_t i = 0; rbac_presets[i] != NULL; i++) {
        json_t *role = preset_json(rbac_presets[i], error);
        if (role == NULL) {
            return error->code;
        }
        enum tp_err err = doc_put(auth->state, "/role/", rbac_presets[i], role, STORE_ABSENT, NULL, error);
        json_decref(role);
        if (err != TP_OK && err != TP_EXISTS) {
            return err;
        }
    }
    return TP_OK;
}

enum tp_err bootstrap_run(struct auth *auth, struct tp_error *error)
{
    json_t *cluster = NULL;
    enum tp_err err = doc_get(auth->state, "/cluster", &cluster, NULL, error);
    if (err == TP_OK) {
        const char *name = json_get_text(cluster, "name", "");
        if (strcmp(name, auth->settings.cluster) != 0) {
            err = err_set(error, TP_INVALID,
                          "this cluster is called \"%s\" since its first start and every certificate "
                          "names it; put auth_service.cluster_name back to \"%s\", or begin with an empty data_dir",
                          name, name);
        }
        json_decref(cluster);
        return err;
    }
    if (err != TP_NOT_FOUND) {
        return err;
    }
    err = presets_make(auth, error);
    if (err != TP_OK) {
        return err;
    }
    char id[UUID_TEXT_SIZE];
    crypt_uuid(id);
    cluster =
        json_pack("{s:s, s:s, s:o}", "name", auth->settings.cluster, "id", id, "created", doc_time(clock_wall_ms()));
    err = doc_put(auth->state, "/cluster", "", cluster, STORE_ABSENT, NULL, error);
    json_decref(cluster);
    if (err == TP_OK) {
        log_info("cluster created", "name=\"%s\"", auth->settings.cluster);
    }
    return err;
}

static bool load_role(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct auth *auth = ctx;
    struct role *role = NULL;
    struct tp_error error = {0};
    (void)revision;
    if (role_parse_json(doc, ROLE_STORED, &role, &error) != TP_OK) {
        log_error("stored role is not usable and grants nothing", "role=\"%s\" error=\"%s\"", name, error.text);
        return true;
    }
    role_unref(map_set(auth->roles, name, role));
    return true;
}

static bool load_lock(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct auth *auth = ctx;
    struct lock *lock = NULL;
    struct tp_error error = {0};
    (void)revision;
    if (lock_parse_json(doc, &lock, &error) != TP_OK) {
        log_error("stored lock is not usable", "lock=\"%s\" error=\"%s\"", name, error.text);
        return true;
    }
    lock_free(map_set(auth->locks, name, lock));
    return true;
}

enum tp_err bootstrap_load(struct auth *auth, struct tp_error *error)
{
    enum tp_err err = doc_each(auth->state, "/role/", NULL, load_role, auth, error);
    if (err == TP_OK) {
        err = doc_each(auth->state, "/lock/", NULL, load_lock, auth, error);
    }
    return err;
}
