/* What spans several keys, what is computed, and files that keys name. */
#include "base/mem.h"
#include "core/conf_inner.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SMALL_FILE 4096 /* a file with a token or pins */
#define WORKERS_MAX 64

void conf_fill(struct conf *conf)
{
    if (conf->nodename[0] == '\0') {
        char name[256];
        if (gethostname(name, sizeof(name)) == 0 && memchr(name, 0, sizeof(name)) && name[0]) {
            mem_free(conf->nodename);
            conf->nodename = mem_strdup(name);
        }
    }
    if (conf->cluster_name[0] == '\0') {
        mem_free(conf->cluster_name);
        conf->cluster_name = mem_strdup(conf->nodename);
    }
    if (conf->workers == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        conf->workers = cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : cores;
    }
    if (conf->proxy_protocol[0] == '\0') {
        mem_free(conf->proxy_protocol);
        conf->proxy_protocol = mem_strdup(conf->proxy_protocol_trusted.count > 0 ? "on" : "off");
    }
}

/* A slip of the unit (m for months) must not cost a year's record. */
static void check_retention(struct conf_reader *reader)
{
    const struct {
        const char *key;
        int64_t ms;
    } ages[] = {{"events_max_age", reader->conf->events_max_age},
                {"recordings_max_age", reader->conf->recordings_max_age}};
    for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
        if (ages[i].ms != 0 && ages[i].ms < (int64_t)24 * 3600 * 1000)
            conf_error_add(reader, 0, "auth_service.retention.%s must be at least 24h, or 0s to keep everything",
                           ages[i].key);
        if (ages[i].ms != 0 && ages[i].ms < reader->conf->retention_min_age)
            conf_error_add(reader, 0, "auth_service.retention.min_age must not be longer than %s", ages[i].key);
    }
}

static bool name_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > 253 || !isalnum((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
            return false;
    }
    return true;
}

static void check_services(struct conf_reader *reader)
{
    struct conf *conf = reader->conf;
    bool elsewhere = conf->proxy_server[0] != '\0' || conf->auth_servers.count > 0;
    if (elsewhere && !reader->seen_auth_enabled)
        conf->auth_enabled = false;
    if (elsewhere && !reader->seen_proxy_enabled)
        conf->proxy_enabled = false;
    if (!conf->auth_enabled && !reader->seen_proxy_enabled)
        conf->proxy_enabled = false;
    if (conf->proxy_server[0] != '\0' && (conf->auth_enabled || conf->proxy_enabled))
        conf_error_add(reader, 0,
                       "tport.proxy_server names a cluster elsewhere, so auth_service and proxy_service must be off; "
                       "write enabled: no in both");
    if (conf->proxy_enabled && !conf->auth_enabled)
        conf_error_add(reader, 0, "proxy_service needs auth_service on the same machine in this version");
    if (!conf->auth_enabled && !conf->proxy_enabled && !conf->ssh_enabled && !conf->kube_enabled)
        conf_error_add(reader, 0,
                       "no service is switched on; write enabled: yes in auth_service, proxy_service, ssh_service or "
                       "kubernetes_service");
    else if (conf->ssh_enabled && !conf->auth_enabled && !elsewhere)
        conf_error_add(reader, 0, "ssh_service does not know its cluster; write tport.proxy_server: HOST:PORT");
    else if (conf->kube_enabled && !conf->auth_enabled && !elsewhere)
        conf_error_add(reader, 0, "kubernetes_service does not know its cluster; write tport.proxy_server: HOST:PORT");
}

static void check_kube(struct conf_reader *reader)
{
    const struct conf *conf = reader->conf;
    if (conf->kubeconfig_file[0] != '\0' && conf->kubeconfig_file[0] != '/')
        conf_error_add(reader, reader->line_kubeconfig,
                       "kubernetes_service.kubeconfig_file must be an absolute path, not \"%.80s\"",
                       conf->kubeconfig_file);
    if (conf->kubeconfig_file[0] != '\0' && conf->kube_cluster_name[0] != '\0')
        conf_error_add(reader, reader->line_kube_name,
                       "kubernetes_service.kube_cluster_name names the cluster that tportd runs in, "
                       "kubeconfig_file brings its own names; remove one of them");
    if (conf->kube_cluster_name[0] != '\0' && !conf_kube_name_valid(conf->kube_cluster_name))
        conf_error_add(reader, reader->line_kube_name,
                       "kubernetes_service.kube_cluster_name \"%.80s\" must be letters, digits and . _ - : / @ +, at "
                       "most %d bytes",
                       conf->kube_cluster_name, CONF_KUBE_NAME_MAX);
}

/* Not an error: Teleport takes such files, too. */
static void check_labels(struct conf_reader *reader, const char *section, const struct conf_labels *labels,
                         const struct conf_commands *commands)
{
    for (size_t i = 0; i < labels->count; i++) {
        for (size_t j = 0; j < commands->count; j++) {
            if (strcmp(labels->items[i].name, commands->items[j].name) == 0)
                conf_warning_add(
                    reader, 0,
                    "%s has the label \"%s\" twice: what the command of that name prints counts, the value "
                    "under labels never does; remove one of them",
                    section, labels->items[i].name);
        }
    }
}

/* sha256: and the hash of a CA's key in hex, as tportctl status prints it; the case is free. */
static bool pin_valid(const char *pin)
{
    return strncmp(pin, "sha256:", 7) == 0 && strlen(pin) == 7 + 64 && strspn(pin + 7, "0123456789abcdefABCDEF") == 64;
}

static void check_texts(struct conf_reader *reader)
{
    const struct conf *conf = reader->conf;
    if (conf->data_dir[0] != '/')
        conf_error_add(reader, 0, "tport.data_dir must be an absolute path, not \"%s\"", conf->data_dir);
    if (conf->secrets_key_file[0] != '\0' && conf->secrets_key_file[0] != '/')
        conf_error_add(reader, 0, "auth_service.secrets_key_file must be an absolute path, not \"%s\"",
                       conf->secrets_key_file);
    if (conf->pid_file[0] != '\0' && conf->pid_file[0] != '/')
        conf_error_add(reader, 0, "tport.pid_file must be an absolute path, not \"%s\"", conf->pid_file);
    if (conf->log_output[0] != '/' && strcmp(conf->log_output, "stderr") != 0 &&
        strcmp(conf->log_output, "stdout") != 0)
        conf_error_add(reader, 0, "tport.log.output must be stderr, stdout or an absolute path, not \"%s\"",
                       conf->log_output);
    if (!name_valid(conf->nodename))
        conf_error_add(reader, 0, "tport.nodename \"%s\" is no host name (letters, digits, dots, - and _)",
                       conf->nodename);
    if (conf->auth_enabled && !name_valid(conf->cluster_name))
        conf_error_add(reader, 0, "auth_service.cluster_name \"%s\" is no domain name", conf->cluster_name);
    if (conf->workers > WORKERS_MAX)
        conf_error_add(reader, 0, "tport.processes.workers must be 1 to %d", WORKERS_MAX);
    if (strcmp(conf->proxy_protocol, "on") == 0 && conf->proxy_protocol_trusted.count == 0)
        conf_error_add(reader, 0,
                       "proxy_service.proxy_protocol is on, but proxy_protocol_trusted does not say which load "
                       "balancers may send the header");
    if (conf->default_session_ttl < 60000)
        conf_error_add(reader, 0, "auth_service.authentication.default_session_ttl must be at least 1m");
    for (size_t i = 0; i < conf->ca_pin.count; i++) {
        const char *pin = conf->ca_pin.items[i];
        if (pin[0] != '/' && !pin_valid(pin))
            conf_error_add(reader, 0,
                           "tport.ca_pin must be sha256: with 64 hex digits (tportctl status prints it) or an absolute "
                           "path, not \"%.80s\"",
                           pin);
    }
    for (size_t i = 0; i < conf->tokens.count; i++) {
        const char *colon = strchr(conf->tokens.items[i], ':');
        if (!colon || colon == conf->tokens.items[i] || colon[1] == '\0')
            conf_error_add(reader, 0, "item %zu of auth_service.tokens must be ROLE:TOKEN or ROLE:/path/of/file",
                           i + 1);
    }
}

void conf_check_all(struct conf_reader *reader)
{
    conf_fill(reader->conf);
    check_services(reader);
    check_kube(reader);
    check_retention(reader);
    check_texts(reader);
    check_labels(reader, "ssh_service", &reader->conf->labels, &reader->conf->commands);
    check_labels(reader, "kubernetes_service", &reader->conf->kube_labels, &reader->conf->kube_commands);
}

/* A small file without the white space at its end. */
static enum tp_err read_small(const char *path, char **ret_text, struct tp_error *error)
{
    char text[SMALL_FILE + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size;
    enum tp_err err = TP_OK;
    if (fd < 0)
        return err_errno(error, errno, "cannot open %s", path);
    size = read(fd, text, sizeof(text));
    if (size < 0)
        err = err_errno(error, errno, "cannot read %s", path);
    else if (size > SMALL_FILE || memchr(text, 0, (size_t)size))
        err = err_set(error, TP_INVALID, "%s is no small text file", path);
    (void)close(fd);
    if (err == TP_OK) {
        while (size > 0 && isspace((unsigned char)text[size - 1]))
            size--;
        *ret_text = mem_strndup(text, (size_t)size);
    }
    secret_wipe(text, sizeof(text));
    return err;
}

enum tp_err conf_token(const struct conf *conf, char **ret_token, struct tp_error *error)
{
    const char *token = conf->join_token[0] != '\0' ? conf->join_token : conf->auth_token;
    enum tp_err err;
    if (token[0] == '\0')
        return err_set(error, TP_NOT_FOUND, "no join token: write tport.auth_token, or a file's path there");
    if (token[0] != '/') {
        *ret_token = mem_strdup(token);
        return TP_OK;
    }
    err = read_small(token, ret_token, error);
    if (err == TP_OK && (*ret_token)[0] == '\0') {
        mem_free(*ret_token);
        *ret_token = NULL;
        return err_set(error, TP_NOT_FOUND, "the token file %s is empty", token);
    }
    return err;
}

static enum tp_err add_pin(struct conf_list *pins, const char *pin, size_t length, struct tp_error *error)
{
    char *copy = mem_strndup(pin, length);
    bool good = pin_valid(copy);
    enum tp_err err =
        good ? TP_OK : err_set(error, TP_INVALID, "\"%.80s\" is no pin: it must be sha256: and 64 hex digits", copy);
    if (good)
        conf_list_add(pins, copy);
    mem_free(copy);
    return err;
}

enum tp_err conf_ca_pins(const struct conf *conf, struct conf_list *ret_pins, struct tp_error *error)
{
    struct conf_list pins = {0};
    enum tp_err err = TP_OK;
    for (size_t i = 0; i < conf->ca_pin.count && err == TP_OK; i++) {
        const char *item = conf->ca_pin.items[i];
        char *text = NULL;
        if (item[0] != '/') {
            err = add_pin(&pins, item, strlen(item), error);
            continue;
        }
        err = read_small(item, &text, error);
        for (char *at = text; err == TP_OK && at && *at;) {
            size_t length = strcspn(at, " \t\r\n");
            if (length > 0)
                err = add_pin(&pins, at, length, error);
            at += length + (at[length] != '\0');
        }
        mem_free(text);
    }
    if (err != TP_OK) {
        conf_list_free(&pins);
        return err;
    }
    *ret_pins = pins;
    return TP_OK;
}
