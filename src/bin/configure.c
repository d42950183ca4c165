/* The file is built as JSON, written as YAML, and read back by the daemon's own reader before it goes anywhere. */
#include "bin/configure.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/node.h"
#include "core/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };

struct wish {
    bool node_only; /* "node configure" */
    const char *cluster_name;
    const char *public_addr;
    const char *cert_file;
    const char *key_file;
    const char *data_dir;
    const char *roles;
    const char *token;
    const char *proxy;
    const char *ca_pin;
    const char *labels;
    const char *node_name;
    const char *kube_cluster_name;
    const char *kubeconfig_file;
    const char *output;
    const char *test;
    bool auth;
    bool gate;
    bool ssh;
    bool kube;
};

static int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("tportd: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return EXIT_FAILED;
}

static void put_text(json_t *object, const char *key, const char *text)
{
    (void)json_object_set_new(object, key, json_string(text));
}

static void put_enabled(json_t *service, bool enabled)
{
    (void)json_object_set_new(service, "enabled", json_boolean(enabled));
}

static json_t *section(json_t *root, const char *name)
{
    json_t *object = json_object();
    (void)json_object_set_new(root, name, object);
    return object;
}

static bool word_is(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncmp(text, word, length) == 0;
}

static int read_roles(struct wish *wish)
{
    const char *roles = wish->roles;
    wish->kube = wish->kube_cluster_name || wish->kubeconfig_file;
    if (!roles && (wish->node_only || wish->proxy))
        roles = wish->kube ? "kube" : "node";
    else if (!roles)
        roles = "proxy,auth,node";
    while (*roles) {
        size_t length = strcspn(roles, ",");
        if (word_is(roles, length, "auth"))
            wish->auth = true;
        else if (word_is(roles, length, "proxy"))
            wish->gate = true;
        else if (word_is(roles, length, "node") || word_is(roles, length, "ssh"))
            wish->ssh = true;
        else if (word_is(roles, length, "kube") || word_is(roles, length, "kubernetes"))
            wish->kube = true;
        else if (length > 0)
            return complain(
                "the role \"%.*s\" is not known; --roles takes auth, proxy, node and kube, with commas between",
                (int)length, roles);
        roles += length + (roles[length] == ',');
    }
    return EXIT_DONE;
}

/* [PERIOD:"COMMAND ARGUMENT"] as an item of commands. */
static int add_command(json_t *commands, const char *name, const char *text)
{
    size_t length = strlen(text);
    const char *colon = strchr(text, ':');
    char *period = colon ? mem_strndup(text + 1, (size_t)(colon - text - 1)) : mem_strdup("");
    char *command;
    char *rest = NULL;
    json_t *words = json_array();
    json_t *item = json_object();
    int64_t ms = 0;
    int result = EXIT_DONE;
    if (!colon || text[length - 1] != ']' || clock_parse_duration_ms(period, &ms) != TP_OK)
        result = complain(
            "the label \"%s\" must be NAME=VALUE or NAME=[PERIOD:\"COMMAND\"], for example up=[1m:\"uptime -p\"]",
            name);
    command = mem_strdup(colon ? colon + 1 : "");
    length = strlen(command);
    if (length > 0)
        command[length - 1] = '\0';
    for (char *word = strtok_r(command, " \"", &rest); word; word = strtok_r(NULL, " \"", &rest))
        (void)json_array_append_new(words, json_string(word));
    put_text(item, "name", name);
    (void)json_object_set_new(item, "command", words);
    put_text(item, "period", period);
    (void)json_array_append_new(commands, item);
    mem_free(period);
    mem_free(command);
    return result;
}

/* One label ends at a comma outside of brackets and quotes. */
static size_t label_length(const char *text)
{
    size_t length = 0;
    bool quoted = false;
    bool bracket = false;
    for (; text[length] && (text[length] != ',' || quoted || bracket); length++) {
        if (text[length] == '"')
            quoted = !quoted;
        else if (!quoted && (text[length] == '[' || text[length] == ']'))
            bracket = text[length] == '[';
    }
    return length;
}

/* Into the section of a service. */
static int add_labels(json_t *service, const char *text)
{
    json_t *labels = json_object();
    json_t *commands = json_array();
    int result = EXIT_DONE;
    while (*text && result == EXIT_DONE) {
        size_t length = label_length(text);
        char *label = mem_strndup(text, length);
        char *value = strchr(label, '=');
        if (value)
            *value++ = '\0';
        if (length > 0 && !value)
            result = complain("the label \"%s\" has no value; write NAME=VALUE", label);
        else if (length > 0 && !conf_label_name_valid(label))
            result = complain("the label name \"%s\" may hold letters, digits and _./:*- only", label);
        else if (length > 0 && value[0] == '[')
            result = add_command(commands, label, value);
        else if (length > 0)
            put_text(labels, label, value);
        mem_free(label);
        text += length + (text[length] == ',');
    }
    if (json_object_size(labels) > 0)
        (void)json_object_set(service, "labels", labels);
    if (json_array_size(commands) > 0)
        (void)json_object_set(service, "commands", commands);
    json_decref(labels);
    json_decref(commands);
    return result;
}

static int add_keypair(json_t *gate, const struct wish *wish)
{
    char *key;
    char *cert;
    json_t *pair;
    json_t *pairs;
    if (!wish->cert_file && !wish->key_file)
        return EXIT_DONE;
    if (!wish->cert_file || !wish->key_file)
        return complain("--cert-file and --key-file belong together; give both");
    cert = realpath(wish->cert_file, NULL);
    if (!cert)
        return complain("cannot find the certificate %s: %s", wish->cert_file, strerror(errno));
    key = realpath(wish->key_file, NULL);
    if (!key) {
        free(cert);
        return complain("cannot find the key %s: %s", wish->key_file, strerror(errno));
    }
    pair = json_object();
    put_text(pair, "key_file", key);
    put_text(pair, "cert_file", cert);
    pairs = json_array();
    (void)json_array_append_new(pairs, pair);
    (void)json_object_set_new(gate, "https_keypairs", pairs);
    free(cert);
    free(key);
    return EXIT_DONE;
}

/* HOST becomes HOST:443. NULL when it is no address. */
static char *with_port(const char *text)
{
    char *host = NULL;
    char *whole;
    uint16_t port = 0;
    if (conf_addr_split(text, 443, &host, &port) != TP_OK)
        return NULL;
    whole = strchr(host, ':') ? mem_printf("[%s]:%u", host, (unsigned)port) : mem_printf("%s:%u", host, (unsigned)port);
    mem_free(host);
    return whole;
}

static int add_gate(json_t *root, const struct wish *wish)
{
    json_t *gate = section(root, "proxy_service");
    json_t *names;
    char *addr;
    put_enabled(gate, wish->gate);
    if (!wish->gate)
        return EXIT_DONE;
    put_text(gate, "web_listen_addr", "0.0.0.0:443");
    if (wish->public_addr) {
        addr = with_port(wish->public_addr);
        if (!addr)
            return complain("--public-addr must be HOST or HOST:PORT, not \"%s\"", wish->public_addr);
        names = json_array();
        (void)json_array_append_new(names, json_string(addr));
        (void)json_object_set_new(gate, "public_addr", names);
        mem_free(addr);
    }
    return add_keypair(gate, wish);
}

static int add_auth(json_t *root, const struct wish *wish)
{
    json_t *auth = section(root, "auth_service");
    char *host = NULL;
    uint16_t port = 0;
    put_enabled(auth, wish->auth);
    if (!wish->auth)
        return EXIT_DONE;
    if (wish->cluster_name) {
        put_text(auth, "cluster_name", wish->cluster_name);
    } else if (wish->public_addr && conf_addr_split(wish->public_addr, 443, &host, &port) == TP_OK) {
        put_text(auth, "cluster_name", host);
        mem_free(host);
    }
    return EXIT_DONE;
}

static int add_common(json_t *root, const struct wish *wish)
{
    json_t *common = section(root, "tport");
    char host[256] = "";
    char *proxy;
    if (wish->node_name)
        put_text(common, "nodename", wish->node_name);
    else if (gethostname(host, sizeof(host) - 1) == 0 && host[0])
        put_text(common, "nodename", host);
    put_text(common, "data_dir", wish->data_dir ? wish->data_dir : "/var/lib/tport");
    if (wish->proxy) {
        proxy = with_port(wish->proxy);
        if (!proxy)
            return complain("--proxy must be HOST or HOST:PORT, not \"%s\"", wish->proxy);
        put_text(common, "proxy_server", proxy);
        mem_free(proxy);
    }
    if (wish->ca_pin) {
        json_t *pins = json_array();
        char *copy = mem_strdup(wish->ca_pin);
        char *rest = NULL;
        for (char *pin = strtok_r(copy, ",", &rest); pin; pin = strtok_r(NULL, ",", &rest))
            (void)json_array_append_new(pins, json_string(pin));
        (void)json_object_set_new(common, "ca_pin", pins);
        mem_free(copy);
    }
    if (wish->token) {
        json_t *join = section(common, "join_params");
        put_text(join, "method", "token");
        put_text(join, "token_name", wish->token);
    }
    return EXIT_DONE;
}

/* Labels that are given go to both services. */
static int add_kube(json_t *root, const struct wish *wish)
{
    json_t *kube;
    char *path;
    if (!wish->kube)
        return EXIT_DONE;
    if (wish->kube_cluster_name && wish->kubeconfig_file)
        return complain("--kube-cluster-name is for the cluster that tportd runs in, a kubeconfig file brings its own "
                        "names; give one of them");
    kube = section(root, "kubernetes_service");
    put_enabled(kube, true);
    if (wish->kube_cluster_name)
        put_text(kube, "kube_cluster_name", wish->kube_cluster_name);
    if (wish->kubeconfig_file) {
        path = realpath(wish->kubeconfig_file, NULL);
        if (!path)
            return complain("cannot find the kubeconfig file %s: %s", wish->kubeconfig_file, strerror(errno));
        put_text(kube, "kubeconfig_file", path);
        free(path);
    }
    return wish->labels ? add_labels(kube, wish->labels) : EXIT_DONE;
}

static int build(struct wish *wish, json_t *root)
{
    json_t *ssh;
    int result = read_roles(wish);
    if (result != EXIT_DONE)
        return result;
    if ((wish->ssh || wish->kube) && !wish->auth && !wish->proxy)
        return complain("a machine that joins a cluster needs --proxy HOST:PORT");
    if ((wish->ssh || wish->kube) && !wish->auth && !wish->token)
        return complain("a machine that joins a cluster needs --token; make one with: tportctl tokens add --type=%s",
                        !wish->kube ? "node"
                        : wish->ssh ? "node,kube"
                                    : "kube");
    put_text(root, "version", "v3");
    result = add_common(root, wish);
    if (result == EXIT_DONE)
        result = add_auth(root, wish);
    if (result == EXIT_DONE)
        result = add_gate(root, wish);
    if (result != EXIT_DONE)
        return result;
    ssh = section(root, "ssh_service");
    put_enabled(ssh, wish->ssh);
    if (wish->labels && wish->ssh)
        result = add_labels(ssh, wish->labels);
    if (result == EXIT_DONE && wish->labels && !wish->ssh && !wish->kube)
        result = complain("--labels are those of a machine or a Kubernetes cluster; add node or kube to --roles");
    return result == EXIT_DONE ? add_kube(root, wish) : result;
}

/* The folder of the default file may be missing on a machine that was set up by hand. */
static void make_default_folder(const char *path)
{
    if (strcmp(path, CONF_DEFAULT_FILE) == 0 && mkdir("/etc/tport", 0755) != 0 && errno != EEXIST)
        (void)complain("cannot make /etc/tport: %s", strerror(errno));
}

static int write_file(const char *path, const char *text)
{
    size_t size = strlen(text);
    size_t done = 0;
    int fd;
    make_default_folder(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return complain("%s exists already; remove it, or write elsewhere with -o file:///PATH", path);
    if (fd < 0)
        return complain("cannot write %s: %s", path, strerror(errno));
    while (done < size) {
        ssize_t wrote = write(fd, text + done, size - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            break;
        done += (size_t)wrote;
    }
    if (done < size || fsync(fd) != 0) {
        int why = errno;
        (void)close(fd);
        (void)unlink(path);
        return complain("cannot write %s: %s", path, strerror(why));
    }
    (void)close(fd);
    printf("The configuration is written to %s. Start with: tportd -c %s\n", path, path);
    return EXIT_DONE;
}

static int deliver(const struct wish *wish, const char *text)
{
    const char *output = wish->output ? wish->output : "stdout";
    if (strcmp(output, "stdout") == 0 || strcmp(output, "stdout://") == 0 || strcmp(output, "-") == 0)
        return fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? EXIT_DONE
                                                               : complain("cannot write to standard output");
    if (strcmp(output, "file") == 0 || strcmp(output, "file://") == 0)
        return write_file(CONF_DEFAULT_FILE, text);
    if (strncmp(output, "file://", 7) == 0 && output[7] == '/')
        return write_file(output + 7, text);
    if (strstr(output, "://"))
        return complain("--output must be stdout, file, file:///PATH or a path, not \"%s\"", output);
    return write_file(output, text);
}

static int test_file(const char *path)
{
    struct conf *conf = NULL;
    struct conf_report report = {0};
    enum tp_err err = conf_load(path, &conf, &report, NULL);
    for (size_t i = 0; i < report.errors.count; i++)
        (void)fprintf(stderr, "error: %s\n", report.errors.items[i]);
    for (size_t i = 0; i < report.warnings.count; i++)
        (void)fprintf(stderr, "warning: %s\n", report.warnings.items[i]);
    if (err == TP_OK)
        printf("%s is good\n", path);
    conf_report_free(&report);
    conf_free(conf);
    return err == TP_OK ? EXIT_DONE : EXIT_FAILED;
}

/* Section by section, with an empty line between them. */
static char *text_of(const json_t *root)
{
    struct buf out;
    const char *name;
    json_t *part;
    buf_init(&out, 0);
    (void)buf_append_text(&out, "# Written by tportd configure; tport.conf(5) explains every key.\n");
    json_object_foreach ((json_t *)(uintptr_t)root, name, part) {
        json_t *one = json_pack("{s:O}", name, part);
        char *yaml = node_yaml_from_json(one);
        (void)buf_printf(&out, "%s%s", json_is_object(part) ? "\n" : "", yaml);
        secret_free(yaml);
        json_decref(one);
    }
    return buf_take(&out);
}

static int write_wish(struct wish *wish)
{
    json_t *root = json_object();
    struct conf *conf = NULL;
    struct tp_error error = {0};
    int result = build(wish, root);
    if (result == EXIT_DONE) {
        char *text = text_of(root);
        if (conf_parse(text, strlen(text), "these settings", &conf, NULL, &error) != TP_OK)
            result = complain("%s", error.text);
        else
            result = deliver(wish, text);
        conf_free(conf);
        secret_free(text);
    }
    json_decref(root);
    return result;
}

#define NONE                              \
    {                                     \
        NULL, 0, COMMAND_FLAG, NULL, NULL \
    }
#define COMMON_OPTIONS                                                                                           \
    {"proxy", 0, COMMAND_TEXT, "HOST:PORT", "Proxy of the cluster to join"},                                     \
        {"auth-server", 0, COMMAND_TEXT, "HOST:PORT", "The same, as older versions of Teleport call it"},        \
        {"token", 0, COMMAND_TEXT, "TOKEN", "Join token, or the absolute path of a file that holds it"},         \
        {"ca-pin", 0, COMMAND_TEXT, "PIN", "sha256:HEX, or the absolute path of a file that holds it"},          \
        {"join-method", 0, COMMAND_TEXT, "token", "How it joins; by a token is what there is"},                  \
        {"labels", 0, COMMAND_TEXT, "LIST", "NAME=VALUE,NAME=[PERIOD:\"COMMAND\"]"},                             \
        {"kube-cluster-name", 0, COMMAND_TEXT, "NAME",                                                           \
         "Role kube: name of the Kubernetes cluster that tportd runs in"},                                       \
        {"kubeconfig-file", 0, COMMAND_TEXT, "PATH", "Role kube: a kubeconfig whose contexts are the clusters"}, \
        {"node-name", 0, COMMAND_TEXT, "NAME", "Name of this machine (the host name)"},                          \
        {"nodename", 0, COMMAND_TEXT, "NAME", "The same, as older versions of Teleport call it"},                \
        {"data-dir", 0, COMMAND_TEXT, "PATH", "Where state is kept (/var/lib/tport)"},                           \
        {"output", 'o', COMMAND_TEXT, "WHERE",                                                                   \
         "stdout (so without this option), file (" CONF_DEFAULT_FILE "), file:///PATH or a path"},               \
    {                                                                                                            \
        "test", 0, COMMAND_TEXT, "PATH", "Check this configuration instead of writing one"                       \
    }

const struct command_option configure_options[] = {
    {"cluster-name", 0, COMMAND_TEXT, "NAME", "Name of the cluster, a domain name"},
    {"public-addr", 0, COMMAND_TEXT, "HOST[:PORT]", "Under which people reach the proxy"},
    {"cert-file", 0, COMMAND_TEXT, "PATH", "Certificate of the public port (PEM)"},
    {"key-file", 0, COMMAND_TEXT, "PATH", "Its key (PEM)"},
    {"roles", 0, COMMAND_TEXT, "LIST", "Of auth, proxy, node and kube (auth,proxy,node, or node with --proxy)"},
    COMMON_OPTIONS,
    {"acme", 0, COMMAND_FLAG, NULL, "Refused by this version, which gets no certificates"},
    {"acme-email", 0, COMMAND_TEXT, "ADDRESS", "The same"},
    NONE};
const struct command_option configure_node_options[] = {
    {"roles", 0, COMMAND_TEXT, "LIST", "Of node and kube (node)"}, COMMON_OPTIONS, NONE};

/* The last value of either name. */
static const char *either(const struct command_line *line, const char *name, const char *older)
{
    return command_text(line, name, command_text(line, older, NULL));
}

static int run(const struct command_line *line, bool node_only)
{
    struct wish wish = {.node_only = node_only,
                        .cluster_name = command_text(line, "cluster-name", NULL),
                        .public_addr = command_text(line, "public-addr", NULL),
                        .cert_file = command_text(line, "cert-file", NULL),
                        .key_file = command_text(line, "key-file", NULL),
                        .data_dir = command_text(line, "data-dir", NULL),
                        .roles = command_text(line, "roles", NULL),
                        .token = command_text(line, "token", NULL),
                        .proxy = either(line, "proxy", "auth-server"),
                        .ca_pin = command_text(line, "ca-pin", NULL),
                        .labels = command_text(line, "labels", NULL),
                        .node_name = either(line, "node-name", "nodename"),
                        .kube_cluster_name = command_text(line, "kube-cluster-name", NULL),
                        .kubeconfig_file = command_text(line, "kubeconfig-file", NULL),
                        .output = command_text(line, "output", NULL),
                        .test = command_text(line, "test", NULL)};
    const char *method = command_text(line, "join-method", "token");
    for (size_t i = 0; i < line->value_count; i++) {
        const struct command_value *value = &line->values[i];
        if (value->option->kind == COMMAND_TEXT && *value->text == '\0') {
            (void)complain("--%s is empty; was it to be the value of a variable that is not set?", value->option->name);
            return EXIT_USAGE;
        }
    }
    if (strcmp(method, "token") != 0) {
        (void)complain("the join method \"%s\" is not supported by this version; use token", method);
        return EXIT_USAGE;
    }
    if (command_flag(line, "acme") || command_text(line, "acme-email", NULL)) {
        (void)complain("--acme is not supported by this version; get a certificate and use --cert-file and --key-file");
        return EXIT_USAGE;
    }
    return wish.test ? test_file(wish.test) : write_wish(&wish);
}

enum tp_err configure_run(struct command_line *line, struct tp_error *error)
{
    (void)error;
    line->exit_code = run(line, false);
    return TP_OK;
}

enum tp_err configure_node_run(struct command_line *line, struct tp_error *error)
{
    (void)error;
    line->exit_code = run(line, true);
    return TP_OK;
}
