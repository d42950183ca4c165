#include "rbac/resource.h"

#include "base/mem.h"
#include "rbac/lock.h"
#include "rbac/names.h"
#include "rbac/resource_private.h"
#include "rbac/role.h"
#include "rbac/token.h"
#include "rbac/user.h"

#include <string.h>

const char *const resource_kinds[] = {"role",
                                      "user",
                                      "token",
                                      "lock",
                                      "github",
                                      "oidc",
                                      "saml",
                                      "trusted_cluster",
                                      "kube_cluster",
                                      "app",
                                      "db",
                                      "node",
                                      "cluster_auth_preference",
                                      "cluster_networking_config",
                                      "session_recording_config",
                                      NULL};

/* Kinds that are there without anybody writing them. */
static const struct {
    const char *kind;
    const char *why;
} registered[] = {
    {"kube_server", "an agent registers the clusters that it serves, see `tportctl tokens add --type=kube`"},
    {"cert_authority", "`tportctl auth rotate` makes new keys"},
};

bool resource_writable(const char *kind)
{
    for (size_t i = 0; i < sizeof registered / sizeof *registered; i++)
        if (strcmp(registered[i].kind, kind) == 0)
            return false;
    return true;
}

static const char *const v2[] = {"v2", NULL};
static const char *const v3[] = {"v3", NULL};
static const char *const v2_v3[] = {"v2", "v3", NULL};

static const struct {
    const char *kind;
    const char *const *versions;
    const struct schema *spec;
    bool single;  /* one of a kind */
    bool slashes; /* names may hold "/", as ARNs do */
    bool unnamed; /* needs no name: there is one, or one is made */
} kinds[] = {{"github", v3, resource_github, false, false, false},
             {"oidc", v2_v3, resource_oidc, false, false, false},
             {"saml", v2, resource_saml, false, false, false},
             {"trusted_cluster", v2, resource_trusted_cluster, false, false, false},
             {"kube_cluster", v3, resource_kube_cluster, false, true, false},
             {"app", v3, resource_app, false, true, false},
             {"db", v3, resource_db, false, true, false},
             {"node", v2, resource_openssh, false, false, true},
             {"cluster_auth_preference", v2, resource_auth_preference, true, false, true},
             {"cluster_networking_config", v2, resource_networking, true, false, true},
             {"session_recording_config", v2, resource_recording, true, false, true}};

bool resource_single(const char *kind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].single;
    return false;
}

static enum tp_err check_role(const struct node *document, struct tp_error *error)
{
    struct role *role = NULL;
    enum tp_err err = role_parse(document, ROLE_WRITTEN, &role, error);
    role_unref(role);
    return err;
}

static enum tp_err check_user(const struct node *document, struct tp_error *error)
{
    struct user *user = NULL;
    enum tp_err err = user_parse(document, &user, error);
    user_free(user);
    return err;
}

static enum tp_err check_token(const struct node *document, struct tp_error *error)
{
    struct token *token = NULL;
    enum tp_err err = token_parse(document, &token, error);
    if (err == TP_OK && token_name_masked(token->name))
        err = err_set(error, TP_INVALID,
                      "line %d: \"%.80s\" is how lists show a token, its secret is kept nowhere; make a new one with "
                      "`tportctl tokens add`",
                      node_get(node_get(document, "metadata"), "name")->line, token->name);
    token_free(token);
    return err;
}

static enum tp_err check_lock(const struct node *document, struct tp_error *error)
{
    struct lock *lock = NULL;
    enum tp_err err = lock_parse(document, &lock, error);
    lock_free(lock);
    return err;
}

/* Names become parts of keys and of command lines. */
static enum tp_err check_name(const struct node *document, bool slashes, struct tp_error *error)
{
    const struct node *name = schema_get(schema_get(document, "metadata"), "name");
    if (!name)
        return TP_OK; /* the table says where one is needed */
    char *plain = mem_strdup(name->text);
    for (char *at = plain; slashes && *at; at++)
        *at = *at == '/' ? ':' : *at;
    bool good = role_name_valid(plain) && name->text[0] != '/' && !strstr(name->text, "..");
    mem_free(plain);
    return good ? TP_OK
                : err_set(error, TP_INVALID,
                          "line %d: \"%.80s\" cannot be a name: use letters, digits and . _ - @ + :", name->line,
                          name->text);
}

/* A connector that maps nobody to a role would let nobody in. */
static enum tp_err check_mapping(const struct node *document, const char *kind, struct tp_error *error)
{
    const struct node *spec = node_get(document, "spec");
    if (strcmp(kind, "github") == 0 && !schema_get(spec, "teams_to_roles") && !schema_get(spec, "teams_to_logins"))
        return err_set(error, TP_INVALID, "line %d: \"spec.teams_to_roles\" is missing", spec->line);
    return TP_OK;
}

static enum tp_err check_by_table(const struct node *document, size_t index, struct tp_error *error)
{
    const char *const kind_words[] = {kinds[index].kind, NULL};
    const struct schema metadata[] = {
        {"name", SCHEMA_TEXT, NULL, NULL, !kinds[index].unnamed},
        {"description", SCHEMA_TEXT, NULL, NULL, false},
        {"labels", SCHEMA_TEXT_MAP, NULL, NULL, false},
        {"expires", SCHEMA_TIME, NULL, NULL, false},
        {"id", SCHEMA_TEXT, NULL, NULL, false},
        {"revision", SCHEMA_TEXT, NULL, NULL, false},
        {"namespace", SCHEMA_TEXT, NULL, NULL, false},
        {0},
    };
    const struct schema table[] = {
        {"kind", SCHEMA_WORD, NULL, kind_words, true},
        {"version", SCHEMA_WORD, NULL, kinds[index].versions, true},
        {"sub_kind", SCHEMA_TEXT, NULL, NULL, false},
        {"metadata", SCHEMA_MAP, metadata, NULL, !kinds[index].unnamed},
        {"spec", SCHEMA_MAP, kinds[index].spec, NULL, true},
        {"status", SCHEMA_ANY, NULL, NULL, false},
        {0},
    };
    enum tp_err err = schema_check(document, table, "", error);
    if (err == TP_OK && !kinds[index].single)
        err = check_name(document, kinds[index].slashes, error);
    if (err == TP_OK && kinds[index].spec == resource_openssh)
        err = openssh_check(document, error);
    return err == TP_OK ? check_mapping(document, kinds[index].kind, error) : err;
}

enum tp_err resource_check(const struct node *document, struct tp_error *error)
{
    static const struct {
        const char *kind;
        enum tp_err (*check)(const struct node *document, struct tp_error *error);
    } parsers[] = {{"role", check_role}, {"user", check_user}, {"token", check_token}, {"lock", check_lock}};
    const struct node *kind = document->kind == NODE_MAP ? schema_get(document, "kind") : NULL;
    if (document->kind != NODE_MAP)
        return err_set(error, TP_INVALID, "line %d: a resource is a map of kind, version, metadata and spec",
                       document->line);
    if (!kind || kind->kind != NODE_SCALAR)
        return err_set(error, TP_INVALID, "line %d: \"kind\" is missing, for example kind: role", document->line);
    for (size_t i = 0; i < sizeof parsers / sizeof *parsers; i++)
        if (strcmp(parsers[i].kind, kind->text) == 0)
            return parsers[i].check(document, error);
    enum tp_err err = strcmp(kind->text, "node") == 0 ? openssh_check_kind(document, error) : TP_OK;
    if (err != TP_OK)
        return err;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, kind->text) == 0)
            return check_by_table(document, i, error);
    const char *meant = names_nearest(resource_kinds, kind->text);
    for (size_t i = 0; i < sizeof registered / sizeof *registered; i++)
        if (strcmp(registered[i].kind, kind->text) == 0)
            return err_set(error, TP_INVALID, "line %d: resources of kind \"%s\" can't be written here: %s", kind->line,
                           kind->text, registered[i].why);
    return err_set(error, TP_INVALID, "line %d: resources of kind \"%.80s\" can't be written here%s%s%s", kind->line,
                   kind->text, meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
}

enum tp_err resource_check_json(const json_t *document, struct tp_error *error)
{
    struct node *node = NULL;
    enum tp_err err = node_from_json(document, "resource", &node, error);
    if (err == TP_OK)
        err = resource_check(node, error);
    if (err != TP_OK)
        schema_forget_line(error);
    node_free(node);
    return err;
}
