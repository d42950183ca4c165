#include "cli/tport/ssh_argv.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/common/table.h"

#include <ctype.h>
#include <string.h>

static bool good_login(const char *login)
{
    if (*login == '\0' || *login == '-' || strlen(login) > 255)
        return false;
    for (const char *at = login; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr("._-+@", *at))
            return false;
    }
    return true;
}

enum tp_err ssh_argv_check_login(const char *login, struct tp_error *error)
{
    size_t length = strlen(login);
    bool bad = length == 0 || length > 255 || *login == '-' || login[length - 1] == '\\';
    for (const char *at = login; *at; at++)
        bad = bad || iscntrl((unsigned char)*at) || strchr(" '`\"$;&<>|(){}[]*?!#~%", *at);
    if (!bad)
        return TP_OK;
    char *safe = text_safe(login);
    enum tp_err err = err_set(error, TP_INVALID, "\"%s\": this can't be a login name", safe);
    mem_free(safe);
    return err;
}

static char *without_cluster(const char *host, const char *cluster)
{
    size_t length = strlen(host), tail = strlen(cluster);
    if (length > tail + 1 && host[length - tail - 1] == '.' && strcasecmp(host + length - tail, cluster) == 0)
        return mem_strndup(host, length - tail - 1);
    return mem_strdup(host);
}

enum tp_err ssh_target_parse(const char *text, const char *cluster, struct ssh_target *ret_target,
                             struct tp_error *error)
{
    const char *equals = strchr(text, '=');
    const char *at = NULL;

    memset(ret_target, 0, sizeof(*ret_target));
    /* A label's value may hold '@': with labels the login ends at the first one before the '='. */
    for (const char *p = text; *p && p != equals; p++)
        at = *p == '@' ? p : at;
    const char *host = at ? at + 1 : text;
    char *login = at ? mem_strndup(text, (size_t)(at - text)) : NULL;
    if (login && !good_login(login)) {
        mem_free(login);
        return err_set(error, TP_INVALID, "\"%s\": this can't be a login name", text);
    }
    ret_target->labels = equals != NULL;
    ret_target->host = equals ? mem_strdup(host) : without_cluster(host, cluster);
    ret_target->login = login;
    if (!equals && !profile_good_name(ret_target->host)) {
        ssh_target_free(ret_target);
        return err_set(error, TP_INVALID,
                       "\"%s\" can't be the name of a host: letters, digits, '.', '-' and '_' make one", text);
    }
    return TP_OK;
}

void ssh_target_free(struct ssh_target *target)
{
    mem_free(target->login);
    mem_free(target->host);
    memset(target, 0, sizeof(*target));
}

enum tp_err ssh_argv_proxy_host(const char *text, const char *cluster, char **ret_host, struct tp_error *error)
{
    const char *at = strrchr(text, '@');
    char *host = mem_strdup(at ? at + 1 : text);
    char *colon = strrchr(host, ':');
    if (colon)
        *colon = '\0';
    *ret_host = without_cluster(host, cluster);
    mem_free(host);
    if (**ret_host == '\0') {
        mem_free(*ret_host);
        *ret_host = NULL;
        return err_set(error, TP_INVALID, "\"%s\" names no host: [USER@]HOST[:PORT] is needed", text);
    }
    return TP_OK;
}

char *ssh_argv_shell_word(const char *text)
{
    struct buf out;
    buf_init(&out, 0);
    (void)buf_append(&out, "'", 1);
    for (; *text; text++) {
        if (*text == '\'')
            (void)buf_append_text(&out, "'\\''");
        else if (*text == '%')
            (void)buf_append_text(&out, "%%");
        else
            (void)buf_append(&out, text, 1);
    }
    (void)buf_append(&out, "'", 1);
    return buf_take(&out);
}

enum tp_err ssh_argv_config_word(const char *path, char **ret_word, struct tp_error *error)
{
    struct buf out;
    if (strpbrk(path, "\"\\\r\n") || strstr(path, "${"))
        return err_set(error, TP_INVALID, "OpenSSH can't use the path %s: set TPORT_HOME to a plain one", path);
    buf_init(&out, 0);
    (void)buf_append(&out, "\"", 1);
    for (; *path; path++)
        (void)buf_append(&out, *path == '%' ? "%%" : path, *path == '%' ? 2 : 1);
    (void)buf_append(&out, "\"", 1);
    *ret_word = buf_take(&out);
    return TP_OK;
}

char *ssh_argv_proxy_command(const struct profile *profile, const char *program)
{
    char *program_word = ssh_argv_shell_word(program);
    char *cluster = ssh_argv_shell_word(profile->cluster);
    char *proxy = ssh_argv_shell_word(profile->address);
    char *command = mem_printf("%s proxy ssh --cluster=%s --proxy=%s %%r@%%h:%%p", program_word, cluster, proxy);
    mem_free(program_word);
    mem_free(cluster);
    mem_free(proxy);
    return command;
}

enum tp_err ssh_argv_options(struct argv *argv, const struct profile *profile, const char *program, const char *alias,
                             struct tp_error *error)
{
    const struct {
        const char *name;
        const char *path;
    } files[] = {{"UserKnownHostsFile", profile->known_hosts},
                 {"IdentityFile", profile->ssh_key},
                 {"CertificateFile", profile->ssh_cert}};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *word;
        enum tp_err err = ssh_argv_config_word(files[i].path, &word, error);
        if (err != TP_OK)
            return err;
        argv_add(argv, "-o");
        argv_addf(argv, "%s=%s", files[i].name, word);
        mem_free(word);
    }
    char *command = ssh_argv_proxy_command(profile, program);
    argv_add(argv, "-o");
    argv_addf(argv, "ProxyCommand=%s", command);
    mem_free(command);
    argv_add(argv, "-o");
    argv_add(argv, "GlobalKnownHostsFile=/dev/null");
    argv_add(argv, "-o");
    argv_add(argv, "IdentitiesOnly=yes");
    argv_add(argv, "-o");
    argv_add(argv, "StrictHostKeyChecking=yes");
    argv_add(argv, "-o");
    argv_add(argv, "HostKeyAlgorithms=" SSH_ARGV_HOST_KEYS);
    if (alias) {
        argv_add(argv, "-o");
        argv_addf(argv, "HostKeyAlias=%s.%s", alias, profile->cluster);
    }
    return TP_OK;
}
