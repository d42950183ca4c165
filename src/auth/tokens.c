/* Join tokens. A token is a secret, so the store keeps its hash as the key and a masked form for people; whoever needs
 * the value again makes a new one. */
#include "auth/ca.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/tokens.h"

#include <string.h>

#define TOKEN_TTL_MS ((int64_t)30 * 60 * 1000)

/* As long as a token must be, so that a masked resource parses like a whole one. */
char *tokens_mask(const char *secret)
{
    size_t length = strlen(secret);
    size_t shown = length >= 16 ? 4 : 0;
    return mem_printf("%.*s%s", (int)shown, secret, TOKEN_MASK);
}

json_t *tokens_role_names(unsigned roles)
{
    json_t *list = json_array();
    for (unsigned bit = 1; bit != 0 && bit <= roles; bit <<= 1) {
        const char *name = (roles & bit) != 0 ? token_role_name(bit) : NULL;
        if (name != NULL) {
            json_array_append_new(list, json_string(name));
        }
    }
    return list;
}

enum tp_err tokens_put(struct auth *auth, const json_t *resource, uint64_t expected, bool *ret_created,
                       struct tp_error *error)
{
    struct token *token = NULL;
    enum tp_err err = token_parse_json(resource, &token, error);
    if (err != TP_OK) {
        return err;
    }
    if (strlen(token->name) < 16) {
        err = err_set(error, TP_INVALID,
                      "a token needs at least 16 characters, else it can be guessed; leave it out and "
                      "one is made");
    } else if (token_name_masked(token->name)) {
        err = err_set(
            error, TP_INVALID,
            "\"%.80s\" is how lists show a token, its secret is kept nowhere; leave the value out and one is made",
            token->name);
    } else if (token->roles == 0) {
        err = err_set(error, TP_INVALID, "a token needs at least one role, for example node");
    } else if (token->join_method != NULL && token->join_method[0] != '\0' &&
               strcmp(token->join_method, "token") != 0) {
        err = err_set(error, TP_INVALID, "join method \"%s\" is not supported; use \"token\"", token->join_method);
    }
    if (err != TP_OK) {
        token_free(token);
        return err;
    }
    char hash[HASH_TEXT_SIZE];
    doc_hash(token->name, hash);
    char *mask = tokens_mask(token->name);
    json_t *doc = json_deep_copy(resource);
    json_object_set_new(json_object_get(doc, "metadata"), "name", json_string(mask));
    json_t *old = NULL;
    struct tp_error none = {0};
    *ret_created = doc_find(auth->secrets, "/token/", hash, &old, NULL, &none) != TP_OK;
    json_decref(old);
    err = doc_put(auth->secrets, "/token/", hash, doc, expected, NULL, error);
    json_decref(doc);
    mem_free(mask);
    token_free(token);
    return err;
}

/* Static tokens of the configuration file: [{"value","roles":[]}] or "node,app:VALUE". */
static bool static_token(struct auth *auth, const char *secret, unsigned wanted)
{
    const json_t *list = json_object_get(auth->settings.conf, "tokens");
    size_t i;
    json_t *item;
    bool found = false;
    json_array_foreach (list, i, item) {
        const char *value = json_get_text(item, "value", NULL);
        unsigned roles = 0;
        if (json_is_string(item)) {
            const char *text = json_string_value(item);
            const char *colon = strchr(text, ':');
            value = colon != NULL ? colon + 1 : NULL;
            for (const char *p = text; colon != NULL && p < colon;) {
                size_t length = strcspn(p, ",:");
                char *name = mem_strndup(p, length);
                roles |= token_role(name);
                mem_free(name);
                p += length + 1;
            }
        }
        size_t k;
        json_t *name;
        json_array_foreach (json_object_get(item, "roles"), k, name) {
            roles |= json_is_string(name) ? token_role(json_string_value(name)) : 0;
        }
        found |= value != NULL && secret_equal_text(value, secret) && (roles & wanted) == wanted;
    }
    return found;
}

enum tp_err tokens_check(struct auth *auth, const char *secret, unsigned roles, json_t **ret_labels,
                         struct tp_error *error)
{
    *ret_labels = NULL;
    char hash[HASH_TEXT_SIZE];
    json_t *doc = NULL;
    struct token *token = NULL;
    struct tp_error ignored = {0};
    doc_hash(secret, hash);
    if (static_token(auth, secret, roles)) {
        return TP_OK;
    }
    bool good = secret[0] != '\0' && doc_find(auth->secrets, "/token/", hash, &doc, NULL, &ignored) == TP_OK;
    if (good) {
        /* What is stored has the masked name, which is too short for a token's. */
        json_object_set_new(json_object_get(doc, "metadata"), "name", json_string(secret));
    }
    good = good && token_parse_json(doc, &token, &ignored) == TP_OK &&
           (token->expires_ms == 0 || token->expires_ms > clock_wall_ms()) && (token->roles & roles) == roles;
    if (good) {
        *ret_labels = json_deep_copy(token->labels);
    }
    token_free(token);
    json_decref(doc);
    if (!good) {
        return err_set(error, TP_DENIED,
                       "the join token is unknown, has expired or is not for this role; make a new one "
                       "with `tportctl tokens add --type=%s`",
                       roles == TOKEN_NODE   ? "node"
                       : roles == TOKEN_KUBE ? "kube"
                                             : "node,kube");
    }
    return TP_OK;
}

struct mask_search {
    const char *mask;
    char *key;
    size_t hits;
};

static bool match_mask(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct mask_search *search = ctx;
    (void)revision;
    if (strcmp(json_get_text(json_object_get(doc, "metadata"), "name", ""), search->mask) == 0) {
        mem_free(search->key);
        search->key = mem_strdup(name);
        search->hits++;
    }
    return true;
}

enum tp_err tokens_delete(struct auth *auth, const char *name, struct tp_error *error)
{
    char hash[HASH_TEXT_SIZE];
    doc_hash(name, hash);
    enum tp_err err = doc_delete(auth->secrets, "/token/", hash, error);
    if (err != TP_NOT_FOUND) {
        return err;
    }
    struct mask_search search = {.mask = name};
    err = doc_each(auth->secrets, "/token/", NULL, match_mask, &search, error);
    if (err == TP_OK && search.hits == 0) {
        err = err_set(error, TP_NOT_FOUND, "there is no such token");
    } else if (err == TP_OK && search.hits > 1) {
        err = err_set(error, TP_AMBIGUOUS, "several tokens look like this; give the whole token");
    } else if (err == TP_OK) {
        err = doc_delete(auth->secrets, "/token/", search.key, error);
    }
    mem_free(search.key);
    return err;
}

struct expired {
    int64_t now_ms;
    char *keys[64];
    size_t count;
};

static bool collect_expired(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct expired *expired = ctx;
    (void)revision;
    int64_t end = doc_ms(json_object_get(doc, "metadata"), "expires");
    if (end != 0 && end <= expired->now_ms) {
        expired->keys[expired->count++] = mem_strdup(name);
    }
    return expired->count < 64;
}

void tokens_sweep(struct auth *auth)
{
    struct expired expired = {.now_ms = clock_wall_ms()};
    struct tp_error error = {0};
    enum tp_err err = doc_each(auth->secrets, "/token/", NULL, collect_expired, &expired, &error);
    for (size_t i = 0; i < expired.count; i++) {
        if (err == TP_OK) {
            err = doc_delete(auth->secrets, "/token/", expired.keys[i], &error);
        }
        mem_free(expired.keys[i]);
    }
    if (err != TP_OK) {
        log_warn("expired tokens cannot be deleted", "error=\"%s\"", error.text);
    }
}

void do_tokens_add(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    json_t *wanted = json_object_get(call->params, "roles");
    unsigned roles = 0;
    enum tp_err err = doc_text_list(wanted, "roles", 16, &error);
    for (size_t i = 0; err == TP_OK && i < json_array_size(wanted); i++) {
        const char *name = json_string_value(json_array_get(wanted, i));
        unsigned bit = token_role(name);
        if (bit == 0) {
            err = err_set(&error, TP_INVALID, "\"%s\" is no role of a token; node and kube are", name);
        }
        roles |= bit;
    }
    int64_t ttl = json_get_int(call->params, "ttl", 0);
    if (err == TP_OK && ttl < 0) {
        err = err_set(&error, TP_INVALID, "ttl must not be negative");
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    int64_t expires = clock_wall_ms() + (ttl == 0 ? TOKEN_TTL_MS : ttl);
    const char *value = json_get_text(call->params, "value", NULL);
    char *secret = value != NULL && value[0] != '\0' ? mem_strdup(value) : crypt_random_hex(16);
    json_t *resource = json_pack("{s:s, s:s, s:{s:s, s:o}, s:{s:o, s:s}}", "kind", "token", "version", "v2", "metadata",
                                 "name", secret, "expires", doc_time(expires), "spec", "roles",
                                 tokens_role_names(roles), "join_method", "token");
    json_t *labels = json_object_get(call->params, "labels");
    if (json_is_object(labels) && json_object_size(labels) > 0) {
        json_t *suggested = json_object();
        const char *key;
        json_t *label;
        json_object_foreach (labels, key, label) {
            json_object_set_new(suggested, key, json_is_array(label) ? json_incref(label) : json_pack("[O]", label));
        }
        json_object_set_new(json_object_get(resource, "spec"), "suggested_labels", suggested);
    }
    bool created = false;
    err = tokens_put(auth, resource, STORE_ABSENT, &created, &error);
    json_decref(resource);
    if (err != TP_OK) {
        secret_free(secret);
        call_fail(call, &error);
        return;
    }
    char *mask = tokens_mask(secret);
    json_t *event = call_event(call, "join_token.create", true);
    json_object_set_new(event, "name", json_string(mask));
    json_object_set_new(event, "roles", tokens_role_names(roles));
    json_object_set_new(event, "join_method", json_string("token"));
    json_object_set_new(event, "expires", doc_time(expires));
    json_t *result = json_pack("{s:s, s:O, s:o, s:o}", "token", secret, "roles", wanted, "expires", doc_time(expires),
                               "ca_pins", ca_pins(auth));
    mem_free(mask);
    secret_free(secret);
    call_reply_audited(call, event, result);
}
