#include "rbac/token.h"

#include "base/mem.h"
#include "rbac/schema.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    unsigned role;
} roles[] = {{"Node", TOKEN_NODE},
             {"Kube", TOKEN_KUBE},
             {"App", TOKEN_APP},
             {"Db", TOKEN_DB},
             {"Proxy", TOKEN_PROXY},
             {"Bot", TOKEN_BOT},
             {"WindowsDesktop", TOKEN_WINDOWS_DESKTOP},
             {"Discovery", TOKEN_DISCOVERY}};

static const char *const kinds[] = {"token", NULL};
static const char *const versions[] = {"v1", "v2", NULL};
static const char *const methods[] = {
    "token",     "ec2",    "iam",          "github",        "circleci", "kubernetes",
    "azure",     "gitlab", "gcp",          "spacelift",     "tpm",      "terraform_cloud",
    "bitbucket", "oracle", "azure_devops", "bound_keypair", "",         NULL};

static const struct schema metadata_schema[] = {
    {"name", SCHEMA_TEXT, NULL, NULL, true},        {"description", SCHEMA_TEXT, NULL, NULL, false},
    {"labels", SCHEMA_TEXT_MAP, NULL, NULL, false}, {"expires", SCHEMA_TIME, NULL, NULL, false},
    {"id", SCHEMA_TEXT, NULL, NULL, false},         {"revision", SCHEMA_TEXT, NULL, NULL, false},
    {"namespace", SCHEMA_TEXT, NULL, NULL, false},  {0},
};
static const struct schema spec_schema[] = {
    {"roles", SCHEMA_TEXTS, NULL, NULL, true},
    {"join_method", SCHEMA_WORD, NULL, methods, false},
    {"allow", SCHEMA_ANY, NULL, NULL, false},
    {"aws_iid_ttl", SCHEMA_DURATION, NULL, NULL, false},
    {"bot_name", SCHEMA_TEXT, NULL, NULL, false},
    {"suggested_labels", SCHEMA_LABELS, NULL, NULL, false},
    {"suggested_agent_matcher_labels", SCHEMA_LABELS, NULL, NULL, false},
    {"kubernetes", SCHEMA_ANY, NULL, NULL, false},
    {"github", SCHEMA_ANY, NULL, NULL, false},
    {"gitlab", SCHEMA_ANY, NULL, NULL, false},
    {"circleci", SCHEMA_ANY, NULL, NULL, false},
    {"azure", SCHEMA_ANY, NULL, NULL, false},
    {"gcp", SCHEMA_ANY, NULL, NULL, false},
    {"spacelift", SCHEMA_ANY, NULL, NULL, false},
    {"tpm", SCHEMA_ANY, NULL, NULL, false},
    {"terraform_cloud", SCHEMA_ANY, NULL, NULL, false},
    {"bitbucket", SCHEMA_ANY, NULL, NULL, false},
    {"oracle", SCHEMA_ANY, NULL, NULL, false},
    {"azure_devops", SCHEMA_ANY, NULL, NULL, false},
    {"bound_keypair", SCHEMA_ANY, NULL, NULL, false},
    {0},
};
static const struct schema token_schema[] = {
    {"kind", SCHEMA_WORD, NULL, kinds, true},
    {"version", SCHEMA_WORD, NULL, versions, true},
    {"sub_kind", SCHEMA_TEXT, NULL, NULL, false},
    {"metadata", SCHEMA_MAP, metadata_schema, NULL, true},
    {"spec", SCHEMA_MAP, spec_schema, NULL, true},
    {"status", SCHEMA_ANY, NULL, NULL, false},
    {0},
};

unsigned token_role(const char *name)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcasecmp(roles[i].name, name) == 0)
            return roles[i].role;
    return strcasecmp(name, "windows_desktop") == 0 ? TOKEN_WINDOWS_DESKTOP : 0;
}

bool token_name_masked(const char *name)
{
    size_t length = strlen(name);
    size_t mask = strlen(TOKEN_MASK);
    return length >= mask && strcmp(name + length - mask, TOKEN_MASK) == 0;
}

const char *token_role_name(unsigned role)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (roles[i].role == role)
            return roles[i].name;
    return NULL;
}

static json_t *read_labels(const struct node *map)
{
    json_t *labels = json_object();
    for (size_t i = 0; map && i < map->count; i++) {
        const struct node *value = map->items[i];
        json_t *list = json_array();
        if (value->kind == NODE_SCALAR)
            json_array_append_new(list, json_string(value->text));
        for (size_t j = 0; j < value->count; j++)
            json_array_append_new(list, json_string(value->items[j]->text));
        json_object_set_new(labels, map->keys[i], list);
    }
    return labels;
}

static enum tp_err read_roles(const struct node *list, unsigned *ret_roles, struct tp_error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        unsigned role = token_role(list->items[i]->text);
        if (role == 0)
            return err_set(error, TP_INVALID,
                           "line %d: \"%.40s\" is not a role of a token; use node, kube, app, db, proxy or bot",
                           list->items[i]->line, list->items[i]->text);
        *ret_roles |= role;
    }
    return *ret_roles ? TP_OK : err_set(error, TP_INVALID, "line %d: a token needs at least one role", list->line);
}

enum tp_err token_parse(const struct node *document, struct token **ret_token, struct tp_error *error)
{
    const struct node *spec;
    const char *name;
    const char *method;
    unsigned bits = 0;
    enum tp_err result = schema_check(document, token_schema, "", error);
    if (result)
        return result;
    spec = schema_get(document, "spec");
    name = node_get_text(node_get(document, "metadata"), "name", "");
    method = node_get_text(spec, "join_method", "");
    result = read_roles(schema_get(spec, "roles"), &bits, error);
    if (result)
        return result;
    /* With this method whoever knows the name may join: a short one could be guessed. */
    if ((!*method || strcmp(method, "token") == 0) && strlen(name) < 16)
        return err_set(error, TP_INVALID,
                       "line %d: the name of a token is its secret; it must have at least 16 characters",
                       node_get(document, "metadata")->line);
    *ret_token = mem_alloc(sizeof **ret_token);
    (*ret_token)->name = mem_strdup(name);
    (*ret_token)->expires_ms = schema_time(node_get(document, "metadata"), "expires");
    (*ret_token)->roles = bits;
    (*ret_token)->join_method = mem_strdup(*method ? method : "token");
    (*ret_token)->labels = read_labels(schema_get(spec, "suggested_labels"));
    return TP_OK;
}

enum tp_err token_parse_json(const json_t *value, struct token **ret_token, struct tp_error *error)
{
    struct node *document = NULL;
    enum tp_err result = node_from_json(value, "token", &document, error);
    if (!result)
        result = token_parse(document, ret_token, error);
    node_free(document);
    return result;
}

void token_free(struct token *token)
{
    if (!token)
        return;
    secret_free(token->name);
    mem_free(token->join_method);
    json_decref(token->labels);
    mem_free(token);
}
