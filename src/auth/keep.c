/* Looking after the audit log: indexes of days that have none, and retention. What retention removes is told in the log
 * itself before it goes; audit_prune_run makes sure of that. */
#include "auth/audit.h"
#include "auth/inner.h"
#include "auth/keep.h"
#include "auth/settings.h"

#include <string.h>

#define TRIES 60 /* seconds in which a checkpoint must cover the statement; else the next round goes on */

enum stage {
    IDLE,
    PLANNING, /* on the thread pool */
    STATING,  /* the event is being written */
    WAITING,  /* for the next second */
    REMOVING, /* on the thread pool */
};

struct keep {
    struct auth *auth; /* NULL: closed while a job was out */
    char *dir;
    enum stage stage;
    bool resumed; /* an interrupted removal was looked for */
    bool held;    /* it was said that the log is larger than it should be */
    struct keep_clock clock;
    bool jumped; /* it was said that the clock is not believed */
    int tries;
    struct audit_keep rule;
    struct audit_prune plan;
    enum tp_err err;
    enum tp_err index_err;
    struct tp_error error;
};

static void keep_free(struct keep *keep)
{
    mem_free(keep->dir);
    mem_free(keep);
}

static void plan_work(void *ctx)
{
    struct keep *keep = ctx;
    keep->error = (struct tp_error){0};
    keep->err = TP_OK;
    keep->plan = (struct audit_prune){0};
    keep->index_err = audit_log_index(keep->dir, &keep->error);
    if (keep->index_err == TP_OK) {
        keep->err = audit_prune_plan(keep->dir, &keep->rule, &keep->plan, &keep->error);
    }
}

static void remove_work(void *ctx)
{
    struct keep *keep = ctx;
    keep->error = (struct tp_error){0};
    keep->err = audit_prune_run(keep->dir, &keep->plan, &keep->error);
}

static void remove_done(void *ctx)
{
    struct keep *keep = ctx;
    keep->stage = IDLE;
    if (keep->auth == NULL) {
        keep_free(keep);
    } else if (keep->err == TP_AGAIN && keep->tries < TRIES) {
        keep->stage = WAITING;
    } else if (keep->err != TP_OK) {
        keep->resumed = false;
        log_error("old audit events could not be removed, will be tried again", "error=\"%s\"", keep->error.text);
    } else {
        log_info("old audit events removed", "before=%s first_leaf=%llu", keep->plan.first_day,
                 (unsigned long long)keep->plan.first_leaf);
    }
}

static void remove_start(struct keep *keep)
{
    keep->stage = REMOVING;
    keep->tries++;
    work_run(keep->auth->loop, remove_work, remove_done, keep);
}

static void stated(void *ctx, const struct tp_error *error)
{
    struct keep *keep = ctx;
    if (keep->auth == NULL) {
        keep_free(keep);
    } else if (error != NULL) {
        keep->stage = IDLE;
        log_error("old audit events stay: that they go could not be recorded", "error=\"%s\"", error->text);
    } else {
        keep->stage = WAITING;
    }
}

static void state(struct keep *keep)
{
    const struct audit_prune *plan = &keep->plan;
    json_t *event = event_new("audit.prune", true, keep->auth->settings.cluster);
    json_object_set_new(event, "first_leaf", json_integer((json_int_t)plan->first_leaf));
    json_object_set_new(event, "first_day", json_string(plan->first_day));
    json_object_set_new(event, "from_day", json_string(plan->from_day));
    json_object_set_new(event, "days", json_integer((json_int_t)plan->days));
    json_object_set_new(event, "events", json_integer((json_int_t)plan->events));
    json_object_set_new(event, "bytes", json_integer((json_int_t)plan->bytes));
    json_object_set_new(event, "reason", json_string(plan->reason));
    char limit[CLOCK_TEXT_SIZE];
    clock_format_duration_ms(keep->rule.max_age_ms, limit);
    json_object_set_new(event, "max_age", json_string(keep->rule.max_age_ms > 0 ? limit : "unlimited"));
    json_object_set_new(event, "max_size", json_integer((json_int_t)keep->rule.max_bytes));
    keep->stage = STATING;
    log_warn("old audit events will be removed", "from=%s before=%s events=%llu bytes=%llu reason=%s", plan->from_day,
             plan->first_day, (unsigned long long)plan->events, (unsigned long long)plan->bytes, plan->reason);
    audit_emit(keep->auth, event, stated, keep);
}

/* Once, not each ten minutes. */
static void say_held(struct keep *keep)
{
    if (keep->plan.held && !keep->held) {
        log_warn("the audit log is larger than events_max_size, and what could go is younger than min_age, so it stays",
                 "max_size=%llu", (unsigned long long)keep->rule.max_bytes);
    }
    keep->held = keep->plan.held;
}

static void plan_done(void *ctx)
{
    struct keep *keep = ctx;
    keep->stage = IDLE;
    if (keep->auth == NULL) {
        keep_free(keep);
    } else if (keep->index_err != TP_OK) {
        log_warn("audit index not made, will be tried again", "error=\"%s\"", keep->error.text);
    } else if (keep->err == TP_AGAIN) {
        log_debug("retention waits", "reason=\"%s\"", keep->error.text);
    } else if (keep->err != TP_OK) {
        log_error("retention of the audit log stopped", "error=\"%s\"", keep->error.text);
    } else {
        keep->resumed = true;
        keep->tries = 0;
        say_held(keep);
        if (keep->plan.first_leaf > 0 && keep->plan.stated) {
            remove_start(keep);
        } else if (keep->plan.first_leaf > 0) {
            state(keep);
        }
    }
}

/* What retention believes is kept, so that a clock that is wrong at a start is found out, too. */
static void step_clock(struct auth *auth)
{
    struct keep *keep = auth->keep;
    int64_t wall = clock_wall_ms();
    bool believed = keep_clock_step(&keep->clock, wall, clock_mono_ms());
    if (!believed && !keep->jumped) {
        char wall_text[CLOCK_TEXT_SIZE];
        char text[CLOCK_TEXT_SIZE];
        clock_format_ms(wall, wall_text);
        clock_format_ms(keep->clock.now_ms, text);
        log_warn("the clock has jumped ahead: retention believes it when it has stayed there for a day",
                 "clock=%s believed=%s", wall_text, text);
    }
    keep->jumped = !believed;
    json_t *doc = json_pack("{s:I, s:I, s:I}", "now", (json_int_t)keep->clock.now_ms, "ahead",
                            (json_int_t)keep->clock.ahead_ms, "settled", (json_int_t)keep->clock.settled_ms);
    batch_put(auth, "/retention/", "clock", doc);
    json_decref(doc);
}

static void load_clock(struct auth *auth)
{
    json_t *doc = NULL;
    struct tp_error ignored = {0};
    if (doc_find(auth->state, "/retention/", "clock", &doc, NULL, &ignored) == TP_OK) {
        auth->keep->clock.now_ms = json_get_int(doc, "now", 0);
        auth->keep->clock.ahead_ms = json_get_int(doc, "ahead", 0);
        auth->keep->clock.settled_ms = json_get_int(doc, "settled", 0);
    }
    json_decref(doc);
}

int64_t keep_now(const struct auth *auth)
{
    return auth->keep->clock.now_ms;
}

bool keep_is_settled(const struct auth *auth)
{
    return keep_clock_is_settled(&auth->keep->clock);
}

void keep_round(struct auth *auth)
{
    struct keep *keep = auth->keep;
    step_clock(auth);
    if (keep->stage == IDLE) {
        const struct keep_rules *rules = &auth->settings.keep;
        keep->stage = PLANNING;
        keep->rule = (struct audit_keep){.now_ms = keep_now(auth),
                                         .max_age_ms = rules->events_max_age_ms,
                                         .max_bytes = rules->events_max_bytes,
                                         .min_age_ms = rules->min_age_ms,
                                         .resume = !keep->resumed};
        work_run(auth->loop, plan_work, plan_done, keep);
    }
    keep_recordings_round(auth);
}

void keep_second(struct auth *auth)
{
    if (auth->keep->stage == WAITING) {
        remove_start(auth->keep);
    }
}

void keep_open(struct auth *auth)
{
    struct keep *keep = mem_alloc(sizeof *keep);
    keep->auth = auth;
    keep->dir = mem_strdup(audit_dir(auth));
    auth->keep = keep;
    load_clock(auth);
    keep_recordings_open(auth);
}

void keep_close(struct auth *auth)
{
    struct keep *keep = auth->keep;
    auth->keep = NULL;
    keep_recordings_close(auth);
    if (keep != NULL && (keep->stage == PLANNING || keep->stage == REMOVING || keep->stage == STATING)) {
        keep->auth = NULL;
    } else if (keep != NULL) {
        keep_free(keep);
    }
}
