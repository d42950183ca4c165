/*
 * What may take its time on the thread pool: hashing of passwords, reading of recordings and of the log, sealing of recordings.
 * Of each only few jobs are there at once, so that none of them delays what the pool is also for: while the audit log can't be
 * written nobody gets in. And of one person one, so that who reads much does not keep the others waiting.
 */
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/inner.h"
#include "auth/lane.h"

#include <string.h>

struct lane_job {
    struct lane_job *next;
    struct lane *lane;
    char *who; /* or NULL */
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

struct lane {
    struct loop *loop;
    struct lane_rules rules;
    struct lane_job *waiting;
    struct lane_job **last;
    struct lane_job *running;
    size_t waiting_count;
    size_t running_count;
    bool closing;
};

struct lane *lane_new(struct loop *loop, const struct lane_rules *rules)
{
    struct lane *lane = mem_alloc(sizeof *lane);
    lane->loop = loop;
    lane->rules = *rules;
    lane->last = &lane->waiting;
    return lane;
}

static void job_free(struct lane_job *job)
{
    mem_free(job->who);
    mem_free(job);
}

static size_t count_of(const struct lane_job *list, const char *who)
{
    size_t count = 0;
    for (const struct lane_job *job = list; who != NULL && job != NULL; job = job->next) {
        count += job->who != NULL && strcmp(job->who, who) == 0;
    }
    return count;
}

/* Takes out the first job whose person has none under way. */
static struct lane_job *take_next(struct lane *lane)
{
    for (struct lane_job **at = &lane->waiting; *at != NULL; at = &(*at)->next) {
        struct lane_job *job = *at;
        if (count_of(lane->running, job->who) == 0) {
            *at = job->next;
            if (lane->last == &job->next) {
                lane->last = at;
            }
            lane->waiting_count--;
            return job;
        }
    }
    return NULL;
}

static void start(struct lane *lane);

static void job_work(void *ctx)
{
    const struct lane_job *job = ctx;
    job->work(job->ctx);
}

static void job_done(void *ctx)
{
    struct lane_job *job = ctx;
    struct lane *lane = job->lane;
    struct lane_job **at = &lane->running;
    while (*at != job) {
        at = &(*at)->next;
    }
    *at = job->next;
    lane->running_count--;
    job->done(job->ctx);
    job_free(job);
    start(lane);
    if (lane->closing && lane->running_count == 0) {
        mem_free(lane);
    }
}

static void start(struct lane *lane)
{
    while (lane->running_count < lane->rules.at_once) {
        struct lane_job *job = take_next(lane);
        if (job == NULL) {
            return;
        }
        job->next = lane->running;
        lane->running = job;
        lane->running_count++;
        work_run(lane->loop, job_work, job_done, job);
    }
}

enum tp_err lane_run(struct lane *lane, const char *who, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx,
                     struct tp_error *error)
{
    size_t each = lane->rules.each;
    if (lane->rules.queue > 0 && lane->waiting_count >= lane->rules.queue) {
        return err_set(error, TP_LIMIT, "%s", lane->rules.full);
    }
    if (each > 0 && count_of(lane->waiting, who) + count_of(lane->running, who) >= each) {
        return err_set(error, TP_LIMIT, "you have asked for %zu things at once; wait for one of them", each);
    }
    struct lane_job *job = mem_alloc(sizeof *job);
    *job = (struct lane_job){
        .lane = lane, .who = who != NULL ? mem_strdup(who) : NULL, .work = work, .done = done, .ctx = ctx};
    *lane->last = job;
    lane->last = &job->next;
    lane->waiting_count++;
    start(lane);
    return TP_OK;
}

const char *lane_of(const struct call *call)
{
    return call->caller.who == WHO_LOCAL ? NULL : call->caller.user;
}

void lane_free(struct lane *lane)
{
    lane->closing = true;
    while (lane->waiting != NULL) { /* the process ends: nobody is there any more for whom to do it */
        struct lane_job *job = lane->waiting;
        lane->waiting = job->next;
        job_free(job);
    }
    if (lane->running_count == 0) {
        mem_free(lane);
    }
}
