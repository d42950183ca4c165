/* tport status, logout, env, version: what the profile says, without asking anybody. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/wire.h"
#include "base/version.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/tport/tport.h"
#include "crypt/sshcert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CERT_MAX ((size_t)256 * 1024)
#define VALUE_COLUMN 22

/* The names of the extensions in an Ed25519 user certificate (PROTOCOL.certkeys), for showing. */
static json_t *cert_extensions(const char *path)
{
    struct buf line, blob;
    json_t *names = json_array();
    struct rd rd, extensions;

    buf_init(&line, CERT_MAX);
    buf_init(&blob, CERT_MAX);
    if (file_read(path, &line, NULL) == TP_OK && sshcert_blob(buf_text(&line), &blob, NULL) == TP_OK) {
        rd_init(&rd, buf_head(&blob), buf_size(&blob));
        (void)rd_string(&rd); /* type */
        (void)rd_string(&rd); /* nonce */
        (void)rd_string(&rd); /* key */
        (void)rd_u64(&rd);    /* serial */
        (void)rd_u32(&rd);    /* kind */
        (void)rd_string(&rd); /* key id */
        (void)rd_string(&rd); /* principals */
        (void)rd_u64(&rd);    /* valid after */
        (void)rd_u64(&rd);    /* valid before */
        (void)rd_string(&rd); /* critical options */
        extensions = rd_string(&rd);
        while (rd_ok(&rd) && rd_ok(&extensions) && extensions.left > 0) {
            struct rd name = rd_string(&extensions);
            (void)rd_string(&extensions);
            if (rd_ok(&extensions) && name.left > 7 && memcmp(name.at, "permit-", 7) == 0)
                (void)json_array_append_new(names, json_stringn((const char *)name.at, name.left));
        }
    }
    buf_free(&line);
    buf_free(&blob);
    return names;
}

/* A list is broken behind a comma where the terminal ends. */
static void put_broken(struct buf *out, const char *text)
{
    size_t width = text_terminal(), at = VALUE_COLUMN;
    while (*text) {
        const char *comma = strstr(text, ", ");
        size_t length = comma ? (size_t)(comma - text) + 1 : strlen(text);
        char *part = mem_strndup(text, length);
        size_t columns = text_width(part);
        if (at > VALUE_COLUMN && width > 0 && at + 1 + columns > width) {
            (void)buf_printf(out, "\n%*s", VALUE_COLUMN, "");
            at = VALUE_COLUMN;
        } else if (at > VALUE_COLUMN) {
            (void)buf_append_text(out, " ");
            at++;
        }
        (void)buf_append_text(out, part);
        mem_free(part);
        at += columns;
        text += length;
        text += *text == ' ';
    }
    (void)buf_append_text(out, "\n");
}

static void put(struct buf *out, bool first, bool active, const char *label, const char *value)
{
    char *safe = text_safe(value);
    char *title = mem_printf("%s:", label);
    (void)buf_printf(out, "%s %-19s ", first && active ? ">" : " ", title);
    put_broken(out, safe);
    mem_free(title);
    mem_free(safe);
}

static char *valid_until(int64_t not_after, int64_t now)
{
    char when[64];
    time_t seconds = (time_t)not_after;
    struct tm local;
    (void)localtime_r(&seconds, &local);
    (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z %Z", &local);
    if (not_after <= now)
        return mem_printf("%s [EXPIRED]", when);
    int64_t seconds_left = not_after - now;
    char *left = output_seconds(seconds_left < 60 ? seconds_left : (seconds_left + 30) / 60 * 60);
    char *text = mem_printf("%s [valid for %s]", when, left);
    mem_free(left);
    return text;
}

/* Nothing for an empty list. */
static void put_list(struct buf *out, bool active, const char *label, const json_t *list)
{
    char *text = output_list(list, ", ");
    if (*text)
        put(out, false, active, label, text);
    mem_free(text);
}

char *tport_status_block(const struct profile *profile, bool active, int64_t now)
{
    struct buf out;
    char *url = mem_printf("https://%s", profile->address);
    char *roles = output_list(profile->identity.roles, ", ");
    char *logins = output_list(profile->identity.logins, ", ");
    char *until = valid_until(profile->identity.not_after, now);
    json_t *names = cert_extensions(profile->ssh_cert);
    char *extensions = output_list(names, ", ");
    char *kube = profile->kube ? tport_kube_selected(profile, NULL) : NULL;

    buf_init(&out, 0);
    put(&out, true, active, "Profile URL", url);
    put(&out, false, active, "Logged in as", profile->user);
    put(&out, false, active, "Cluster", profile->cluster);
    put(&out, false, active, "Roles", roles);
    put(&out, false, active, "Logins", *logins ? logins : "-");
    put(&out, false, active, "Kubernetes", profile->kube ? "enabled" : "disabled");
    if (kube)
        put(&out, false, active, "Kubernetes cluster", kube);
    put_list(&out, active, "Kubernetes users", profile->kube_users);
    put_list(&out, active, "Kubernetes groups", profile->kube_groups);
    put(&out, false, active, "Valid until", until);
    put(&out, false, active, "Extensions", extensions);
    mem_free(url);
    mem_free(roles);
    mem_free(logins);
    mem_free(until);
    mem_free(extensions);
    mem_free(kube);
    json_decref(names);
    return buf_take(&out);
}

static json_t *status_json(const struct profile *profile)
{
    char until[CLOCK_TEXT_SIZE];
    char *url = mem_printf("https://%s", profile->address);
    char *kube = profile->kube ? tport_kube_selected(profile, NULL) : NULL;
    json_t *object = json_object();
    const struct identity *identity = &profile->identity;

    clock_format(identity->not_after, until);
    (void)json_object_set_new(object, "profile_url", json_string(url));
    (void)json_object_set_new(object, "username", json_string(profile->user));
    (void)json_object_set_new(object, "cluster", json_string(profile->cluster));
    (void)json_object_set_new(object, "roles", identity->roles ? json_incref(identity->roles) : json_array());
    (void)json_object_set_new(object, "traits", identity->traits ? json_incref(identity->traits) : json_object());
    (void)json_object_set_new(object, "logins", identity->logins ? json_incref(identity->logins) : json_array());
    (void)json_object_set_new(object, "kubernetes_enabled", json_boolean(profile->kube));
    if (kube)
        (void)json_object_set_new(object, "kubernetes_cluster", json_string(kube));
    (void)json_object_set_new(object, "kubernetes_users",
                              profile->kube_users ? json_incref(profile->kube_users) : json_array());
    (void)json_object_set_new(object, "kubernetes_groups",
                              profile->kube_groups ? json_incref(profile->kube_groups) : json_array());
    (void)json_object_set_new(object, "valid_until", json_string(until));
    (void)json_object_set_new(object, "extensions", cert_extensions(profile->ssh_cert));
    mem_free(url);
    mem_free(kube);
    return object;
}

enum tp_err tport_status(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    const char *format;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err != TP_OK)
        return err;

    char *home = profile_home();
    char *current = profile_current(home);
    const char *proxy = command_text_env(line, "proxy", "PROXY", current);
    char *host = NULL;
    uint16_t port;
    size_t count;
    char **names = profile_list(home, &count);
    json_t *active = NULL, *others = json_array();
    int64_t now = clock_wall();
    bool valid = false;
    struct buf first, rest;

    buf_init(&first, 0);
    buf_init(&rest, 0);
    if (proxy)
        err = profile_parse_proxy(proxy, &host, &port, error);
    for (size_t i = 0; err == TP_OK && i < count; i++) {
        struct profile profile = {0};
        bool is_active = host && strcmp(names[i], host) == 0;
        struct tp_error why = {0};
        if (profile_load(home, is_active ? proxy : names[i], &profile, &why) == TP_OK) {
            char *block = tport_status_block(&profile, is_active, now);
            (void)buf_printf(is_active ? &first : &rest, "%s\n", block);
            mem_free(block);
            if (is_active) {
                active = status_json(&profile);
                valid = profile.identity.not_after > now;
            } else {
                (void)json_array_append_new(others, status_json(&profile));
            }
        } else if (is_active) {
            err = err_set(error, why.code, "%s", why.text);
        }
        profile_free(&profile);
    }
    if (err == TP_OK && strcmp(format, "text") != 0 && (active || json_array_size(others) > 0)) {
        json_t *all = json_pack("{s:o?, s:O}", "active", active ? json_incref(active) : NULL, "profiles", others);
        if (strcmp(format, "json") == 0)
            output_json(all);
        else
            output_yaml(all, false);
        json_decref(all);
    } else if (err == TP_OK) {
        (void)fputs(buf_text(&first), stdout);
        (void)fputs(buf_text(&rest), stdout);
    }
    if (err == TP_OK && !active)
        err = err_set(error, TP_UNAUTHENTICATED, "not logged in; run \"tport login --proxy=HOST --user=NAME\"");
    else if (err == TP_OK && !valid)
        err = err_set(error, TP_EXPIRED, "the active profile has expired; run \"tport login\"");
    buf_free(&first);
    buf_free(&rest);
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
    json_decref(active);
    json_decref(others);
    mem_free(current);
    mem_free(host);
    mem_free(home);
    return err;
}

enum tp_err tport_logout(struct command_line *line, struct tp_error *error)
{
    char *home = profile_home();
    const char *proxy = command_text(line, "proxy", NULL);
    size_t count = 0;
    char **names = profile_list(home, &count);
    char *host = NULL;
    uint16_t port;
    enum tp_err err = proxy ? profile_parse_proxy(proxy, &host, &port, error) : TP_OK;
    size_t removed = 0;

    for (size_t i = 0; err == TP_OK && i < count; i++) {
        struct profile profile = {0};
        struct tp_error why = {0};
        if (host && strcmp(names[i], host) != 0)
            continue;
        if (profile_load(home, names[i], &profile, &why) == TP_OK && tport_kube_logout(&profile, &why) != TP_OK)
            (void)fprintf(stderr, "WARNING: the entries in the kubeconfig stay: %s\n", why.text);
        profile_free(&profile);
        err = profile_remove(home, names[i], error);
        removed++;
    }
    if (err == TP_OK && !host && count > 0)
        err = profile_remove_identities(home, error);
    if (err == TP_OK && host && removed == 0)
        err = err_set(error, TP_NOT_FOUND, "not logged in to %s", host);
    else if (err == TP_OK && host)
        (void)printf("Logged out of %s.\n", host);
    else if (err == TP_OK)
        (void)printf(removed ? "Logged out of all proxies.\n" : "Nothing to do: not logged in.\n");
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
    mem_free(host);
    mem_free(home);
    return err;
}

enum tp_err tport_env(struct command_line *line, struct tp_error *error)
{
    struct profile profile = {0};
    if (command_flag(line, "unset")) {
        (void)printf("unset TPORT_PROXY\nunset TPORT_CLUSTER\n");
        return TP_OK;
    }
    enum tp_err err = tport_profile(line, &profile, error);
    if (err == TP_OK)
        (void)printf("export TPORT_PROXY=%s\nexport TPORT_CLUSTER=%s\n", profile.address, profile.cluster);
    profile_free(&profile);
    return err;
}

enum tp_err tport_version(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    const char *format;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err != TP_OK)
        return err;
    if (strcmp(format, "text") == 0) {
        (void)printf("tport v%s\n", TPORT_VERSION);
        return TP_OK;
    }
    json_t *object = json_pack("{s:s}", "version", TPORT_VERSION);
    if (strcmp(format, "json") == 0)
        output_json(object);
    else
        output_yaml(object, false);
    json_decref(object);
    return TP_OK;
}
