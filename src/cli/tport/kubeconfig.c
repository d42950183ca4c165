#include "cli/tport/kubeconfig.h"

#include "base/buf.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/node.h"

#include <string.h>

#define KUBECONFIG_MAX_NODES 1000000
#define API_VERSION "client.authentication.k8s.io/v1beta1" /* kubectl 1.11 and later, the newest included */
#define EXTENSION "teleport.kube.name"                     /* where other tools look for the cluster's name */

static const struct {
    const char *list; /* "clusters" */
    const char *body; /* the member of an entry that holds its fields */
} parts[] = {{"clusters", "cluster"}, {"users", "user"}, {"contexts", "context"}};
enum { PART_CLUSTER, PART_USER, PART_CONTEXT, PART_COUNT };

static enum tp_err check_list(const json_t *config, const char *list, const char *body, const char *file,
                              struct tp_error *error)
{
    const json_t *entries = json_object_get(config, list);
    size_t index;
    json_t *entry;
    if (!entries || json_is_null(entries))
        return TP_OK;
    if (!json_is_array(entries))
        return err_set(error, TP_INVALID, "%s: \"%s\" must be a list; repair the file or move it away", file, list);
    json_array_foreach (entries, index, entry) {
        const json_t *fields = json_object_get(entry, body);
        if (!json_is_string(json_object_get(entry, "name")) ||
            (fields && !json_is_object(fields) && !json_is_null(fields)))
            return err_set(error, TP_INVALID,
                           "%s: entry %zu of \"%s\" needs a name and a map \"%s\"; repair the file or move it away",
                           file, index + 1, list, body);
    }
    return TP_OK;
}

/* kubectl reads YAML 1.1, where a plain yes, no, on or off is a boolean: written back in quotes it would be none, and
 * kubectl would not read the file any more. */
static void spell_booleans(struct node *node)
{
    bool value;
    if (node->kind == NODE_SCALAR && !node->quoted && node_bool(node, &value) == TP_OK) {
        mem_free(node->text);
        node->text = mem_strdup(value ? "true" : "false");
    }
    for (size_t i = 0; i < node->count; i++)
        spell_booleans(node->items[i]);
}

enum tp_err kubeconfig_parse(const char *text, size_t size, const char *file, json_t **ret_config,
                             struct tp_error *error)
{
    struct node **documents;
    size_t count;
    json_t *config;
    enum tp_err err =
        node_parse_large(text, size, file, KUBECONFIG_MAX_BYTES, KUBECONFIG_MAX_NODES, &documents, &count, error);
    if (err != TP_OK)
        return err;
    if (count > 1)
        err = err_set(error, TP_INVALID, "%s: more than one YAML document; repair the file or move it away", file);
    for (size_t i = 0; i < count; i++)
        spell_booleans(documents[i]);
    config = count == 1 && err == TP_OK ? node_to_json(documents[0]) : json_object();
    for (size_t i = 0; i < count; i++)
        node_free(documents[i]);
    mem_free(documents);
    if (err == TP_OK && !json_is_object(config))
        err = err_set(error, TP_INVALID, "%s: this is no kubeconfig; repair the file or move it away", file);
    for (size_t i = 0; i < PART_COUNT && err == TP_OK; i++)
        err = check_list(config, parts[i].list, parts[i].body, file, error);
    if (err != TP_OK) {
        json_decref(config);
        return err;
    }
    *ret_config = config;
    return TP_OK;
}

char *kubeconfig_text(const json_t *config)
{
    return node_yaml_from_json(config);
}

static json_t *find(const json_t *config, size_t part, const char *name, size_t *ret_index)
{
    size_t index;
    json_t *entry;
    json_array_foreach (json_object_get(config, parts[part].list), index, entry) {
        if (strcmp(json_get_text(entry, "name", ""), name) == 0) {
            if (ret_index)
                *ret_index = index;
            return entry;
        }
    }
    return NULL;
}

/* The text after "--name=" among the arguments of a user's exec plug-in when that is tport's, else NULL. */
static const char *exec_option(const json_t *user_entry, const char *name)
{
    const json_t *args = json_object_get(json_object_get(json_object_get(user_entry, "user"), "exec"), "args");
    size_t length = strlen(name), index;
    json_t *arg;
    const char *first = json_string_value(json_array_get(args, 0)),
               *second = json_string_value(json_array_get(args, 1));
    if (!first || !second || strcmp(first, "kube") != 0 || strcmp(second, "credentials") != 0)
        return NULL;
    json_array_foreach (args, index, arg) {
        const char *text = json_string_value(arg);
        if (text && strncmp(text, "--", 2) == 0 && strncmp(text + 2, name, length) == 0 && text[2 + length] == '=')
            return text + 3 + length;
    }
    return NULL;
}

static bool user_is_ours(const json_t *user_entry, const char *proxy)
{
    const char *at = exec_option(user_entry, "proxy");
    return at && strcmp(at, proxy) == 0;
}

/* The entry of that name with its fields, made when it is not there. Both belong to config. */
static json_t *entry_fields(json_t *config, size_t part, const char *name)
{
    json_t *list = json_object_get(config, parts[part].list);
    if (!json_is_array(list)) {
        list = json_array();
        (void)json_object_set_new(config, parts[part].list, list);
    }
    json_t *entry = find(config, part, name, NULL);
    if (!entry) {
        entry = json_object();
        (void)json_object_set_new(entry, "name", json_string(name));
        (void)json_array_append_new(list, entry);
    }
    json_t *fields = json_object_get(entry, parts[part].body);
    if (!json_is_object(fields)) {
        fields = json_object();
        (void)json_object_set_new(entry, parts[part].body, fields);
    }
    return fields;
}

static json_t *base64(const char *text)
{
    char *encoded = enc_base64(text, strlen(text));
    json_t *value = json_string(encoded);
    secret_free(encoded);
    return value;
}

static void put_cluster(json_t *fields, const struct kubeconfig_target *target)
{
    char *server = mem_printf("https://%s", target->proxy);
    (void)json_object_set_new(fields, "server", json_string(server));
    (void)json_object_set_new(fields, "certificate-authority-data", base64(target->cas));
    (void)json_object_set_new(fields, "tls-server-name", json_string(target->server_name));
    (void)json_object_del(fields, "certificate-authority");
    (void)json_object_del(fields, "insecure-skip-tls-verify");
    mem_free(server);
}

static void add_arg(json_t *args, const char *name, const char *value)
{
    char *text = mem_printf("--%s=%s", name, value);
    (void)json_array_append_new(args, json_string(text));
    mem_free(text);
}

static json_t *exec_plugin(const struct kubeconfig_target *target)
{
    json_t *exec = json_object(), *args = json_array();
    (void)json_array_append_new(args, json_string("kube"));
    (void)json_array_append_new(args, json_string("credentials"));
    add_arg(args, "kube-cluster", target->kube);
    add_arg(args, "teleport-cluster", target->teleport);
    add_arg(args, "proxy", target->proxy);
    (void)json_object_set_new(exec, "apiVersion", json_string(API_VERSION));
    (void)json_object_set_new(exec, "command", json_string(target->program));
    (void)json_object_set_new(exec, "args", args);
    if (target->home)
        (void)json_object_set_new(exec, "env", json_pack("[{s:s, s:s}]", "name", "TPORT_HOME", "value", target->home));
    /* When the plug-in asks for a one-time code, it does so at /dev/tty. kubectl before 1.22 passes over this field. */
    (void)json_object_set_new(exec, "interactiveMode", json_string("IfAvailable"));
    (void)json_object_set_new(exec, "provideClusterInfo", json_false());
    return exec;
}

static void put_user(json_t *fields, const struct kubeconfig_target *target)
{
    static const char *const ours[] = {"exec", "client-certificate-data", "client-key-data", "as", "as-groups"};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        (void)json_object_del(fields, ours[i]);
    if (target->cert) {
        (void)json_object_set_new(fields, "client-certificate-data", base64(target->cert));
        (void)json_object_set_new(fields, "client-key-data", base64(target->key));
    } else {
        (void)json_object_set_new(fields, "exec", exec_plugin(target));
    }
    if (target->as)
        (void)json_object_set_new(fields, "as", json_string(target->as));
    if (json_array_size(target->as_groups) > 0)
        (void)json_object_set_new(fields, "as-groups", json_deep_copy(target->as_groups));
}

static void put_context(json_t *fields, const struct kubeconfig_target *target, const char *name)
{
    json_t *kept = json_array(), *extension;
    size_t index;
    (void)json_object_set_new(fields, "cluster", json_string(name));
    (void)json_object_set_new(fields, "user", json_string(name));
    if (target->name_space)
        (void)json_object_set_new(fields, "namespace", json_string(target->name_space));
    json_array_foreach (json_object_get(fields, "extensions"), index, extension) {
        if (strcmp(json_get_text(extension, "name", ""), EXTENSION) != 0)
            (void)json_array_append(kept, extension);
    }
    (void)json_array_append_new(kept, json_pack("{s:s, s:s}", "name", EXTENSION, "extension", target->kube));
    (void)json_object_set_new(fields, "extensions", kept);
}

static void put_default(json_t *config, const char *key, const char *value)
{
    if (!json_is_string(json_object_get(config, key)))
        (void)json_object_set_new(config, key, json_string(value));
}

enum tp_err kubeconfig_put(json_t *config, const struct kubeconfig_target *target, struct tp_error *error)
{
    char *name = mem_printf("%s-%s", target->teleport, target->kube);
    const char *context = target->context ? target->context : name;
    const json_t *user = find(config, PART_USER, name, NULL);
    const json_t *cluster = find(config, PART_CLUSTER, name, NULL);
    const json_t *old = find(config, PART_CONTEXT, context, NULL);
    const char *old_user = json_get_text(json_object_get(old, "context"), "user", "");
    const json_t *old_entry = find(config, PART_USER, old_user, NULL);
    enum tp_err err = TP_OK;

    /* Another profile of the same cluster's name may take over entries of tport; entries of other people's making not. */
    if ((user || cluster) && !exec_option(user, "proxy"))
        err = err_set(error, TP_EXISTS,
                      "the kubeconfig has an entry \"%s\" that tport did not write; rename it or use another file "
                      "(--kubeconfig)",
                      name);
    else if (old && !exec_option(old_entry, "proxy") && strcmp(old_user, name) != 0)
        err = err_set(error, TP_EXISTS,
                      "the kubeconfig has a context \"%s\" that tport did not write; give another name with "
                      "--set-context-name",
                      context);
    if (err == TP_OK) {
        put_default(config, "apiVersion", "v1");
        put_default(config, "kind", "Config");
        put_cluster(entry_fields(config, PART_CLUSTER, name), target);
        put_user(entry_fields(config, PART_USER, name), target);
        put_context(entry_fields(config, PART_CONTEXT, context), target, name);
    }
    mem_free(name);
    return err;
}

void kubeconfig_select(json_t *config, const char *context)
{
    (void)json_object_set_new(config, "current-context", json_string(context));
}

/* Is there a context that names that entry of part (cluster or user)? */
static bool is_used(const json_t *config, size_t part, const char *name)
{
    size_t index;
    json_t *entry;
    json_array_foreach (json_object_get(config, "contexts"), index, entry) {
        const json_t *fields = json_object_get(entry, "context");
        if (strcmp(json_get_text(fields, parts[part].body, ""), name) == 0)
            return true;
    }
    return false;
}

static void drop(json_t *config, size_t part, const char *name)
{
    size_t index;
    if (find(config, part, name, &index))
        (void)json_array_remove(json_object_get(config, parts[part].list), index);
}

/* All contexts of that user. */
static size_t drop_contexts(json_t *config, const char *user)
{
    json_t *contexts = json_object_get(config, "contexts");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(contexts);) {
        const json_t *entry = json_array_get(contexts, i);
        const char *name = json_get_text(entry, "name", "");
        if (strcmp(json_get_text(json_object_get(entry, "context"), "user", ""), user) != 0) {
            i++;
            continue;
        }
        if (strcmp(json_get_text(config, "current-context", ""), name) == 0)
            (void)json_object_set_new(config, "current-context", json_string(""));
        (void)json_array_remove(contexts, i);
        count++;
    }
    return count;
}

size_t kubeconfig_remove(json_t *config, const char *proxy)
{
    json_t *users = json_object_get(config, "users");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(users);) {
        const json_t *entry = json_array_get(users, i);
        if (!user_is_ours(entry, proxy)) {
            i++;
            continue;
        }
        char *name = mem_strdup(json_get_text(entry, "name", ""));
        count += drop_contexts(config, name);
        (void)json_array_remove(users, i);
        /* Our cluster bears the user's name; somebody else's context may point to it meanwhile. */
        if (!is_used(config, PART_CLUSTER, name))
            drop(config, PART_CLUSTER, name);
        mem_free(name);
    }
    return count;
}

const char *kubeconfig_selected(const json_t *config, const char *proxy)
{
    const json_t *context = find(config, PART_CONTEXT, json_get_text(config, "current-context", ""), NULL);
    const char *name = json_get_text(json_object_get(context, "context"), "user", "");
    const json_t *user = find(config, PART_USER, name, NULL);
    return user && user_is_ours(user, proxy) ? exec_option(user, "kube-cluster") : NULL;
}

static bool is_text(const uint8_t *bytes, size_t size)
{
    json_t *text = json_stringn((const char *)bytes, size); /* NULL: not UTF-8 */
    bool fine = text != NULL;
    for (size_t i = 0; i < size; i++)
        fine = fine && bytes[i] >= 0x20 && bytes[i] != 0x7f;
    json_decref(text);
    return fine;
}

enum tp_err kubeconfig_context_name(const char *template, const char *teleport, const char *kube, char **ret_name,
                                    struct tp_error *error)
{
    const struct {
        const char *name, *value;
    } fields[] = {{"{{.ClusterName}}", teleport}, {"{{.KubeName}}", kube}};
    struct buf out;
    buf_init(&out, 0);
    for (const char *at = template; *at;) {
        size_t taken = 0;
        for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && taken == 0; i++) {
            if (strncmp(at, fields[i].name, strlen(fields[i].name)) == 0) {
                (void)buf_append_text(&out, fields[i].value);
                taken = strlen(fields[i].name);
            }
        }
        if (taken == 0 && strncmp(at, "{{", 2) == 0) {
            buf_free(&out);
            return err_set(error, TP_INVALID,
                           "--set-context-name=%s: only {{.ClusterName}} and {{.KubeName}} are replaced", template);
        }
        if (taken == 0)
            (void)buf_append(&out, at, taken = 1);
        at += taken;
    }
    if (buf_size(&out) == 0) {
        buf_free(&out);
        return err_set(error, TP_INVALID, "--set-context-name may not be empty");
    }
    if (!is_text(buf_head(&out), buf_size(&out))) {
        buf_free(&out);
        return err_set(error, TP_INVALID, "--set-context-name must be UTF-8 without control characters");
    }
    *ret_name = buf_take(&out);
    return TP_OK;
}
