/* What the audit log needs from time to time, off the loop: indexes of days that have none. */
#include "auth/inner.h"

#include <string.h>

struct keep {
    struct auth *auth; /* NULL: closed while a job was out */
    char *dir;
    bool running;
    enum tp_err err;
    struct tp_error error;
};

static void keep_free(struct keep *keep)
{
    mem_free(keep->dir);
    mem_free(keep);
}

static void keep_work(void *ctx)
{
    struct keep *keep = ctx;
    keep->error = (struct tp_error){0};
    keep->err = audit_log_index(keep->dir, &keep->error);
}

static void keep_done(void *ctx)
{
    struct keep *keep = ctx;
    keep->running = false;
    if (keep->auth == NULL) {
        keep_free(keep);
        return;
    }
    if (keep->err != TP_OK) {
        log_warn("audit index not made, will be tried again", "error=\"%s\"", keep->error.text);
    }
}

void keep_tick(struct auth *auth)
{
    struct keep *keep = auth->keep;
    if (!keep->running) {
        keep->running = true;
        work_run(auth->loop, keep_work, keep_done, keep);
    }
}

void keep_open(struct auth *auth)
{
    struct keep *keep = mem_alloc(sizeof *keep);
    keep->auth = auth;
    keep->dir = mem_strdup(audit_dir(auth));
    auth->keep = keep;
}

void keep_close(struct auth *auth)
{
    struct keep *keep = auth->keep;
    auth->keep = NULL;
    if (keep != NULL && keep->running) {
        keep->auth = NULL;
    } else if (keep != NULL) {
        keep_free(keep);
    }
}
