/* tportctl get --format=text: one table for each kind. */
#include "base/buf.h"
#include "base/enc.h"
#include "base/mem.h"
#include "base/node.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/tportctl/tportctl.h"
#include "crypt/x509.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 6
#define PEM_MAX ((size_t)64 * 1024)

/* Where a cell comes from. A word before the path says how it is shown: "labels:" a map of labels, "list:" a list, others are
 * in forms below. */
struct column {
    const char *title;
    const char *path;
};

static const struct {
    const char *kind;
    struct column columns[COLUMNS];
} layouts[] = {
    {"role",
     {{"Role", "metadata.name"},
      {"Allowed to login as", "list:spec.allow.logins"},
      {"Node Labels", "labels:spec.allow.node_labels"},
      {"Access to resources", "rules:spec.allow.rules"}}},
    {"user", {{"User", "metadata.name"}}},
    {"token", {{"Token", "metadata.name"}, {"Type", "list:spec.roles"}, {"Expires", "metadata.expires"}}},
    {"lock",
     {{"ID", "metadata.name"},
      {"Target", "labels:spec.target"},
      {"Message", "spec.message"},
      {"Expires", "spec.expires"}}},
    {"github", {{"Name", "metadata.name"}, {"Teams To Roles", "teams:spec.teams_to_roles"}}},
    {"oidc", {{"Name", "metadata.name"}, {"Issuer URL", "spec.issuer_url"}}},
    {"saml", {{"Name", "metadata.name"}, {"SSO URL", "spec.sso"}}},
    {"trusted_cluster",
     {{"Name", "metadata.name"},
      {"Enabled", "spec.enabled"},
      {"Token", "spec.token"},
      {"Proxy Address", "spec.web_proxy_addr"},
      {"Reverse Tunnel Address", "spec.tunnel_addr"},
      {"Role Map", "map:spec.role_map"}}},
    {"node", {{NULL, NULL}}}, /* tportctl_print_nodes */
    {"kube_server",
     {{"Cluster", "metadata.name"},
      {"Host", "spec.hostname"},
      {"Labels", "labels:metadata.labels"},
      {"Version", "spec.version"}}},
    {"kube_cluster", {{"Name", "metadata.name"}, {"Labels", "labels:metadata.labels"}}},
    {"app",
     {{"Name", "metadata.name"},
      {"Public Address", "spec.public_addr"},
      {"URI", "spec.uri"},
      {"Labels", "labels:metadata.labels"}}},
    {"db",
     {{"Name", "metadata.name"},
      {"Protocol", "spec.protocol"},
      {"URI", "spec.uri"},
      {"Labels", "labels:metadata.labels"}}},
    {"cert_authority",
     {{"Cluster Name", "metadata.name"}, {"CA Type", "sub_kind"}, {"Fingerprint", "pin:spec.active_keys.tls"}}},
    {"cluster_auth_preference", {{"Type", "spec.type"}, {"Second Factor", "spec.second_factor"}}},
    {"cluster_networking_config", {{"Client Idle Timeout", "spec.client_idle_timeout"}}},
    {"session_recording_config", {{"Mode", "spec.mode"}}},
};

/* "role,user:list,read": what a rule opens, without its condition. */
static char *rule_text(const json_t *rule)
{
    char *kinds = output_list(json_object_get(rule, "resources"), ",");
    char *verbs = output_list(json_object_get(rule, "verbs"), ",");
    char *text = mem_printf("%s:%s", kinds, verbs);
    mem_free(kinds);
    mem_free(verbs);
    return text;
}

/* "@org/team:role,role" */
static char *team_text(const json_t *team)
{
    char *roles = output_list(json_object_get(team, "roles"), ",");
    char *text =
        mem_printf("@%s/%s:%s", json_get_text(team, "organization", ""), json_get_text(team, "team", ""), roles);
    mem_free(roles);
    return text;
}

/* "remote:local,local" */
static char *mapping_text(const json_t *mapping)
{
    char *local = output_list(json_object_get(mapping, "local"), ",");
    char *text = mem_printf("%s:%s", json_get_text(mapping, "remote", ""), local);
    mem_free(local);
    return text;
}

static char *labels_text(const json_t *labels)
{
    const json_t *all = json_object_get(labels, "*");
    if (json_is_string(all) ? strcmp(json_string_value(all), "*") == 0 : json_list_has(all, "*"))
        return mem_strdup("<all nodes>");
    struct buf text;
    const char *key;
    json_t *value;
    buf_init(&text, 0);
    json_object_foreach ((json_t *)(uintptr_t)labels, key, value) {
        char *list = json_is_array(value)    ? output_list(value, "|")
                     : json_is_string(value) ? mem_strdup(json_string_value(value))
                                             : json_text(value);
        (void)buf_printf(&text, "%s%s=%s", buf_size(&text) > 0 ? "," : "", key, list);
        mem_free(list);
    }
    return buf_take(&text);
}

/* Of the first of these keys of a CA, as status shows it. */
static char *pin_text(const json_t *keys)
{
    const char *cert = json_get_text(json_array_get(keys, 0), "cert", "");
    char *pin = NULL;
    struct buf pem;
    buf_init(&pem, PEM_MAX);
    if (dec_base64(cert, strlen(cert), &pem) != TP_OK || x509_pin(buf_text(&pem), &pin, NULL) != TP_OK)
        pin = mem_strdup("");
    buf_free(&pem);
    return pin;
}

static const struct {
    const char *word;
    char *(*text)(const json_t *value);
} forms[] = {{"labels:", labels_text}, {"pin:", pin_text}};

/* What stands for each item of a list. */
static const struct {
    const char *word;
    char *(*text)(const json_t *item);
} item_forms[] = {{"rules:", rule_text}, {"teams:", team_text}, {"map:", mapping_text}};

static char *items_text(const json_t *list, char *(*text_of)(const json_t *item))
{
    struct buf text;
    size_t index;
    json_t *item;
    buf_init(&text, 0);
    json_array_foreach (list, index, item) {
        char *one = text_of(item);
        (void)buf_printf(&text, "%s%s", index > 0 ? " " : "", one);
        mem_free(one);
    }
    return buf_take(&text);
}

static char *cell_text(const json_t *item, const char *path)
{
    const char *colon = strchr(path, ':');
    const json_t *value = output_at(item, colon ? colon + 1 : path);
    if (!value || json_is_null(value))
        return mem_strdup("");
    if (strncmp(path, "list:", 5) == 0)
        return output_list(value, ",");
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (strncmp(path, forms[i].word, strlen(forms[i].word)) == 0)
            return forms[i].text(value);
    for (size_t i = 0; i < sizeof(item_forms) / sizeof(item_forms[0]); i++)
        if (strncmp(path, item_forms[i].word, strlen(item_forms[i].word)) == 0)
            return items_text(value, item_forms[i].text);
    return json_is_string(value) ? mem_strdup(json_string_value(value)) : json_text(value);
}

/* items are of one kind. */
static void print_kind(const json_t *items, const struct column *columns)
{
    const char *titles[COLUMNS + 1] = {NULL};
    int labels = -1;
    size_t index, count = 0;
    json_t *item;
    for (; count < COLUMNS && columns[count].title; count++) {
        titles[count] = columns[count].title;
        if (labels < 0 && strncmp(columns[count].path, "labels:", 7) == 0)
            labels = (int)count;
    }
    struct table *table = table_new(titles, labels);
    json_array_foreach (items, index, item) {
        char *texts[COLUMNS] = {NULL};
        const char *cells[COLUMNS] = {NULL};
        for (size_t i = 0; i < count; i++)
            cells[i] = texts[i] = cell_text(item, columns[i].path);
        table_add(table, cells);
        for (size_t i = 0; i < count; i++)
            mem_free(texts[i]);
    }
    table_print(table);
}

void tportctl_print_resources(const json_t *items)
{
    bool first = true;
    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        json_t *of_kind = json_array(), *item;
        size_t index;
        json_array_foreach (items, index, item)
            if (strcmp(json_get_text(item, "kind", ""), layouts[i].kind) == 0)
                (void)json_array_append(of_kind, item);
        if (json_array_size(of_kind) > 0) {
            if (!first)
                (void)printf("\n");
            first = false;
            if (strcmp(layouts[i].kind, "node") == 0)
                tportctl_print_nodes(of_kind, false, false);
            else
                print_kind(of_kind, layouts[i].columns);
        }
        json_decref(of_kind);
    }
}
