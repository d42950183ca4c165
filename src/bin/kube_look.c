#include "bin/kube_look.h"

#include "agent/agent_labels.h"
#include "agent/kube_config.h"
#include "base/mem.h"
#include "core/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in the child, which frees nothing ---- */

/* Who writes the file is not who reads this in his terminal, which must not act on it. */
static const char *plain(const char *text)
{
    return labels_clean(text, strlen(text));
}

static enum tp_err look(const struct conf *conf, struct tp_error *error)
{
    struct kube_cluster_conf *list = NULL;
    size_t count = 0;
    bool other = geteuid() == 0 && !conf->ssh_enabled;
    if (other && sandbox_become(conf->agent_user, error) != TP_OK) {
        error->code = TP_INVALID;
        return error->code;
    }
    enum tp_err err = kube_config_load(conf->kubeconfig_file, &list, &count, error);
    for (size_t i = 0; i < count; i++) {
        if (list[i].problem != NULL) {
            (void)fprintf(stderr, "warning: the Kubernetes context \"%s\" is left out: %s\n", plain(list[i].name),
                          plain(list[i].problem));
        }
    }
    if (err == TP_DENIED && other) {
        (void)err_set(error, err, "the kubeconfig %s can't be read by user %s, as whom the agent runs; run chown %s %s",
                      conf->kubeconfig_file, conf->agent_user, conf->agent_user, conf->kubeconfig_file);
    }
    return err;
}

static _Noreturn void child(const struct conf *conf, int to)
{
    struct tp_error error = {0};
    enum tp_err err = look(conf, &error);
    const char *text = plain(error.text);
    ssize_t size = (ssize_t)strlen(text);
    _exit(write(to, text, (size_t)size) == size ? (int)err : (int)TP_INTERNAL);
}

/* Its sentence and its status. */
static enum tp_err listen_to(pid_t pid, int from, struct tp_error *error)
{
    char text[sizeof(error->text)] = "";
    size_t size = 0;
    int status = 0;
    ssize_t n;
    while (size < sizeof(text) - 1 && (n = read(from, text + size, sizeof(text) - 1 - size)) != 0) {
        if (n < 0 && errno != EINTR) {
            break;
        }
        size += n > 0 ? (size_t)n : 0;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status)) {
        return err_set(error, TP_INTERNAL, "the process that reads the kubeconfig was killed by signal %d",
                       WTERMSIG(status));
    }
    return WEXITSTATUS(status) == TP_OK ? TP_OK : err_set(error, (enum tp_err)WEXITSTATUS(status), "%s", text);
}

enum tp_err kube_look(const struct conf *conf, struct tp_error *error)
{
    int ends[2];
    if (!conf->kube_enabled || conf->kubeconfig_file[0] == '\0') {
        return TP_OK;
    }
    if (pipe(ends) != 0) {
        return err_errno(error, errno, "can't read the kubeconfig");
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        child(conf, ends[1]);
    }
    (void)close(ends[1]);
    enum tp_err err = pid > 0 ? listen_to(pid, ends[0], error) : err_errno(error, errno, "can't read the kubeconfig");
    (void)close(ends[0]);
    bool only_here = err == TP_DENIED && geteuid() != 0;
    if (err == TP_NOT_FOUND || only_here) {
        (void)fprintf(stderr, "warning: no Kubernetes cluster can be served%s: %s\n",
                      only_here ? " by this user" : " yet", error->text);
        err = TP_OK;
    }
    return err;
}
