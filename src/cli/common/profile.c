#include "cli/common/profile.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/node.h"
#include "cli/common/command.h"
#include "cli/common/file.h"
#include "crypt/x509.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)256 * 1024)
#define NAME_MAX_LENGTH 200

char *profile_home(void)
{
    const char *home = command_env("HOME");
    if (home)
        return mem_strdup(home);
    home = getenv("HOME");
    if (!home || !*home) {
        const struct passwd *entry = getpwuid(getuid());
        home = entry ? entry->pw_dir : "/";
    }
    return mem_printf("%s/.tport", home);
}

bool profile_good_name(const char *name)
{
    if (!isalnum((unsigned char)name[0]) || strlen(name) > NAME_MAX_LENGTH)
        return false;
    for (const char *at = name; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr(".-_", *at))
            return false;
    }
    return true;
}

/* An IPv6 address; what looks like an IPv4 address is a good name as well. */
static bool good_address(const char *name)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, name, &address) == 1;
}

enum tp_err profile_check_user(const char *user, struct tp_error *error)
{
    bool good = *user && *user != '-' && *user != '.' && strlen(user) <= NAME_MAX_LENGTH;
    for (const char *at = user; good && *at; at++)
        good = *at != '/' && (unsigned char)*at >= 0x20 && *at != 0x7f;
    if (!good)
        return err_set(error, TP_INVALID,
                       "this user name can't be used here: it must not be empty, start with '-' or '.', or hold '/'");
    return TP_OK;
}

enum tp_err profile_parse_proxy(const char *text, char **ret_host, uint16_t *ret_port, struct tp_error *error)
{
    const char *at = strncmp(text, "https://", 8) == 0 ? text + 8 : text;
    size_t length = strcspn(at, "/");
    char *host = mem_strndup(at, length);
    char *port = NULL;
    bool bracket = host[0] == '[' && strchr(host, ']');
    bool good;

    if (strncmp(text, "http://", 7) == 0) {
        mem_free(host);
        return err_set(error, TP_INVALID, "the proxy speaks https alone: write \"%s\" without http://", text + 7);
    }
    if (at[length] == '/' && at[length + 1] != '\0')
        goto refuse;
    if (bracket) {
        char *end = strchr(host, ']');
        port = end[1] == ':' ? end + 2 : NULL;
        good = end[1] == '\0' || end[1] == ':';
        *end = '\0';
        memmove(host, host + 1, strlen(host + 1) + 1);
        good = good && good_address(host);
    } else {
        port = strchr(host, ':');
        if (port && port == strrchr(host, ':'))
            *port++ = '\0';
        else
            port = NULL;
        good = profile_good_name(host) || good_address(host);
    }
    *ret_port = 443;
    if (good && port) {
        char *end;
        unsigned long value = strtoul(port, &end, 10);
        good = isdigit((unsigned char)port[0]) && *end == '\0' && value > 0 && value < 65536;
        *ret_port = (uint16_t)value;
    }
    if (good) {
        *ret_host = host;
        return TP_OK;
    }
refuse:
    mem_free(host);
    return err_set(error, TP_INVALID, "the proxy's address \"%s\" is not valid: HOST or HOST:PORT is needed", text);
}

enum tp_err profile_init(struct profile *profile, const char *home, const char *host, const char *address,
                         const char *user, const char *cluster, struct tp_error *error)
{
    memset(profile, 0, sizeof(*profile));
    identity_init(&profile->identity);
    if (!profile_good_name(host) && !good_address(host))
        return err_set(error, TP_INVALID, "\"%s\" can't be the name of a proxy", host);
    if (!profile_good_name(cluster))
        return err_set(error, TP_INVALID, "the cluster's name \"%s\" can't be used as a file name", cluster);
    enum tp_err err = profile_check_user(user, error);
    if (err != TP_OK)
        return err;
    profile->home = mem_strdup(home);
    profile->host = mem_strdup(host);
    profile->address = mem_strdup(address);
    profile->user = mem_strdup(user);
    profile->cluster = mem_strdup(cluster);
    profile->ssh_key = mem_printf("%s/keys/%s/%s", home, host, user);
    profile->ssh_public = mem_printf("%s.pub", profile->ssh_key);
    profile->ssh_cert = mem_printf("%s-ssh/%s-cert.pub", profile->ssh_key, cluster);
    profile->tls_key = mem_printf("%s.key", profile->ssh_key);
    profile->tls_cert = mem_printf("%s.crt", profile->ssh_key);
    profile->cas = mem_printf("%s/keys/%s/cas/%s.pem", home, host, cluster);
    profile->known_hosts = mem_printf("%s/known_hosts", home);
    return TP_OK;
}

void profile_free(struct profile *profile)
{
    char **fields[] = {&profile->home,    &profile->host,     &profile->address,  &profile->user,
                       &profile->cluster, &profile->ssh_key,  &profile->ssh_cert, &profile->ssh_public,
                       &profile->tls_key, &profile->tls_cert, &profile->cas,      &profile->known_hosts};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        mem_free(*fields[i]);
    json_decref(profile->kube_users);
    json_decref(profile->kube_groups);
    identity_free(&profile->identity);
    memset(profile, 0, sizeof(*profile));
}

char *profile_current(const char *home)
{
    char *path = mem_printf("%s/current-profile", home);
    char *name = NULL;
    struct buf text;
    buf_init(&text, FILE_MAX);
    if (file_read(path, &text, NULL) == TP_OK) {
        const char *content = buf_text(&text);
        size_t length = strcspn(content, "\r\n");
        name = mem_strndup(content, length);
        if (!profile_good_name(name) && !good_address(name)) {
            mem_free(name);
            name = NULL;
        }
    }
    buf_free(&text);
    mem_free(path);
    return name;
}

static enum tp_err read_identity(struct profile *profile, struct tp_error *error)
{
    struct buf pem, der;
    buf_init(&pem, FILE_MAX);
    buf_init(&der, FILE_MAX);
    enum tp_err err = file_read(profile->tls_cert, &pem, error);
    if (err == TP_OK)
        err = x509_pem_to_der(buf_text(&pem), buf_size(&pem), &der, error);
    if (err == TP_OK)
        err = x509_read(buf_head(&der), buf_size(&der), &profile->identity, error);
    if (err != TP_OK)
        err_prefix(error, "the profile of %s is damaged, run \"tport login\" again", profile->host);
    buf_free(&pem);
    buf_free(&der);
    return err;
}

static json_t *read_texts(const struct node *list)
{
    json_t *texts = json_array();
    for (size_t i = 0; list && list->kind == NODE_LIST && i < list->count; i++) {
        if (list->items[i]->kind == NODE_SCALAR)
            (void)json_array_append_new(texts, json_string(list->items[i]->text));
    }
    return texts;
}

/* proxy: as it was asked for, NULL: as the current one. */
static enum tp_err load_file(const char *home, const char *host, const char *proxy, struct profile *ret_profile,
                             struct tp_error *error)
{
    char *path = mem_printf("%s/%s.yaml", home, host);
    struct buf text;
    struct node *node = NULL;

    buf_init(&text, FILE_MAX);
    enum tp_err err = file_read(path, &text, error);
    if (err == TP_NOT_FOUND)
        err = err_set(error, TP_UNAUTHENTICATED, "not logged in to %s; run \"tport login --proxy=%s\"", host,
                      proxy ? proxy : host);
    else if (err == TP_OK)
        err = node_parse_one(buf_text(&text), buf_size(&text), path, &node, error);
    if (err == TP_OK) {
        const char *address = node_get_text(node, "web_proxy_addr", NULL);
        const char *user = node_get_text(node, "user", NULL);
        const char *cluster = node_get_text(node, "cluster", NULL);
        bool kube = false;
        if (!address || !user || !cluster)
            err = err_set(error, TP_CORRUPT, "%s is damaged, run \"tport login --proxy=%s\" again", path, host);
        else
            err = profile_init(ret_profile, home, host, address, user, cluster, error);
        if (node_get(node, "kube_enabled") && node_bool(node_get(node, "kube_enabled"), &kube) == TP_OK)
            ret_profile->kube = kube;
        ret_profile->mfa_never = strcmp(node_get_text(node, "session_mfa", ""), "never") == 0;
        if (err == TP_OK) {
            ret_profile->kube_users = read_texts(node_get(node, "kube_users"));
            ret_profile->kube_groups = read_texts(node_get(node, "kube_groups"));
        }
    }
    node_free(node);
    buf_free(&text);
    mem_free(path);
    return err;
}

/* A host has one profile (its files are named so), but its ports may be doors to several clusters: who names a port means that
 * one. */
static enum tp_err check_port(const struct profile *profile, const char *proxy, uint16_t port, struct tp_error *error)
{
    const char *host = strncmp(proxy, "https://", 8) == 0 ? proxy + 8 : proxy;
    const char *colon = *host == '[' ? strstr(host, "]:") : strchr(host, ':');
    const char *known = strrchr(profile->address, ':');
    bool named = colon && (*host == '[' || colon == strrchr(host, ':'));
    if (!named || !known || strtoul(known + 1, NULL, 10) == port)
        return TP_OK;
    return err_set(error, TP_UNAUTHENTICATED,
                   "not logged in to %s but to %s, which the same profile is for; run \"tport login --proxy=%s\"",
                   proxy, profile->address, proxy);
}

enum tp_err profile_load(const char *home, const char *proxy, struct profile *ret_profile, struct tp_error *error)
{
    char *host = NULL;
    uint16_t port = 0;

    memset(ret_profile, 0, sizeof(*ret_profile));
    identity_init(&ret_profile->identity);
    if (proxy) {
        enum tp_err err = profile_parse_proxy(proxy, &host, &port, error);
        if (err != TP_OK)
            return err;
    } else {
        host = profile_current(home);
    }
    if (!host)
        return err_set(error, TP_UNAUTHENTICATED, "not logged in; run \"tport login --proxy=HOST --user=NAME\"");
    enum tp_err err = load_file(home, host, proxy, ret_profile, error);
    if (err == TP_OK && proxy)
        err = check_port(ret_profile, proxy, port, error);
    if (err == TP_OK)
        err = read_identity(ret_profile, error);
    mem_free(host);
    return err;
}

enum tp_err profile_check_valid(const struct profile *profile, struct tp_error *error)
{
    char until[CLOCK_TEXT_SIZE];
    int64_t now = clock_wall();
    if (profile->identity.not_after > now)
        return TP_OK;
    clock_format(profile->identity.not_after, until);
    return err_set(error, TP_EXPIRED, "your certificate expired at %s; run \"tport login --proxy=%s --user=%s\"", until,
                   profile->address, profile->user);
}

/* known_hosts without the lines of this cluster, then its new lines. */
static enum tp_err write_known_hosts(const struct profile *profile, const char *const *host_keys,
                                     struct tp_error *error)
{
    struct buf old, fresh;
    char *mark = mem_printf(",*.%s ", profile->cluster);
    buf_init(&old, FILE_MAX * 16);
    buf_init(&fresh, 0);
    enum tp_err err = file_read(profile->known_hosts, &old, error);
    if (err == TP_NOT_FOUND)
        err = TP_OK;
    for (const char *at = buf_text(&old); err == TP_OK && *at;) {
        size_t length = strcspn(at, "\n");
        char *line = mem_strndup(at, length);
        if (*line && !strstr(line, mark))
            (void)buf_printf(&fresh, "%s\n", line);
        mem_free(line);
        at += length;
        at += *at == '\n';
    }
    for (size_t i = 0; host_keys[i]; i++)
        (void)buf_printf(&fresh, "@cert-authority %s,%s,*.%s %s type=host\n", profile->host, profile->cluster,
                         profile->cluster, host_keys[i]);
    if (err == TP_OK)
        err = file_write(profile->known_hosts, buf_head(&fresh), buf_size(&fresh), error);
    buf_free(&old);
    buf_free(&fresh);
    mem_free(mark);
    return err;
}

static enum tp_err write_yaml(const struct profile *profile, struct tp_error *error)
{
    char *path = mem_printf("%s/%s.yaml", profile->home, profile->host);
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b}", "web_proxy_addr", profile->address, "ssh_proxy_addr",
                  profile->address, "kube_proxy_addr", profile->address, "user", profile->user, "cluster",
                  profile->cluster, "tls_routing_enabled", 1, "kube_enabled", profile->kube ? 1 : 0);
    enum tp_err err = TP_INVALID;
    if (object && profile->mfa_never)
        (void)json_object_set_new(object, "session_mfa", json_string("never"));
    if (object && json_array_size(profile->kube_users) > 0)
        (void)json_object_set(object, "kube_users", profile->kube_users);
    if (object && json_array_size(profile->kube_groups) > 0)
        (void)json_object_set(object, "kube_groups", profile->kube_groups);
    if (object) {
        char *text = node_yaml_from_json(object);
        err = file_write_text(path, text, error);
        mem_free(text);
    } else {
        err_set(error, TP_INVALID, "the user's name is not valid UTF-8");
    }
    json_decref(object);
    mem_free(path);
    return err;
}

static enum tp_err make_dirs(const struct profile *profile, struct tp_error *error)
{
    char *keys = mem_printf("%s/keys/%s/cas", profile->home, profile->host);
    char *ssh = mem_printf("%s-ssh", profile->ssh_key);
    enum tp_err err = file_make_dirs(keys, error);
    if (err == TP_OK)
        err = file_make_dirs(ssh, error);
    mem_free(keys);
    mem_free(ssh);
    return err;
}

static enum tp_err lock_home(const char *home, int *ret_fd, struct tp_error *error)
{
    char *path = mem_printf("%s/.lock", home);
    enum tp_err err = file_lock(path, ret_fd, error);
    mem_free(path);
    return err;
}

enum tp_err profile_save(const struct profile *profile, const struct profile_content *content, struct tp_error *error)
{
    const struct {
        const char *path;
        const char *text;
    } files[] = {{profile->ssh_key, content->ssh_key},   {profile->ssh_public, content->ssh_public},
                 {profile->ssh_cert, content->ssh_cert}, {profile->tls_key, content->tls_key},
                 {profile->tls_cert, content->tls_cert}, {profile->cas, content->cas}};
    char *current = mem_printf("%s/current-profile", profile->home);
    int lock = -1;
    enum tp_err err = make_dirs(profile, error);

    if (err == TP_OK)
        err = lock_home(profile->home, &lock, error);
    for (size_t i = 0; err == TP_OK && i < sizeof(files) / sizeof(files[0]); i++) {
        size_t size = strlen(files[i].text);
        char *line = mem_printf("%s%s", files[i].text, size && files[i].text[size - 1] == '\n' ? "" : "\n");
        err = file_write_text(files[i].path, line, error);
        secret_free(line);
    }
    if (err == TP_OK)
        err = write_known_hosts(profile, content->host_keys, error);
    if (err == TP_OK)
        err = write_yaml(profile, error);
    if (err == TP_OK) {
        char *line = mem_printf("%s\n", profile->host);
        err = file_write_text(current, line, error);
        mem_free(line);
    }
    if (lock >= 0)
        (void)close(lock);
    mem_free(current);
    return err;
}

enum tp_err profile_update_trust(const struct profile *profile, const char *cas, const char *const *host_keys,
                                 struct tp_error *error)
{
    struct buf old;
    int lock = -1;
    buf_init(&old, FILE_MAX);
    enum tp_err err = file_read(profile->cas, &old, error);
    size_t size = strlen(cas);
    /* Both halves of a CA change together, and the X.509 half is written last: a crash in between is made good. */
    bool same = err == TP_OK && buf_size(&old) == size + (size > 0 && cas[size - 1] != '\n') &&
                strncmp(buf_text(&old), cas, size) == 0;
    buf_free(&old);
    if (same) /* its age says when we asked last */
        (void)utimensat(AT_FDCWD, profile->cas, NULL, 0);
    if (same || (err != TP_OK && err != TP_NOT_FOUND))
        return err;
    char *text = mem_printf("%s%s", cas, size > 0 && cas[size - 1] == '\n' ? "" : "\n");
    err = lock_home(profile->home, &lock, error);
    if (err == TP_OK)
        err = write_known_hosts(profile, host_keys, error);
    if (err == TP_OK)
        err = file_write_text(profile->cas, text, error);
    if (lock >= 0)
        (void)close(lock);
    mem_free(text);
    return err;
}

void profile_note_mfa(struct profile *profile)
{
    struct tp_error ignored = {0};
    int lock = -1;
    if (!profile->mfa_never)
        return;
    profile->mfa_never = false;
    enum tp_err err = lock_home(profile->home, &lock, &ignored);
    if (err == TP_OK)
        err = write_yaml(profile, &ignored);
    (void)err;
    if (lock >= 0)
        (void)close(lock);
}

enum tp_err profile_remove_identities(const char *home, struct tp_error *error)
{
    char *path = mem_printf("%s/identities", home);
    int lock = -1;
    enum tp_err err = lock_home(home, &lock, error);
    if (err == TP_OK)
        err = file_remove_tree(path, error);
    if (lock >= 0)
        (void)close(lock);
    mem_free(path);
    return err;
}

enum tp_err profile_remove(const char *home, const char *host, struct tp_error *error)
{
    char *yaml = mem_printf("%s/%s.yaml", home, host);
    char *keys = mem_printf("%s/keys/%s", home, host);
    char *current_path = mem_printf("%s/current-profile", home);
    int lock = -1;
    enum tp_err err = lock_home(home, &lock, error);

    /* Keys go first: whatever stops us, no usable key is left behind. */
    if (err == TP_OK)
        err = file_remove_tree(keys, error);
    if (err == TP_OK)
        err = file_remove_tree(yaml, error);
    if (err == TP_OK) {
        char *current = profile_current(home);
        if (current && strcmp(current, host) == 0)
            err = file_remove_tree(current_path, error);
        mem_free(current);
    }
    if (lock >= 0)
        (void)close(lock);
    mem_free(yaml);
    mem_free(keys);
    mem_free(current_path);
    return err;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **profile_list(const char *home, size_t *ret_count)
{
    char **names = mem_array(1, sizeof(names[0]));
    size_t count = 0;
    DIR *dir = opendir(home);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length <= 5 || strcmp(entry->d_name + length - 5, ".yaml") != 0)
            continue;
        char *name = mem_strndup(entry->d_name, length - 5);
        if (!profile_good_name(name) && !good_address(name)) {
            mem_free(name);
            continue;
        }
        names = mem_resize(names, (count + 2) * sizeof(names[0]));
        names[count++] = name;
        names[count] = NULL;
    }
    if (dir)
        (void)closedir(dir);
    qsort(names, count, sizeof(names[0]), compare_names);
    *ret_count = count;
    return names;
}
