/* tport ssh, scp, config and proxy ssh. */
#include "cli/tport/ssh_argv.h"

#include "base/buf.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/mfa.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/tport/tport.h"
#include "cli/tport/trust.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CANDIDATES 20      /* hosts named when labels match several */
#define GREETED_MS 500     /* for OpenSSH to begin with its key exchange */
#define OPENSSH_FAILED 255 /* as ssh and scp end when it is not the command that failed */

/* Replaces this process by OpenSSH's name with these arguments. Only returns on an error. */
static enum tp_err exec_openssh(const char *name, const struct argv *argv, bool debug, struct tp_error *error)
{
    char *path = file_in_path(name);
    if (!path)
        return err_set(error, TP_NOT_FOUND, "there is no %s in your PATH; install OpenSSH's client", name);
    if (debug) {
        (void)fprintf(stderr, "tport: running %s", path);
        for (size_t i = 1; i < argv->count; i++)
            (void)fprintf(stderr, " [%s]", argv->items[i]);
        (void)fprintf(stderr, "\n");
    }
    (void)fflush(NULL);
    (void)execve(path, argv->items, environ);
    err_errno(error, errno, "%s can't be started", path);
    mem_free(path);
    return TP_IO;
}

static bool allows(const json_t *logins, const char *login)
{
    size_t index;
    const json_t *one;
    json_array_foreach (logins, index, one) {
        const char *text = json_is_string(one) ? json_string_value(one) : "";
        if (strcmp(text, login) == 0 || strcmp(text, "*") == 0)
            return true;
    }
    return false;
}

/* The certificate names every login that the roles gave at sign-in; a host would say no more than "Permission denied". */
static enum tp_err check_login(const json_t *logins, const char *login, struct tp_error *error)
{
    if (!logins || allows(logins, login))
        return TP_OK;
    char *list = output_list(logins, ", ");
    (void)err_set(error, TP_DENIED,
                  "access denied: your roles do not allow the login %s%s%s; a login that was given since you signed "
                  "in needs \"tport logout\" and another \"tport login\"",
                  login, *list ? ", they allow " : ", nor any other", list);
    mem_free(list);
    return TP_DENIED;
}

/* Whom to sign in as: named (or NULL), --login, TPORT_LOGIN, the local user as OpenSSH does, the only login there is. mem_free
 * ret_login. */
static enum tp_err choose_login(const struct command_line *line, const char *named, const struct profile *profile,
                                char **ret_login, struct tp_error *error)
{
    const json_t *logins = profile->identity.logins;
    const char *login = named ? named : command_text_env(line, "login", "LOGIN", NULL);
    const struct passwd *entry = login ? NULL : getpwuid(getuid());
    enum tp_err err = TP_OK;
    bool guessed = !login;
    if (guessed)
        login = entry ? entry->pw_name : "root";
    if (guessed && !allows(logins, login) && json_array_size(logins) == 1)
        login = json_string_value(json_array_get(logins, 0));
    if (logins && guessed && !allows(logins, login) && json_array_size(logins) > 0) {
        char *list = output_list(logins, ", ");
        err = err_set(error, TP_INVALID, "say which login, as in LOGIN@HOST: your roles allow %s", list);
        mem_free(list);
    } else {
        err = check_login(logins, login, error);
    }
    if (err == TP_OK)
        err = ssh_argv_check_login(login, error);
    *ret_login = err == TP_OK ? mem_strdup(login) : NULL;
    return err;
}

static enum tp_err several(const json_t *nodes, const char *asked, struct tp_error *error)
{
    struct buf list;
    size_t index;
    json_t *node;
    buf_init(&list, 0);
    json_array_foreach (nodes, index, node) {
        if (index < CANDIDATES) {
            json_t *labels = output_node_labels(node);
            char *text = output_labels(labels);
            char *row = mem_printf("%s  %s  %s", output_text_at(node, "metadata.name"),
                                   output_text_at(node, "spec.hostname"), text);
            char *safe = text_safe(row); /* a host's labels may hold the end of a line, and make up another row */
            (void)buf_printf(&list, "\n  %s", safe);
            mem_free(safe);
            mem_free(row);
            mem_free(text);
            json_decref(labels);
        }
    }
    if (json_array_size(nodes) > CANDIDATES)
        (void)buf_printf(&list, "\n  … and %zu more", json_array_size(nodes) - CANDIDATES);
    err_set(error, TP_AMBIGUOUS, "%s matches %zu hosts; choose one by its UUID:%s", asked, json_array_size(nodes),
            buf_text(&list));
    buf_free(&list);
    return TP_AMBIGUOUS;
}

/* Labels become the UUID of the one host that has them. */
static enum tp_err resolve_labels(const struct profile *profile, struct ssh_target *target, struct tp_error *error)
{
    struct api *api = NULL;
    json_t *labels = NULL, *nodes = NULL, *all = NULL;
    enum tp_err err = output_parse_labels(&target->host, 1, &labels, error);
    if (err == TP_OK)
        err = api_open_profile(profile, &api, error);
    if (err == TP_OK)
        err = tport_nodes(api, labels, &nodes, error);
    if (err == TP_OK && json_array_size(nodes) == 0) {
        err = tport_nodes(api, NULL, &all, error);
        if (err == TP_OK) {
            char *hint = tport_labels_hint(labels, all);
            err = err_set(error, TP_NOT_FOUND, "%s", hint);
            mem_free(hint);
        }
    } else if (err == TP_OK && json_array_size(nodes) > 1) {
        err = several(nodes, target->host, error);
    } else if (err == TP_OK) {
        const json_t *node = json_array_get(nodes, 0);
        const char *id = output_text_at(node, "metadata.name");
        if (!json_get_bool(node, "online", true)) {
            err = err_set(error, TP_UNAVAILABLE, "the host %s is offline", output_text_at(node, "spec.hostname"));
        } else if (!profile_good_name(id)) {
            err = err_set(error, TP_PROTOCOL, "the proxy named a host that can't be one");
        } else {
            mem_free(target->host);
            target->host = mem_strdup(id);
            target->labels = false;
        }
    }
    json_decref(labels);
    json_decref(nodes);
    json_decref(all);
    api_close(api);
    return err;
}

/* What is wrong with the name of a host is said before OpenSSH is started: it would put a line of its own under the reason. What
 * only the connection can tell (and puts on record) is left to it. */
static enum tp_err check_host(const struct profile *profile, const char *host, const char *login,
                              struct tp_error *error)
{
    struct api *api = NULL;
    struct mfa_need need = {0};
    enum tp_err err = api_open_profile(profile, &api, error);
    if (err == TP_OK)
        err = mfa_ask_need(api, &(struct mfa_target){.node = host, .login = login}, &need, error);
    if (err == TP_OK && need.offline)
        err = err_set(error, TP_UNAVAILABLE, "%s is offline: its agent is not connected now", host);
    api_close(api);
    return err;
}

/* Flags and options that OpenSSH knows by the same letter. */
static void pass_options(const struct command_line *line, struct argv *argv)
{
    for (size_t i = 0; i < line->value_count; i++) {
        const struct command_option *option = line->values[i].option;
        if (!option->letter || !strchr("ApLRDNtTnqCXYovrP", option->letter))
            continue;
        if (option->kind == COMMAND_TEXT) {
            argv_addf(argv, "-%c", option->letter);
            argv_add(argv, line->values[i].text);
        } else if (!line->values[i].text) {
            argv_addf(argv, "-%c", option->letter);
        }
    }
}

enum tp_err tport_ssh(struct command_line *line, struct tp_error *error)
{
    struct profile profile = {0};
    struct ssh_target target = {0};
    struct argv argv = {0};
    char *program = file_own_path();
    line->error_code = OPENSSH_FAILED;
    enum tp_err err = tport_profile(line, &profile, error);

    if (err == TP_OK)
        err = ssh_target_parse(line->args[0], profile.cluster, &target, error);
    bool named = err == TP_OK && !target.labels;
    if (err == TP_OK && target.labels)
        err = resolve_labels(&profile, &target, error);
    if (err == TP_OK) {
        argv_add(&argv, "ssh");
        err = ssh_argv_options(&argv, &profile, program, target.host, error);
    }
    if (err == TP_OK) {
        char *login = NULL;
        err = choose_login(line, target.login, &profile, &login, error);
        pass_options(line, &argv);
        argv_add(&argv, "-l");
        argv_add(&argv, login ? login : "");
        argv_add(&argv, "--"); /* what follows is host and command, whatever it looks like */
        argv_add(&argv, target.host);
        for (size_t i = 1; i < line->arg_count; i++)
            argv_add(&argv, line->args[i]);
        if (err == TP_OK && named)
            err = check_host(&profile, target.host, login, error);
        mem_free(login);
        if (err == TP_OK)
            err = exec_openssh("ssh", &argv, command_flag(line, "debug"), error);
    }
    argv_free(&argv);
    ssh_target_free(&target);
    profile_free(&profile);
    mem_free(program);
    return err;
}

/* "login@host:path" with the host in full, so that known_hosts and the host's certificate fit; a local path as it is. */
static enum tp_err scp_argument(const struct command_line *line, const struct profile *profile, const char *argument,
                                struct argv *argv, bool *ret_remote, struct tp_error *error)
{
    size_t length = strcspn(argument, ":/");
    struct ssh_target target;

    if (argument[length] != ':' || length == 0) {
        argv_add(argv, argument);
        return TP_OK;
    }
    char *text = mem_strndup(argument, length);
    enum tp_err err = ssh_target_parse(text, profile->cluster, &target, error);
    mem_free(text);
    if (err != TP_OK)
        return err;
    bool named = !target.labels;
    if (target.labels)
        err = resolve_labels(profile, &target, error);
    if (err == TP_OK) {
        char *login = NULL;
        err = choose_login(line, target.login, profile, &login, error);
        if (err == TP_OK && named)
            err = check_host(profile, target.host, login, error);
        argv_addf(argv, "%s@%s.%s%s", login ? login : "", target.host, profile->cluster, argument + length);
        mem_free(login);
        *ret_remote = true;
    }
    ssh_target_free(&target);
    return err;
}

enum tp_err tport_scp(struct command_line *line, struct tp_error *error)
{
    struct profile profile = {0};
    struct argv argv = {0};
    bool remote = false;
    char *program = file_own_path();
    line->error_code = OPENSSH_FAILED;
    enum tp_err err = tport_profile(line, &profile, error);

    if (err == TP_OK) {
        argv_add(&argv, "scp");
        err = ssh_argv_options(&argv, &profile, program, NULL, error);
    }
    if (err == TP_OK) {
        pass_options(line, &argv);
        argv_add(&argv, "--");
    }
    for (size_t i = 0; err == TP_OK && i < line->arg_count; i++)
        err = scp_argument(line, &profile, line->args[i], &argv, &remote, error);
    if (err == TP_OK && !remote)
        err = err_set(error, TP_INVALID, "neither side is on a host: LOGIN@HOST:PATH names one");
    if (err == TP_OK)
        err = exec_openssh("scp", &argv, command_flag(line, "debug"), error);
    argv_free(&argv);
    profile_free(&profile);
    mem_free(program);
    return err;
}

enum tp_err tport_config(struct command_line *line, struct tp_error *error)
{
    struct profile profile = {0};
    char *words[3] = {NULL, NULL, NULL};
    char *program = file_own_path();
    enum tp_err err = tport_profile(line, &profile, error);

    if (err == TP_OK)
        err = ssh_argv_config_word(profile.known_hosts, &words[0], error);
    if (err == TP_OK)
        err = ssh_argv_config_word(profile.ssh_key, &words[1], error);
    if (err == TP_OK)
        err = ssh_argv_config_word(profile.ssh_cert, &words[2], error);
    if (err == TP_OK) {
        char *command = ssh_argv_proxy_command(&profile, program);
        (void)printf("# Hosts of %s through tport. Add this to ~/.ssh/config, then:\n# ssh LOGIN@HOST.%s\n"
                     "Host *.%s\n"
                     "    UserKnownHostsFile %s\n"
                     "    IdentityFile %s\n"
                     "    CertificateFile %s\n"
                     "    IdentitiesOnly yes\n"
                     "    StrictHostKeyChecking yes\n"
                     "    HostKeyAlgorithms %s\n"
                     "    ProxyCommand %s\n",
                     profile.cluster, profile.cluster, profile.cluster, words[0], words[1], words[2],
                     SSH_ARGV_HOST_KEYS, command);
        mem_free(command);
    }
    for (size_t i = 0; i < 3; i++)
        mem_free(words[i]);
    profile_free(&profile);
    mem_free(program);
    return err;
}

/* ssh stands at the other side of standard input: when it goes, nobody waits for a code any more. */
static enum tp_err relay_with_code(const struct profile *profile, const struct mfa_target *target,
                                   struct api_relayed *relayed, struct tp_error *error)
{
    struct mfa_cert given = {0};
    enum tp_err err = mfa_ask(profile, target, STDIN_FILENO, &given, error);
    if (err == TP_OK)
        err = api_relay_ssh(profile, target->node, &(struct api_key){given.cert, given.key}, relayed, error);
    mfa_cert_free(&given);
    return err;
}

/* Roles of one person may ask for a code for some logins and not for others, and which login it is only ssh and we know. So
 * we ask first, unless no role did so at the login; then a refusal tells when that has changed. */
static enum tp_err relay(struct profile *profile, const struct mfa_target *target, struct api_relayed *relayed,
                         struct tp_error *error)
{
    enum tp_err err = TP_MFA_NEEDED;
    if (profile->mfa_never || !mfa_required_now(profile, target))
        err = api_relay_ssh(profile, target->node, NULL, relayed, error);
    if (err == TP_MFA_NEEDED) {
        profile_note_mfa(profile);
        err = relay_with_code(profile, target, relayed, error);
    }
    return err;
}

/* OpenSSH that is told nothing complains of a greeting that did not come ("kex_exchange_identification: ..."), under the reason
 * that we give. So it is greeted, and the connection ends when it has begun with its key exchange, for it would complain of
 * that, too. heard: its own greeting was read already. */
static void greet(bool heard)
{
    static const char greeting[] = "SSH-2.0-tport\r\n";
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char chunk[4096];
    ssize_t got = 1;
    if (isatty(STDOUT_FILENO) || write(STDOUT_FILENO, greeting, sizeof(greeting) - 1) < 0)
        return;
    for (bool begun = false; got > 0 && !begun && poll(&input, 1, GREETED_MS) > 0;) {
        got = read(STDIN_FILENO, chunk, sizeof(chunk));
        const char *end = got > 0 && !heard ? memchr(chunk, '\n', (size_t)got) : NULL;
        begun = heard || (end && end + 1 < chunk + got);
        heard = heard || end;
    }
}

enum tp_err tport_proxy_ssh(struct command_line *line, struct tp_error *error)
{
    struct profile profile = {0};
    struct api_relayed relayed = {0};
    buf_init(&relayed.sent, 0);
    char *host = NULL;
    const char *at = strrchr(line->args[0], '@');
    char *login = at ? mem_strndup(line->args[0], (size_t)(at - line->args[0])) : NULL;
    enum tp_err err = tport_profile(line, &profile, error);
    if (err == TP_OK)
        err = ssh_argv_proxy_host(line->args[0], profile.cluster, &host, error);
    /* Said only: the host refuses it, and the attempt is on record. */
    if (err == TP_OK && login && check_login(profile.identity.logins, login, error) != TP_OK) {
        char *safe = text_safe(error->text);
        (void)fprintf(stderr, "WARNING: %s\n", safe);
        mem_free(safe);
    }
    if (err == TP_OK) {
        trust_refresh_old(&profile); /* ssh reads what it trusts when the host has answered */
        err = relay(&profile, &(struct mfa_target){.node = host, .login = login}, &relayed, error);
    }
    if (err != TP_OK && !relayed.begun)
        greet(buf_size(&relayed.sent) > 0 && memchr(buf_head(&relayed.sent), '\n', buf_size(&relayed.sent)));
    buf_free(&relayed.sent);
    mem_free(login);
    mem_free(host);
    profile_free(&profile);
    return err;
}
