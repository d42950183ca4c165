/* tportctl users. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/tportctl/tportctl.h"

#include <stdio.h>
#include <string.h>

#define INVITE_TTL_MS INT64_C(3600000)
#define RESET_TTL_MS (8 * INT64_C(3600000))

/* Options and the traits they fill. */
static const struct {
    const char *option;
    const char *trait;
} traits[] = {{"logins", "logins"},
              {"windows-logins", "windows_logins"},
              {"kubernetes-users", "kubernetes_users"},
              {"kubernetes-groups", "kubernetes_groups"},
              {"db-users", "db_users"},
              {"db-names", "db_names"},
              {"db-roles", "db_roles"},
              {"aws-role-arns", "aws_role_arns"},
              {"azure-identities", "azure_identities"},
              {"gcp-service-accounts", "gcp_service_accounts"},
              {"default-relay-addr", "default_relay_addr"},
              {"host-user-uid", "host_user_uid"},
              {"host-user-gid", "host_user_gid"}};

/* The traits that options (with this prefix) give; json_decref it. */
static json_t *traits_given(const struct command_line *line, const char *prefix)
{
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof(traits) / sizeof(traits[0]); i++) {
        char *option = mem_printf("%s%s", prefix, traits[i].option);
        const char *value = command_text(line, option, NULL);
        if (value)
            (void)json_object_set_new(object, traits[i].trait, output_split(value));
        mem_free(option);
    }
    return object;
}

/* "1h" for 1h0m0s. mem_free it. */
static char *short_duration(int64_t ms)
{
    int64_t minutes = ms / 60000;
    if (ms % 60000 != 0)
        return output_seconds(ms / 1000);
    if (minutes % 60 == 0)
        return mem_printf("%lldh", (long long)(minutes / 60));
    return minutes < 60 ? mem_printf("%lldm", (long long)minutes)
                        : mem_printf("%lldh%lldm", (long long)(minutes / 60), (long long)(minutes % 60));
}

static void print_link(const json_t *result, const char *user, bool reset, const char *format, int64_t ttl_ms)
{
    const char *url = json_get_text(result, "url", "");
    if (strcmp(format, "json") == 0) {
        char created[CLOCK_TEXT_SIZE];
        clock_format_ms(clock_wall_ms(), created);
        json_t *token = json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s}}", "kind", "user_token", "version",
                                  "v3", "metadata", "name", json_get_text(result, "token", ""), "expires",
                                  json_get_text(result, "expires", ""), "spec", "user", user, "url", url, "usage",
                                  reset ? "USER_TOKEN_RESET_PASSWORD" : "USER_TOKEN_INVITE", "created", created);
        output_json(token);
        json_decref(token);
        return;
    }
    const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url;
    char *valid = short_duration(ttl_ms);
    char *name = text_safe(user);
    (void)printf("User \"%s\" has been %s. Share this URL with the user to complete %s, link is valid for %s:\n", name,
                 reset ? "reset" : "created but requires a password", reset ? "password reset" : "user setup", valid);
    output_safe(url);
    (void)printf("\n\nNOTE: Make sure ");
    char *place = mem_strndup(host, strcspn(host, "/"));
    output_safe(place);
    (void)printf(" points at a tport proxy which users can access.\n");
    mem_free(place);
    mem_free(valid);
    mem_free(name);
}

enum tp_err tportctl_users_add(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", NULL};
    const char *roles = command_text(line, "roles", NULL);
    const char *name = line->args[0];
    const char *format;
    int64_t ttl;
    json_t *result = NULL;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = command_duration_ms(line, "ttl", INVITE_TTL_MS, &ttl, error);
    if (err == TP_OK && !roles)
        err = err_set(error, TP_INVALID, "--roles is needed, for example --roles=access");
    if (err == TP_OK) {
        json_t *params = json_object();
        (void)json_object_set_new(params, "name", json_string(name));
        (void)json_object_set_new(params, "roles", output_split(roles));
        (void)json_object_set_new(params, "traits", traits_given(line, ""));
        (void)json_object_set_new(params, "ttl", json_integer(ttl));
        err = tportctl_call(line, "users.add", params, &result, error);
    }
    if (err == TP_OK)
        print_link(result, name, false, format, ttl);
    json_decref(result);
    return err;
}

enum tp_err tportctl_users_reset(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", NULL};
    const char *format;
    int64_t ttl;
    json_t *result = NULL;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = command_duration_ms(line, "ttl", RESET_TTL_MS, &ttl, error);
    if (err == TP_OK) {
        json_t *params = json_pack("{s:s, s:I}", "name", line->args[0], "ttl", (json_int_t)ttl);
        err = tportctl_call(line, "users.reset", params, &result, error);
    }
    if (err == TP_OK)
        print_link(result, line->args[0], true, format, ttl);
    json_decref(result);
    return err;
}

/* "yes" or "until 2026-...", by which role if by one, and what the person reads; "" for who is not locked. mem_free it. */
static char *locked_text(const json_t *user)
{
    const json_t *locked = json_object_get(user, "locked");
    const char *role = json_get_text(locked, "role", "");
    const char *expires = json_get_text(locked, "expires", "");
    const char *message = json_get_text(locked, "message", "");
    if (!locked)
        return mem_strdup("");
    return mem_printf("%s%s%s%s%s%s", *expires ? "until " : "yes", expires, *role ? ", role " : "", role,
                      *message ? ": " : "", message);
}

static bool any_locked(const json_t *users)
{
    size_t index;
    json_t *user;
    json_array_foreach (users, index, user) {
        if (json_object_get(user, "locked"))
            return true;
    }
    return false;
}

enum tp_err tportctl_users_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    static const char *const titles[] = {"User", "Roles", NULL};
    static const char *const titles_locked[] = {"User", "Roles", "Locked", NULL};
    const char *format;
    json_t *items = NULL, *item;
    size_t index;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tportctl_list(line, "resources.get",
                            json_pack("{s:s, s:b}", "kind", "user", "with_locks", strcmp(format, "yaml") != 0), 0,
                            &items, error);
    if (err != TP_OK)
        return err;
    if (strcmp(format, "json") == 0) {
        output_json(items);
    } else if (strcmp(format, "yaml") == 0) {
        output_yaml(items, true);
    } else if (json_array_size(items) == 0) {
        (void)printf("No users found\n");
    } else {
        struct table *table = table_new(any_locked(items) ? titles_locked : titles, 1);
        json_array_foreach (items, index, item) {
            char *roles = output_list(output_at(item, "spec.roles"), ",");
            char *locked = locked_text(item);
            const char *cells[] = {output_text_at(item, "metadata.name"), roles, locked};
            table_add(table, cells);
            mem_free(roles);
            mem_free(locked);
        }
        table_print(table);
    }
    json_decref(items);
    return TP_OK;
}

enum tp_err tportctl_users_update(struct command_line *line, struct tp_error *error)
{
    const char *roles = command_text(line, "set-roles", NULL);
    json_t *set_traits = traits_given(line, "set-");
    json_t *params = json_object(), *result = NULL, *value;
    const char *key;
    enum tp_err err = TP_OK;

    if (!roles && json_object_size(set_traits) == 0)
        err = err_set(error, TP_INVALID, "nothing to change: give --set-roles, --set-logins or another --set-… option");
    (void)json_object_set_new(params, "name", json_string(line->args[0]));
    if (roles)
        (void)json_object_set_new(params, "set_roles", output_split(roles));
    if (json_object_size(set_traits) > 0)
        (void)json_object_set(params, "set_traits", set_traits);
    if (err == TP_OK)
        err = tportctl_call(line, "users.update", json_incref(params), &result, error);
    if (err == TP_OK) {
        char *name = text_safe(line->args[0]);
        (void)printf("User %s has been updated:\n", name);
        mem_free(name);
        if (roles)
            (void)printf("\tNew roles: %s\n", roles);
        json_object_foreach (set_traits, key, value) {
            char *list = output_list(value, ",");
            (void)printf("\tNew %s: %s\n", key, list);
            mem_free(list);
        }
    }
    json_decref(params);
    json_decref(set_traits);
    json_decref(result);
    return err;
}

enum tp_err tportctl_users_rm(struct command_line *line, struct tp_error *error)
{
    json_t *names = output_split(line->args[0]), *name;
    struct api *api = NULL;
    size_t index;
    enum tp_err err = tportctl_open(line, &api, NULL, error);

    json_array_foreach (names, index, name) {
        json_t *result = NULL;
        if (err != TP_OK)
            break;
        err = api_rpc(api, "resources.rm", json_pack("{s:s, s:O}", "kind", "user", "name", name), &result, error);
        if (err == TP_OK) {
            (void)printf("User \"");
            output_safe(json_string_value(name));
            (void)printf("\" has been deleted\n");
        }
        json_decref(result);
    }
    api_close(api);
    json_decref(names);
    return err;
}
