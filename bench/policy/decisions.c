/* Decisions on nodes per second with 1, 10 and 100 roles of ten labels each: one line of JSON per measure.
 *
 *   bench_decisions [SECONDS]      how long each measure runs (1)
 *
 * Three kinds of roles, each asked about a node with ten labels and a login; the last role alone grants, so that all of
 * them are looked at:
 *   exact    the labels of the others differ in some value, as in practice
 *   pattern  every value is a glob, all but the last label match: what no index can rule out
 *   regex    the same with regular expressions
 */
#include "base/mem.h"
#include "rbac/rbac.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LABELS 10
#define BATCH 1000
#define BAR_US 2.0

static const char *const shapes[] = {"exact", "pattern", "regex"};

static _Noreturn void die(const char *text)
{
    (void)fprintf(stderr, "bench_decisions: %s\n", text);
    exit(1);
}

static char *value_of(const char *shape, size_t role, size_t label, size_t roles)
{
    bool wrong = role + 1 < roles && label == LABELS - 1;
    size_t number = wrong ? role + 1000 : 0;
    if (strcmp(shape, "pattern") == 0)
        return mem_printf("value-%zu-*-%zu", label, number);
    if (strcmp(shape, "regex") == 0)
        return mem_printf("^value-%zu-[a-z]+-%zu$", label, number);
    return mem_printf("value-%zu-x-%zu", label, number);
}

static struct role *make_role(const char *shape, size_t role, size_t roles)
{
    json_t *labels = json_object();
    json_t *document;
    struct role *made = NULL;
    struct tp_error error = {0};
    char *name = mem_printf("role-%zu", role);
    char *text;
    for (size_t i = 0; i < LABELS; i++) {
        char *key = mem_printf("label-%zu", i);
        char *value = value_of(shape, role, i, roles);
        json_object_set_new(labels, key, json_string(value));
        mem_free(key);
        mem_free(value);
    }
    document = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[s], s:o}, s:{s:[s]}}}", "kind", "role", "version", "v5",
                         "metadata", "name", name, "spec", "allow", "logins", "ec2-user", "node_labels", labels, "deny",
                         "logins", "guest");
    text = json_dumps(document, JSON_COMPACT);
    if (!text || role_parse_text(text, strlen(text), name, ROLE_WRITTEN, &made, &error))
        die(error.text);
    free(text);
    json_decref(document);
    mem_free(name);
    return made;
}

static struct rbac_set *make_set(const char *shape, size_t count)
{
    struct role **roles = mem_array(count, sizeof *roles);
    struct rbac_user user = {.name = "alice"};
    struct rbac_set *set;
    for (size_t i = 0; i < count; i++)
        roles[i] = make_role(shape, i, count);
    set = rbac_set_new(roles, count, &user, 0);
    for (size_t i = 0; i < count; i++)
        role_unref(roles[i]);
    mem_free(roles);
    return set;
}

/* What this process has computed, in microseconds: what else the machine does is not counted. */
static double used_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double measure(const struct rbac_set *set, double run_us)
{
    char text[LABELS][2][32];
    struct rbac_label labels[LABELS];
    struct rbac_target node = {.kind = ROLE_NODE, .name = "web", .labels = labels, .label_count = LABELS};
    double begin, now;
    size_t done = 0;
    for (size_t i = 0; i < LABELS; i++) {
        snprintf(text[i][0], sizeof text[i][0], "label-%zu", i);
        snprintf(text[i][1], sizeof text[i][1], "value-%zu-x-0", i);
        labels[i] = (struct rbac_label){text[i][0], text[i][1]};
    }
    if (rbac_node_access(set, &node, "guest", NULL) != TP_DENIED)
        die("the denial is missing");
    begin = used_us();
    do {
        for (size_t i = 0; i < BATCH; i++) {
            struct rbac_decision decision;
            if (rbac_node_access(set, &node, "ec2-user", &decision) != TP_OK)
                die("the grant is missing");
        }
        done += BATCH;
        now = used_us();
    } while (now - begin < run_us);
    return (now - begin) / (double)done;
}

int main(int argc, char **argv)
{
    static const size_t counts[] = {1, 10, 100};
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    bool met = true;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (size_t j = 0; j < sizeof counts / sizeof *counts; j++) {
            struct rbac_set *set = make_set(shapes[i], counts[j]);
            double us = measure(set, seconds * 1e6);
            bool barred = i == 0 && counts[j] == 100;
            met = met && (!barred || us < BAR_US);
            (void)printf("{\"bench\": \"policy.decision\", \"labels\": \"%s\", \"roles\": %zu, \"us\": %.3f, "
                         "\"per_second\": %.0f%s}\n",
                         shapes[i], counts[j], us, 1e6 / us,
                         !barred       ? ""
                         : us < BAR_US ? ", \"bar\": \"< 2 us\", \"ok\": true"
                                       : ", \"bar\": \"< 2 us\", \"ok\": false");
            (void)fflush(stdout);
            rbac_set_free(set);
        }
    }
    return met ? 0 : 1;
}
