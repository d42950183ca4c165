#include "bin/plan.h"

#include "base/buf.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "bin/kube_look.h"
#include "crypt/key.h"
#include "crypt/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef TPORT_VERSION
#endif
#define PEM_LIMIT ((size_t)256 * 1024)

static enum tp_err read_pem(const char *path, char **ret_text, struct tp_error *error)
{
    struct buf text;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 1;
    if (fd < 0)
        return err_errno(error, errno, "can't read %s", path);
    buf_init(&text, PEM_LIMIT);
    while (got > 0) {
        uint8_t *to = buf_reserve(&text, 8192);
        got = to ? read(fd, to, 8192) : -1;
        if (got > 0)
            buf_commit(&text, (size_t)got);
    }
    (void)close(fd);
    if (got < 0) {
        buf_wipe(&text);
        return err_set(error, TP_INVALID, "%s is no PEM file of at most %zu bytes", path, PEM_LIMIT);
    }
    *ret_text = buf_take(&text);
    return TP_OK;
}

static enum tp_err keypairs(const struct conf *conf, json_t **ret_list, struct tp_error *error)
{
    json_t *list = json_array();
    for (size_t i = 0; i < conf->https_keypairs.count; i++) {
        char *cert = NULL;
        char *key = NULL;
        enum tp_err err = read_pem(conf->https_keypairs.items[i].cert_file, &cert, error);
        if (err == TP_OK)
            err = read_pem(conf->https_keypairs.items[i].key_file, &key, error);
        if (err == TP_OK && !strstr(cert, "-----BEGIN CERTIFICATE-----"))
            err = err_set(error, TP_INVALID, "%s holds no PEM certificate", conf->https_keypairs.items[i].cert_file);
        if (err == TP_OK && !strstr(key, "PRIVATE KEY-----"))
            err = err_set(error, TP_INVALID, "%s holds no PEM private key", conf->https_keypairs.items[i].key_file);
        if (err == TP_OK)
            (void)json_array_append_new(list, json_pack("{s:s, s:s}", "cert", cert, "key", key));
        mem_free(cert);
        secret_free(key);
        if (err != TP_OK) {
            json_decref(list);
            return err;
        }
    }
    *ret_list = list;
    return TP_OK;
}

static json_t *texts(const struct conf_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(array, json_string(list->items[i]));
    return array;
}

/* public_addr without a port means the port that is listened on. */
static json_t *public_addresses(const struct conf *conf)
{
    json_t *array = json_array();
    char *host = NULL;
    uint16_t listen_port = 443;
    if (conf_addr_split(conf->web_listen_addr, 443, &host, &listen_port) == TP_OK)
        mem_free(host);
    for (size_t i = 0; i < conf->public_addr.count; i++) {
        uint16_t port = listen_port;
        if (conf_addr_split(conf->public_addr.items[i], listen_port, &host, &port) != TP_OK)
            continue;
        (void)json_array_append_new(array, json_sprintf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, (unsigned)port));
        mem_free(host);
    }
    if (json_array_size(array) == 0)
        (void)json_array_append_new(array, json_sprintf("%s:%u", conf->nodename, (unsigned)listen_port));
    return array;
}

static json_t *log_settings(const struct conf *conf)
{
    return json_pack("{s:s, s:b}", "level", conf->log_severity, "json", strcmp(conf->log_format, "json") == 0);
}

/* The path of a program that stands beside tportd. */
static char *beside(const char *name)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash;
    if (length <= 0)
        return mem_strdup(name);
    path[length] = 0;
    slash = strrchr(path, '/');
    if (slash)
        *slash = 0;
    return mem_printf("%s/%s", path, name);
}

/* Size and SHA-256 (hex) of a plain file. */
static enum tp_err hash_file(int fd, int64_t *ret_size, char **ret_sha256)
{
    struct crypt_sha256_stream *hash;
    struct stat info;
    uint8_t piece[65536];
    uint8_t digest[32];
    int64_t size = 0;
    ssize_t got;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return TP_INVALID;
    hash = crypt_sha256_new();
    while ((got = pread(fd, piece, sizeof(piece), size)) > 0) {
        crypt_sha256_add(hash, piece, (size_t)got);
        size += got;
    }
    crypt_sha256_finish(hash, digest);
    *ret_size = size;
    *ret_sha256 = enc_hex(digest, sizeof(digest));
    return got == 0 && size > 0 ? TP_OK : TP_IO;
}

static void agent_plan(const struct conf *conf, const json_t *public_addr, struct master_plan *plan)
{
    char *session = beside("tport-session");
    json_t *json = conf_to_json(conf, CONF_AGENT);
    plan->agent =
        json_pack("{s:o, s:s, s:s, s:s, s:s, s:b, s:o, s:s}", "conf", json, "data_dir", conf->data_dir, "session_path",
                  session, "session_user", geteuid() == 0 ? conf->session_user : "", "cluster_name", conf->cluster_name,
                  "local_auth", (int)conf->auth_enabled, "log", log_settings(conf), "version", TPORT_VERSION);
    /* Beside the proxy the agent dials what people dial. */
    if (!*conf->proxy_server && conf->proxy_enabled)
        (void)json_object_set_new(plan->agent, "proxy_addr", json_incref(json_array_get(public_addr, 0)));
    else
        (void)json_object_set_new(plan->agent, "proxy_addr", json_string(conf->proxy_server));
    mem_free(session);
}

static enum tp_err fill(const struct conf *conf, struct master_plan *plan, struct tp_error *error)
{
    json_t *public_addr = public_addresses(conf);
    enum tp_err err = TP_OK;

    plan->data_dir = mem_strdup(conf->data_dir);
    plan->pid_file = *conf->pid_file ? mem_strdup(conf->pid_file) : mem_printf("%s/tportd.pid", conf->data_dir);
    if (strcmp(conf->log_output, "stderr") != 0 && strcmp(conf->log_output, "stdout") != 0)
        plan->log_file = mem_strdup(conf->log_output);
    plan->log_level = mem_strdup(conf->log_severity);
    plan->log_json = strcmp(conf->log_format, "json") == 0;
    plan->auth_user = mem_strdup(conf->auth_user);
    plan->worker_user = mem_strdup(conf->worker_user);
    /* People's shells need root; Kubernetes does not. */
    plan->agent_user = mem_strdup(conf->ssh_enabled ? "" : conf->agent_user);
    plan->listen = json_array();
    plan->watched = json_array();
    for (size_t i = 0; i < conf->https_keypairs.count; i++) {
        (void)json_array_append_new(plan->watched, json_string(conf->https_keypairs.items[i].cert_file));
        (void)json_array_append_new(plan->watched, json_string(conf->https_keypairs.items[i].key_file));
    }
    if (conf->auth_enabled) {
        json_t *options = json_pack("{s:I, s:I, s:b, s:s, s:s, s:s, s:s, s:b, s:o, s:s}", "default_session_ttl",
                                    (json_int_t)conf->default_session_ttl, "client_idle_timeout",
                                    (json_int_t)conf->client_idle_timeout, "disconnect_expired_cert",
                                    (int)conf->disconnect_expired_cert, "message_of_the_day", conf->message_of_the_day,
                                    "session_recording", conf->session_recording, "locking_mode", conf->locking_mode,
                                    "second_factor", conf->second_factor, "local_auth", (int)conf->local_auth, "tokens",
                                    texts(&conf->tokens), "secrets_key_file", conf->secrets_key_file);
        if (*conf->secrets_key_file)
            plan->auth_key_file = mem_strdup(conf->secrets_key_file);
        (void)json_object_set_new(options, "require_session_mfa", json_boolean(conf->require_session_mfa));
        (void)json_object_set_new(options, "web_idle_timeout", json_integer((json_int_t)conf->web_idle_timeout));
        (void)json_object_set_new(options, "announce_watchers", json_boolean(conf->announce_watchers));
        (void)json_object_set_new(
            options, "retention",
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "events_max_age", (json_int_t)conf->events_max_age,
                      "events_max_size", (json_int_t)conf->events_max_size, "recordings_max_age",
                      (json_int_t)conf->recordings_max_age, "recordings_max_size",
                      (json_int_t)conf->recordings_max_size, "min_age", (json_int_t)conf->retention_min_age));
        plan->auth = json_pack("{s:s, s:s, s:O, s:s, s:i, s:o, s:o}", "cluster_name", conf->cluster_name, "data_dir",
                               conf->data_dir, "public_addr", public_addr, "version", TPORT_VERSION, "admin_uid",
                               (int)geteuid(), "log", log_settings(conf), "auth", options);
    }
    if (conf->proxy_enabled) {
        json_t *pairs = NULL;
        err = keypairs(conf, &pairs, error);
        if (err == TP_OK) {
            (void)json_array_append_new(plan->listen, json_string(conf->web_listen_addr));
            plan->worker_count = (size_t)conf->workers;
            plan->worker =
                json_pack("{s:i, s:s, s:O, s:O, s:o, s:s, s:o, s:s, s:o}", "workers", (int)conf->workers,
                          "cluster_name", conf->cluster_name, "public_addr", public_addr, "listen", plan->listen,
                          "keypairs", pairs, "proxy_protocol", conf->proxy_protocol, "proxy_protocol_trusted",
                          texts(&conf->proxy_protocol_trusted), "version", TPORT_VERSION, "log", log_settings(conf));
        }
    }
    if (err == TP_OK && (conf->ssh_enabled || conf->kube_enabled))
        agent_plan(conf, public_addr, plan);
    json_decref(public_addr);
    if (err == TP_OK && conf->proxy_enabled && !conf->auth_enabled)
        return err_set(
            error, TP_INVALID,
            "proxy_service without auth_service on the same machine is not supported by this version: enable both");
    return err;
}

/* What hosts that join download from the workers: the programs that stand beside this one, as they are now. */
static void open_programs(struct master_plan *plan)
{
    static const char *const names[MASTER_FILES_MAX] = {"tportd", "tport-session", "tport", "tportctl"};
    for (size_t i = 0; i < MASTER_FILES_MAX; i++) {
        char *path = beside(names[i]);
        struct master_file *file = &plan->files[plan->file_count];
        file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (file->fd >= 0 && hash_file(file->fd, &file->size, &file->sha256) != TP_OK) {
            (void)close(file->fd);
            file->fd = -1;
        }
        if (file->fd < 0) {
            log_warn("hosts that join can't download this program from here", "path=\"%s\"", path);
        } else {
            file->name = mem_strdup(names[i]);
            plan->file_count++;
        }
        mem_free(path);
    }
}

enum tp_err plan_load(const char *path, struct master_plan *ret_plan, struct tp_error *error)
{
    struct conf *conf = NULL;
    struct conf_report report = {0};
    enum tp_err err = conf_load(path, &conf, &report, error);
    if (err != TP_OK && report.errors.count > 1)
        err_prefix(error, "%zu errors (tportd -t -c %s lists them), the first", report.errors.count, path);
    conf_report_free(&report);
    if (err != TP_OK)
        return err;
    err = fill(conf, ret_plan, error);
    if (err == TP_OK && conf->proxy_enabled)
        open_programs(ret_plan);
    conf_free(conf);
    if (err != TP_OK)
        master_plan_free(ret_plan);
    return err;
}

int plan_test(const char *path)
{
    struct conf *conf = NULL;
    struct conf_report report = {0};
    struct master_plan plan = {0};
    struct tp_error error = {0};
    enum tp_err err = conf_load(path, &conf, &report, &error);
    for (size_t i = 0; i < report.warnings.count; i++)
        (void)fprintf(stderr, "warning: %s\n", report.warnings.items[i]);
    for (size_t i = 0; i < report.errors.count; i++) {
        const char *item = report.errors.items[i];
        /* FILE:LINE: ... is read by editors; what is not in the file is said as anything else. */
        (void)fprintf(stderr, "%s%s\n", strncmp(item, path, strlen(path)) == 0 ? "" : "tportd: ", item);
    }
    if (err != TP_OK && report.errors.count == 0)
        (void)fprintf(stderr, "tportd: %s\n", error.text);
    conf_report_free(&report);
    if (err == TP_OK) {
        err = fill(conf, &plan, &error);
        if (err != TP_OK)
            (void)fprintf(stderr, "%s: %s\n", path, error.text);
        else if ((err = kube_look(conf, &error)) != TP_OK)
            (void)fprintf(stderr, "tportd: no Kubernetes cluster could be served: %s\n", error.text);
        master_plan_free(&plan);
    }
    conf_free(conf);
    if (err == TP_OK)
        (void)fprintf(stderr, "%s is good\n", path);
    return err == TP_OK ? 0 : 1;
}
