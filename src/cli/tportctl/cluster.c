/* tportctl status, auth, lock. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/tportctl/tportctl.h"
#include "crypt/key.h"
#include "crypt/x509.h"

#include <stdio.h>
#include <string.h>

#define PEM_MAX ((size_t)1024 * 1024)

static void print_cas(const json_t *status)
{
    static const char *const titles[] = {"CA Type", "Fingerprint", "Not After (UTC)", "State", "Keys", NULL};
    struct table *table = table_new(titles, 1); /* what auth export --fingerprint takes is whole in a wide terminal */
    size_t index;
    json_t *ca;
    json_array_foreach (json_object_get(status, "cas"), index, ca) {
        char *until = output_time(json_get_text(ca, "not_after", ""));
        const char *cells[] = {json_get_text(ca, "type", ""), json_get_text(ca, "fingerprint", ""), until,
                               json_get_text(ca, "state", ""), json_get_text(ca, "keys", "")};
        table_add(table, cells);
        mem_free(until);
    }
    table_print(table);
}

#define HOSTS_SHOWN 20

/* A line for each host of "names", the rest as a number. */
static void print_host_names(const json_t *hosts, const char *before)
{
    const json_t *names = json_object_get(hosts, "names");
    int64_t left = json_get_int(hosts, "not_renewed", 0);
    size_t index;
    json_t *host;
    json_array_foreach (names, index, host) {
        if (index == HOSTS_SHOWN)
            break;
        (void)printf("%s", before);
        output_safe(json_get_text(host, "hostname", ""));
        (void)printf(" (%s%s)\n", json_get_bool(host, "online", false) ? "" : "offline, ",
                     json_get_text(host, "id", ""));
    }
    if (left > (int64_t)index)
        (void)printf("%sand %lld more\n", before, (long long)(left - (int64_t)index));
}

/* Where a rotation stands with the hosts. */
static void print_hosts(const json_t *hosts)
{
    int64_t left = json_get_int(hosts, "not_renewed", 0), total = json_get_int(hosts, "total", 0);
    if (!hosts)
        return;
    if (left == 0) {
        (void)printf("%-12s all %lld hosts have renewed their certificates\n", "", (long long)total);
        return;
    }
    (void)printf("%-12s %lld of %lld hosts have not renewed their certificates yet:\n", "", (long long)left,
                 (long long)total);
    print_host_names(hosts, "               ");
}

/* The phase, or outside of a rotation when the last one ended. */
static void print_state(const json_t *ca)
{
    const char *state = json_get_text(ca, "state", ""), *rotated = json_get_text(ca, "rotated", NULL);
    char *when = rotated ? output_time(rotated) : NULL;
    if (when)
        (void)printf("rotated ");
    output_safe(strcmp(state, "standby") != 0 ? state : when ? when : "never updated");
    (void)printf("%s\n", when ? " UTC" : "");
    mem_free(when);
}

enum tp_err tportctl_status(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    const char *format;
    json_t *status = NULL, *item;
    size_t index;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tportctl_call(line, "cluster.status", json_object(), &status, error);
    if (err == TP_OK && strcmp(format, "json") == 0) {
        output_json(status);
    } else if (err == TP_OK && strcmp(format, "yaml") == 0) {
        output_yaml(status, false);
    } else if (err == TP_OK) {
        (void)printf("%-12s ", "Cluster:");
        output_safe(json_get_text(status, "cluster_name", ""));
        (void)printf("\n%-12s ", "Version:");
        output_safe(json_get_text(status, "version", ""));
        (void)printf("\n");
        json_array_foreach (json_object_get(status, "cas"), index, item) {
            char *title = mem_printf("%s CA:", json_get_text(item, "type", ""));
            if (strcmp(json_get_text(item, "keys", ""), "new") == 0) {
                mem_free(title);
                continue; /* the second set of a rotation; auth ls shows it */
            }
            (void)printf("%-12s ", title);
            print_state(item);
            mem_free(title);
            print_hosts(json_object_get(item, "hosts"));
        }
        json_array_foreach (json_object_get(status, "ca_pins"), index, item) {
            (void)printf("%-12s ", "CA pin:");
            output_safe(json_is_string(item) ? json_string_value(item) : "");
            (void)printf("\n");
        }
    }
    json_decref(status);
    return err;
}

/* Who must come along before the next phase, and who was left behind in this one. */
static void print_rotated(const json_t *result)
{
    const json_t *hosts = json_object_get(result, "hosts"), *behind = json_object_get(result, "hosts_left");
    if (behind) {
        (void)printf("Left behind, as you forced it; these hosts must join anew with a new token:\n");
        print_host_names(behind, "  ");
    }
    if (json_get_int(hosts, "total", 0) > 0)
        (void)printf("%lld hosts renew their certificates now; wait with the next phase until all have\n",
                     (long long)json_get_int(hosts, "total", 0));
}

enum tp_err tportctl_auth_rotate(struct command_line *line, struct tp_error *error)
{
    const char *type = command_text(line, "type", NULL), *phase = command_text(line, "phase", NULL);
    json_t *params = json_object(), *result = NULL;
    int64_t grace = 0;

    enum tp_err err = command_duration_ms(line, "grace-period", 0, &grace, error);
    if (err == TP_OK && !type)
        err = err_set(error, TP_INVALID, "which CA? Give --type=user, host, app or db");
    if (type)
        (void)json_object_set_new(params, "type", json_string(type));
    if (phase)
        (void)json_object_set_new(params, "phase", json_string(phase));
    if (grace > 0)
        (void)json_object_set_new(params, "grace_period", json_integer(grace));
    (void)json_object_set_new(params, "manual", json_boolean(command_flag(line, "manual")));
    if (command_flag(line, "force"))
        (void)json_object_set_new(params, "force", json_true());
    if (err == TP_OK)
        err = tportctl_call(line, "ca.rotate", json_incref(params), &result, error);
    if (err == TP_OK) {
        (void)printf("Updated rotation phase of the ");
        output_safe(json_get_text(result, "type", ""));
        (void)printf(" CA to \"");
        output_safe(json_get_text(result, "phase", ""));
        (void)printf("\". To check status use \"tportctl status\"\n");
        print_rotated(result);
    }
    json_decref(params);
    json_decref(result);
    return err;
}

enum tp_err tportctl_auth_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    const char *format;
    json_t *status = NULL;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tportctl_call(line, "cluster.status", json_object(), &status, error);
    if (err == TP_OK && strcmp(format, "json") == 0)
        output_json(json_object_get(status, "cas"));
    else if (err == TP_OK && strcmp(format, "yaml") == 0)
        output_yaml(json_object_get(status, "cas"), false);
    else if (err == TP_OK)
        print_cas(status);
    json_decref(status);
    return err;
}

/* What auth export prints: all keys, or the one with a fingerprint. */
struct export
{
    const char *fingerprint; /* NULL: all */
    size_t printed;
};

/* The fingerprint of a line of authorized_keys form, as ssh-keygen -l says it. mem_free it; NULL: not such a line. */
static char *ssh_fingerprint(const char *line)
{
    const char *blob = strchr(line, ' ');
    struct buf raw;
    uint8_t hash[32];
    char *text = NULL;
    buf_init(&raw, PEM_MAX);
    blob = blob ? blob + 1 : line;
    if (dec_base64(blob, strcspn(blob, " \n"), &raw) == TP_OK) {
        crypt_sha256(buf_head(&raw), buf_size(&raw), hash);
        char *base64 = enc_base64(hash, sizeof(hash));
        text = mem_printf("SHA256:%.*s", (int)strcspn(base64, "="), base64);
        mem_free(base64);
    }
    buf_free(&raw);
    return text;
}

/* Takes the fingerprint, which may be NULL. */
static bool export_wants(struct export *export, char *fingerprint)
{
    bool wanted = !export->fingerprint || (fingerprint && strcmp(export->fingerprint, fingerprint) == 0);
    export->printed += wanted;
    mem_free(fingerprint);
    return wanted;
}

static void export_host(const json_t *cas, struct export *export)
{
    size_t index, inner;
    json_t *signer, *item;
    json_array_foreach (json_object_get(cas, "host_signers"), index, signer) {
        json_array_foreach (json_object_get(signer, "checking_keys"), inner, item) {
            const char *key = json_is_string(item) ? json_string_value(item) : "";
            if (!export_wants(export, ssh_fingerprint(key)))
                continue;
            char *text = mem_printf("@cert-authority *.%s %s type=host", json_get_text(signer, "domain_name", ""), key);
            output_safe(text);
            (void)printf("\n");
            mem_free(text);
        }
    }
}

static void export_user(const json_t *cas, struct export *export)
{
    size_t index;
    json_t *item;
    json_array_foreach (json_object_get(cas, "user_ca_ssh"), index, item) {
        const char *key = json_is_string(item) ? json_string_value(item) : "";
        if (!export_wants(export, ssh_fingerprint(key)))
            continue;
        char *text = mem_printf("cert-authority %s", key);
        output_safe(text);
        (void)printf(" type=user\n");
        mem_free(text);
    }
}

/* Adds a certificate, PEM or base64 of PEM, when it is wanted: its fingerprint is the pin that status shows. */
static enum tp_err export_pem(const char *text, struct export *export, struct buf *pem, struct tp_error *error)
{
    struct buf one;
    char *pin = NULL;
    buf_init(&one, PEM_MAX);
    enum tp_err err =
        strncmp(text, "-----", 5) == 0 ? buf_append_text(&one, text) : dec_base64(text, strlen(text), &one);
    if (err != TP_OK)
        err = err_set(error, TP_PROTOCOL, "the CA came in a form that can't be read");
    if (err == TP_OK)
        err = x509_pin(buf_text(&one), &pin, error);
    if (err == TP_OK && export_wants(export, pin))
        err = buf_append_text(pem, buf_text(&one));
    buf_free(&one);
    return err;
}

/* The X.509 CA that stands there: "host_signers", "user_ca_tls" or "db_ca_tls". */
static enum tp_err export_tls(const json_t *cas, const char *member, bool der, struct export *export,
                              struct tp_error *error)
{
    struct buf pem, raw;
    size_t index, inner;
    json_t *signer, *item;
    enum tp_err err = TP_OK;

    buf_init(&pem, PEM_MAX);
    buf_init(&raw, PEM_MAX);
    json_array_foreach (json_object_get(cas, member), index, signer) {
        if (err == TP_OK && json_is_string(signer))
            err = export_pem(json_string_value(signer), export, &pem, error);
        json_array_foreach (json_object_get(signer, "tls_certs"), inner, item)
            err = err == TP_OK ? export_pem(json_is_string(item) ? json_string_value(item) : "", export, &pem, error)
                               : err;
    }
    if (err == TP_OK && der && buf_size(&pem) > 0) {
        err = x509_pem_to_der(buf_text(&pem), buf_size(&pem), &raw, error);
        if (err == TP_OK)
            (void)fwrite(buf_head(&raw), 1, buf_size(&raw), stdout);
    } else if (err == TP_OK) {
        (void)fputs(buf_text(&pem), stdout);
    }
    buf_free(&pem);
    buf_free(&raw);
    return err;
}

/* Types of certificates. One CA signs for databases and for who connects to them, so db-client is db. */
static const struct {
    const char *type;
    const char *member;
    bool der;
} tls_types[] = {
    {"tls-host", "host_signers", false}, {"tls-user", "user_ca_tls", false},  {"tls-user-der", "user_ca_tls", true},
    {"windows", "user_ca_tls", true},    {"db", "db_ca_tls", false},          {"db-der", "db_ca_tls", true},
    {"db-client", "db_ca_tls", false},   {"db-client-der", "db_ca_tls", true}};

/* CAs that other clusters have and this one does not, with the way out. */
static const struct {
    const char *type;
    const char *why;
} absent_types[] = {
    {"openssh",
     "hosts are reached by agents here, and no CA is kept for sshd without one; to let people's certificates "
     "into sshd, give it the key of --type=user as TrustedUserCAKeys"},
    {"github", "there is no CA for GitHub here: git does not pass through this cluster"},
    {"saml-idp", "there is no CA for SAML here: this cluster is no identity provider for other services"}};

static enum tp_err export_type(const struct command_line *line, const char **ret_type, struct tp_error *error)
{
    static const char *const types[] = {"",   "user",   "host",      "tls-user",      "tls-host", "tls-user-der",
                                        "db", "db-der", "db-client", "db-client-der", "windows",  NULL};
    const char *given = command_text(line, "type", "");
    for (size_t i = 0; i < sizeof(absent_types) / sizeof(absent_types[0]); i++)
        if (strcmp(given, absent_types[i].type) == 0)
            return err_set(error, TP_INVALID, "--type=%s: %s", given, absent_types[i].why);
    return command_choice(line, "type", types, ret_type, error);
}

enum tp_err tportctl_auth_export(struct command_line *line, struct tp_error *error)
{
    struct export export = {.fingerprint = command_text(line, "fingerprint", NULL)};
    const char *type;
    json_t *cas = NULL;
    size_t at = 0;

    enum tp_err err = export_type(line, &type, error);
    if (err == TP_OK)
        err = tportctl_call(line, "cluster.cas", json_object(), &cas, error);
    if (err != TP_OK)
        return err;
    while (at < sizeof(tls_types) / sizeof(tls_types[0]) && strcmp(tls_types[at].type, type) != 0)
        at++;
    if (at < sizeof(tls_types) / sizeof(tls_types[0])) {
        err = export_tls(cas, tls_types[at].member, tls_types[at].der, &export, error);
    } else {
        if (strcmp(type, "host") != 0)
            export_user(cas, &export);
        if (strcmp(type, "user") != 0)
            export_host(cas, &export);
    }
    if (err == TP_OK && export.fingerprint && export.printed == 0)
        err =
            err_set(error, TP_NOT_FOUND,
                    "no CA of this type has the fingerprint %s; those of X.509 (sha256:...) are in `tportctl auth ls`, "
                    "those of SSH (SHA256:...) ssh-keygen -l says",
                    export.fingerprint);
    json_decref(cas);
    return err;
}

enum tp_err tportctl_lock(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", NULL};
    /* The cluster refuses those that it knows nobody by. */
    static const char *const fields[][2] = {{"user", "user"},
                                            {"role", "role"},
                                            {"login", "login"},
                                            {"node", "node"},
                                            {"server-id", "server_id"},
                                            {"mfa-device", "mfa_device"},
                                            {"windows-desktop", "windows_desktop"},
                                            {"access-request", "access_request"},
                                            {"device", "device"}};
    json_t *target = json_object(), *params = json_object(), *result = NULL;
    const char *message = command_text(line, "message", NULL), *expires = command_text(line, "expires", NULL);
    const char *format;
    int64_t ttl = 0, until;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *value = command_text(line, fields[i][0], NULL);
        if (value)
            (void)json_object_set_new(target, fields[i][1], json_string(value));
    }
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK && json_object_size(target) == 0)
        err = err_set(error, TP_INVALID, "whom? Give --user, --role, --login, --node or --mfa-device");
    if (err == TP_OK)
        err = command_duration_ms(line, "ttl", 0, &ttl, error);
    if (err == TP_OK && ttl > 0 && expires)
        err = err_set(error, TP_INVALID, "--ttl and --expires exclude each other");
    if (err == TP_OK && expires && clock_parse_ms(expires, &until) != TP_OK)
        err = err_set(error, TP_INVALID, "--expires=%s: a time such as 2026-12-31T18:00:00Z is needed", expires);
    if (err == TP_OK) {
        char text[CLOCK_TEXT_SIZE];
        (void)json_object_set(params, "target", target);
        if (message)
            (void)json_object_set_new(params, "message", json_string(message));
        if (ttl > 0)
            until = clock_wall_ms() + ttl;
        if (ttl > 0 || expires) {
            clock_format_ms(until, text);
            (void)json_object_set_new(params, "expires", json_string(text));
        }
        err = tportctl_call(line, "locks.add", json_incref(params), &result, error);
    }
    if (err == TP_OK && strcmp(format, "json") == 0) {
        output_json(result);
    } else if (err == TP_OK) {
        (void)printf("Created a lock with name \"");
        output_safe(json_get_text(result, "name", ""));
        (void)printf("\".\n");
        tportctl_warn(result);
    }
    json_decref(target);
    json_decref(params);
    json_decref(result);
    return err;
}
