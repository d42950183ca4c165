/* Password hashing takes tens of milliseconds a piece. Few may be on the thread pool at once, so that a flood of logins
 * never delays what the pool is also for: the audit log. */
#include "auth/inner.h"

#define HASHING_AT_ONCE 2
#define HASHING_QUEUE 256

struct hashing_job {
    struct hashing_job *next;
    struct hashing *hashing;
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

struct hashing {
    struct loop *loop;
    struct hashing_job *first;
    struct hashing_job **last;
    size_t queued;
    size_t running;
    bool closing;
};

struct hashing *hashing_new(struct loop *loop)
{
    struct hashing *hashing = mem_alloc(sizeof *hashing);
    hashing->loop = loop;
    hashing->last = &hashing->first;
    return hashing;
}

static void start(struct hashing *hashing);

static void job_work(void *ctx)
{
    const struct hashing_job *job = ctx;
    job->work(job->ctx);
}

static void job_done(void *ctx)
{
    struct hashing_job *job = ctx;
    struct hashing *hashing = job->hashing;
    hashing->running--;
    job->done(job->ctx);
    mem_free(job);
    start(hashing);
    if (hashing->closing && hashing->running == 0 && hashing->queued == 0) {
        mem_free(hashing);
    }
}

static void start(struct hashing *hashing)
{
    while (hashing->first != NULL && hashing->running < HASHING_AT_ONCE) {
        struct hashing_job *job = hashing->first;
        hashing->first = job->next;
        if (hashing->first == NULL) {
            hashing->last = &hashing->first;
        }
        hashing->queued--;
        hashing->running++;
        work_run(hashing->loop, job_work, job_done, job);
    }
}

enum tp_err hashing_run(struct hashing *hashing, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx,
                        struct tp_error *error)
{
    if (hashing->queued >= HASHING_QUEUE) {
        return err_set(error, TP_LIMIT, "too many people sign in at this moment, try again in a few seconds");
    }
    struct hashing_job *job = mem_alloc(sizeof *job);
    *job = (struct hashing_job){.hashing = hashing, .work = work, .done = done, .ctx = ctx};
    *hashing->last = job;
    hashing->last = &job->next;
    hashing->queued++;
    start(hashing);
    return TP_OK;
}

void hashing_free(struct hashing *hashing)
{
    hashing->closing = true;
    if (hashing->running == 0 && hashing->queued == 0) {
        mem_free(hashing);
    }
}
