/* tportctl access explain, access who: why, and who. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/tportctl/access_world.h"
#include "rbac/kube.h"

#include <stdio.h>
#include <string.h>

static const char *const formats[] = {"text", "json", NULL};

struct question {
    const char *verb;
    char *kind;
    const char *name; /* or NULL */
    const char *login;
    const char *group;
    int64_t at_ms;
    bool access; /* reach the resource; otherwise the rules on its kind are asked */
    enum role_target target;
    const json_t *resource; /* or NULL */
};

static bool target_of(const char *kind, enum role_target *ret_target)
{
    for (int i = 0; i < ROLE_TARGET_COUNT; i++) {
        if (strcmp(role_target_name((enum role_target)i), kind) == 0) {
            *ret_target = (enum role_target)i;
            return true;
        }
    }
    return false;
}

static enum tp_err read_question(const struct command_line *line, const char *verb, const char *reference,
                                 struct question *question, struct tp_error *error)
{
    const char *slash = strchr(reference, '/');
    const char *at = command_text(line, "at", NULL);
    char *word = slash ? mem_strndup(reference, (size_t)(slash - reference)) : mem_strdup(reference);
    const char *kind = tportctl_kind(word);
    *question = (struct question){.verb = verb,
                                  .kind = mem_strdup(kind ? kind : word),
                                  .name = slash && slash[1] ? slash + 1 : NULL,
                                  .login = command_text(line, "login", NULL),
                                  .group = command_text(line, "kube-group", NULL),
                                  .at_ms = clock_wall_ms()};
    mem_free(word);
    question->access = strcmp(verb, "access") == 0 || strcmp(verb, "connect") == 0 || strcmp(verb, "ssh") == 0;
    if (at && clock_parse_ms(at, &question->at_ms))
        return err_set(error, TP_INVALID, "--at must be a time such as 2026-01-31T08:00:00Z, not \"%s\"", at);
    if (question->access && (!target_of(question->kind, &question->target) || !question->name))
        return err_set(error, TP_INVALID, "give the resource as KIND/NAME, for example node/web-1 or kube_cluster/dev");
    for (size_t i = 0; !question->access && rbac_verbs[i]; i++)
        if (strcmp(rbac_verbs[i], verb) == 0)
            return TP_OK;
    return question->access ? TP_OK
                            : err_set(error, TP_INVALID,
                                      "unknown verb \"%s\": access for reaching a resource, or list, read, create, "
                                      "update, delete and the other verbs of rules",
                                      verb);
}

static struct rbac_set *set_of(struct role *const roles[], size_t count, const struct user *user, unsigned flags)
{
    json_t *names = json_array();
    struct rbac_user who = {.name = user->name, .traits = user->traits, .roles = names};
    struct rbac_set *set;
    for (size_t i = 0; i < user->role_count; i++)
        json_array_append_new(names, json_string(user->roles[i]));
    set = rbac_set_new(roles, count, &who, flags);
    json_decref(names);
    return set;
}

static bool has_group(const struct rbac_set *set, const struct rbac_target *target, const char *group)
{
    json_t *users, *groups;
    bool has;
    rbac_kube_subjects(set, target, 0, &users, &groups);
    has = json_list_has(groups, group);
    json_decref(users);
    json_decref(groups);
    return has;
}

static enum tp_err ask(const struct question *question, const struct rbac_set *set, struct rbac_decision *decision)
{
    struct rbac_context context = {.resource = question->resource};
    struct rbac_access access = {.login = question->login, .mfa_verified = true, .device_verified = true};
    struct rbac_target target = {.kind = question->target, .name = question->name};
    struct rbac_label *labels;
    json_t *all;
    enum tp_err answer;
    if (!question->access)
        return rbac_rule(set, question->verb, question->kind, &context, decision);
    all = output_node_labels(question->resource);
    labels = rbac_labels_from_json(all, NULL, &target.label_count);
    target.labels = labels;
    answer = rbac_access(set, &target, &access, decision);
    if (!answer && question->group && !has_group(set, &target, question->group)) {
        answer = TP_DENIED;
        *decision = (struct rbac_decision){.reason = RBAC_NO_LOGIN};
        snprintf(decision->detail, sizeof decision->detail, "no role gives the Kubernetes group %.100s here",
                 question->group);
    }
    mem_free(labels);
    json_decref(all);
    return answer;
}

/* What each role says by itself. */
static json_t *role_answers(const struct question *question, struct role *const roles[], size_t count,
                            const struct user *user)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct rbac_set *set = set_of(&roles[i], 1, user, RBAC_WITHOUT_IMPLICIT_ROLE);
        struct rbac_decision decision = {.reason = RBAC_NO_GRANT};
        enum tp_err answer = ask(question, set, &decision);
        const char *word = answer == TP_OK ? "allow" : strcmp(decision.section, "deny") == 0 ? "deny" : "none";
        json_t *one =
            json_pack("{s:s, s:s, s:s, s:s, s:s}", "role", role_name(roles[i]), "answer", word, "section",
                      decision.section, "reason", rbac_reason_name(decision.reason), "detail", decision.detail);
        if (one)
            json_array_append_new(list, one);
        rbac_set_free(set);
    }
    return list;
}

static void print_line(const char *text)
{
    output_safe(text);
    (void)printf("\n");
}

static void print_text(const json_t *answer)
{
    size_t index;
    json_t *one;
    char *text = mem_printf("%s: %s%s%s%s%s%s", output_text_at(answer, "decision"), output_text_at(answer, "reason"),
                            *output_text_at(answer, "role") ? " by role " : "", output_text_at(answer, "role"),
                            *output_text_at(answer, "section") ? ", spec." : "", output_text_at(answer, "section"), "");
    print_line(text);
    mem_free(text);
    if (*output_text_at(answer, "detail"))
        print_line(output_text_at(answer, "detail"));
    json_array_foreach (json_object_get(answer, "roles"), index, one) {
        text = mem_printf("  role %s: %s (%s%s%s)", output_text_at(one, "role"), output_text_at(one, "answer"),
                          output_text_at(one, "reason"), *output_text_at(one, "detail") ? ": " : "",
                          output_text_at(one, "detail"));
        print_line(text);
        mem_free(text);
    }
}

static json_t *explain(const struct question *question, const struct access_world *world, const struct user *user)
{
    size_t count;
    struct role **roles = access_world_roles(world, user, question->at_ms, &count);
    struct rbac_set *set = set_of(roles, count, user, 0);
    struct rbac_decision decision = {.reason = RBAC_NO_GRANT};
    const char *lock = access_world_lock(world, user, question->login, question->resource, question->at_ms);
    bool gone = user_locked(user, question->at_ms) || (user->expires_ms && question->at_ms >= user->expires_ms);
    enum tp_err result = ask(question, set, &decision);
    json_t *answer;
    if (lock || gone) {
        result = TP_DENIED;
        decision = (struct rbac_decision){.reason = RBAC_NO_GRANT};
        snprintf(decision.detail, sizeof decision.detail, "%s%.100s", lock ? "lock " : "the user is locked or expired",
                 lock ? lock : "");
    }
    answer =
        json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:s, s:s, s:s, s:s, s:s, s:o}", "user", user->name, "verb",
                  question->verb, "kind", question->kind, "name", question->name, "login", question->login, "decision",
                  result == TP_OK ? "allow" : "deny", "reason",
                  lock || gone ? "locked" : rbac_reason_name(decision.reason), "role", decision.role, "section",
                  decision.section, "detail", decision.detail, "roles", role_answers(question, roles, count, user));
    rbac_set_free(set);
    for (size_t i = 0; i < count; i++)
        role_unref(roles[i]);
    mem_free(roles);
    return answer;
}

enum tp_err tportctl_access_explain(struct command_line *line, struct tp_error *error)
{
    struct question question = {0};
    struct access_world world = {0};
    struct user *user = NULL;
    const char *format = NULL;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (!err)
        err = read_question(line, line->args[1], line->args[2], &question, error);
    if (!err)
        err = access_world_open(line, question.name ? question.kind : NULL, &world, error);
    if (!err)
        err = access_world_user(&world, line->args[0], &user, error);
    if (!err && question.name)
        err = access_world_resource(&world, question.kind, question.name, &question.resource, error);
    if (!err) {
        json_t *answer = explain(&question, &world, user);
        if (strcmp(format, "json") == 0)
            output_json(answer);
        else
            print_text(answer);
        json_decref(answer);
    }
    user_free(user);
    access_world_free(&world);
    mem_free(question.kind);
    return err;
}

enum tp_err tportctl_access_who(struct command_line *line, struct tp_error *error)
{
    struct question question = {0};
    struct access_world world = {0};
    const char *format = NULL;
    json_t *list = json_array(), *item;
    size_t index;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (!err)
        err = read_question(line, "access", line->args[0], &question, error);
    if (!err)
        err = access_world_open(line, question.kind, &world, error);
    if (!err)
        err = access_world_resource(&world, question.kind, question.name, &question.resource, error);
    json_array_foreach (world.users, index, item) {
        struct user *user = NULL;
        json_t *answer;
        if (err || user_parse_json(item, &user, NULL))
            continue;
        answer = explain(&question, &world, user);
        if (strcmp(output_text_at(answer, "decision"), "allow") == 0)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "user", user->name, "role",
                                                  output_text_at(answer, "role"), "detail",
                                                  output_text_at(answer, "detail")));
        json_decref(answer);
        user_free(user);
    }
    if (!err && strcmp(format, "json") == 0)
        output_json(list);
    json_array_foreach (list, index, item) {
        if (!err && strcmp(format, "text") == 0) {
            char *text = mem_printf("%s (role %s: %s)", output_text_at(item, "user"), output_text_at(item, "role"),
                                    output_text_at(item, "detail"));
            print_line(text);
            mem_free(text);
        }
    }
    json_decref(list);
    access_world_free(&world);
    mem_free(question.kind);
    return err;
}
