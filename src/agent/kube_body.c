#include "agent/kube_body.h"

#include "base/mem.h"
#include "base/node.h"
#include "kube/kube_scan.h"

#include <string.h>
#include <strings.h>

#define ATTRIBUTES_MAX ((size_t)64 * 1024)

static enum tp_err bad(struct tp_error *error, const char *what)
{
    return err_set(error, TP_INVALID, "the object in the request can't be read: %s", what);
}

/* The cluster makes up a name that no rule has seen. */
static enum tp_err no_name(struct tp_error *error)
{
    return err_set(error, TP_DENIED,
                   "your roles allow only some names here, and the cluster would choose this one (generateName): "
                   "write metadata.name");
}

static enum tp_err twin(struct tp_error *error)
{
    return bad(error, "some API servers would take one of its keys for metadata");
}

/* What is no clear text, such as one with half a character, is something: the API server makes one of it. */
static bool says_nothing(struct kube_text value)
{
    return value.at == NULL || *value.at == 'n' || (value.size == 2 && *value.at == '"');
}

/* Keys that stand twice are refused where we look for them; the tree of a whole body would take seventeen times its text. */
static enum tp_err from_json(const void *body, size_t size, char **ret_name, struct tp_error *error)
{
    static const char *const of_object[] = {"metadata"};
    static const char *const of_metadata[] = {"name", "generateName"};
    struct kube_text meta = {0};
    struct kube_text parts[2] = {{0}};
    if (size == 0 || !kube_scan_find((struct kube_text){body, size}, of_object, &meta, 1, NULL)) {
        return bad(error, "it is no proper JSON object");
    }
    if (kube_scan_has_twin((struct kube_text){body, size}, "metadata")) {
        return twin(error);
    }
    if (meta.at != NULL && *meta.at != 'n' && !kube_scan_find(meta, of_metadata, parts, 2, NULL)) {
        return bad(error, "metadata is no proper JSON object");
    }
    bool none = parts[0].at == NULL || *parts[0].at == 'n';
    char *name = none ? mem_strdup("") : kube_scan_text(parts[0]);
    if (name == NULL) {
        return bad(error, "metadata.name is no text, or holds a NUL");
    }
    if (name[0] == '\0' && !says_nothing(parts[1])) {
        mem_free(name);
        return no_name(error);
    }
    *ret_name = name;
    return TP_OK;
}

static bool is_empty(const struct node *node)
{
    return node == NULL || node_is_null(node) || (node->kind == NODE_SCALAR && node->text[0] == '\0');
}

static bool has_twin(const struct node *map)
{
    for (size_t i = 0; map != NULL && map->kind == NODE_MAP && i < map->count; i++) {
        if (kube_scan_is_twin((struct kube_text){(const uint8_t *)map->keys[i], strlen(map->keys[i])}, "metadata")) {
            return true;
        }
    }
    return false;
}

static enum tp_err from_yaml(const void *body, size_t size, char **ret_name, struct tp_error *error)
{
    struct node *root = NULL;
    enum tp_err err = node_parse_one(body, size, "the request", &root, error); /* refuses aliases and keys twice */
    if (err != TP_OK) {
        return err;
    }
    const struct node *meta = node_get(root, "metadata");
    const struct node *name = node_get(meta, "name");
    if (has_twin(root)) {
        err = twin(error);
    } else if (name != NULL && name->kind != NODE_SCALAR) {
        err = bad(error, "metadata.name is no text");
    } else if (is_empty(name) && !is_empty(node_get(meta, "generateName"))) {
        err = no_name(error);
    } else {
        *ret_name = mem_strdup(name != NULL && !node_is_null(name) ? name->text : "");
    }
    node_free(root);
    return err;
}

/* ---- protobuf (protobuf.dev, "Encoding") ---- */

struct bytes {
    const uint8_t *at;
    size_t size;
};

static bool take_varint(struct bytes *from, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && from->size > 0; shift += 7) {
        uint8_t byte = *from->at++;
        from->size--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool skip(struct bytes *from, size_t size)
{
    if (size > from->size) {
        return false;
    }
    from->at += size;
    from->size -= size;
    return true;
}

#define NUMBER_MAX 0x1fffffffu /* of a member; readers keep the low bits of a larger one, and take it for another */

/* The one member number (length-delimited) of a message. *ret_found false: absent. false: broken, or there twice: readers
 * would join messages and take the last text. */
static bool take_member(struct bytes from, uint64_t number, struct bytes *ret_member, bool *ret_found)
{
    *ret_found = false;
    while (from.size > 0) {
        uint64_t tag = 0;
        uint64_t value = 0;
        if (!take_varint(&from, &tag) || tag >> 3 == 0 || tag >> 3 > NUMBER_MAX) {
            return false;
        }
        switch (tag & 7) {
        case 0:
            if (!take_varint(&from, &value) || tag >> 3 == number) {
                return false;
            }
            break;
        case 1:
        case 5:
            if (!skip(&from, (tag & 7) == 1 ? 8 : 4) || tag >> 3 == number) {
                return false;
            }
            break;
        case 2:
            if (!take_varint(&from, &value) || value > from.size) {
                return false;
            }
            if (tag >> 3 == number) {
                if (*ret_found) {
                    return false;
                }
                *ret_found = true;
                *ret_member = (struct bytes){from.at, (size_t)value};
            }
            (void)skip(&from, (size_t)value);
            break;
        default: /* groups are not used */
            return false;
        }
    }
    return true;
}

/* runtime.Unknown: 2 is raw, 3 is contentEncoding. *ret_found false: it holds no object. NULL, or what is wrong. */
static const char *take_object(const uint8_t *body, size_t size, struct bytes *ret_raw, bool *ret_found)
{
    static const uint8_t magic[] = {'k', '8', 's', 0};
    struct bytes encoding = {0};
    if (size < sizeof(magic) || memcmp(body, magic, sizeof(magic)) != 0) {
        return "it is no Kubernetes protobuf";
    }
    struct bytes unknown = {body + sizeof(magic), size - sizeof(magic)};
    if (!take_member(unknown, 3, &encoding, ret_found) || (*ret_found && encoding.size > 0)) {
        return "it is encoded in an unknown way";
    }
    return take_member(unknown, 2, ret_raw, ret_found) ? NULL : "it is no proper protobuf";
}

static enum tp_err from_protobuf(const uint8_t *body, size_t size, char **ret_name, struct tp_error *error)
{
    struct bytes raw = {0};
    struct bytes meta = {0};
    struct bytes name = {0};
    struct bytes prefix = {0};
    bool found = false;
    bool generates = false;
    const char *wrong = take_object(body, size, &raw, &found);
    if (wrong != NULL) {
        return bad(error, wrong);
    }
    /* Every object: 1 is metadata; ObjectMeta: 1 is name, 2 is generateName. */
    if ((found && !take_member(raw, 1, &meta, &found)) || (found && !take_member(meta, 2, &prefix, &generates)) ||
        (found && !take_member(meta, 1, &name, &found))) {
        return bad(error, "it is no proper protobuf");
    }
    if (name.size == 0 && prefix.size > 0) {
        return no_name(error);
    }
    if (found && memchr(name.at, '\0', name.size) != NULL) {
        return bad(error, "metadata.name holds a NUL");
    }
    *ret_name = found ? mem_strndup((const char *)name.at, name.size) : mem_strdup("");
    return TP_OK;
}

static bool is_type(const char *content_type, const char *wanted)
{
    const char *type = content_type != NULL ? content_type : "application/json";
    size_t length = strcspn(type, "; \t");
    return length == strlen(wanted) && strncasecmp(type, wanted, length) == 0;
}

enum tp_err kube_body_name(const char *content_type, const void *body, size_t size, char **ret_name,
                           struct tp_error *error)
{
    if (is_type(content_type, "application/json")) {
        return from_json(body, size, ret_name, error);
    }
    if (is_type(content_type, "application/yaml")) {
        return from_yaml(body, size, ret_name, error);
    }
    if (is_type(content_type, "application/vnd.kubernetes.protobuf")) {
        return from_protobuf(body, size, ret_name, error);
    }
    return err_set(error, TP_INVALID, "objects of the type %.100s can't be checked against your roles", content_type);
}

/* ---- what a person asks ---- */

static json_t *attributes_of_protobuf(const void *body, size_t size)
{
    /* ResourceAttributes: the members by number. */
    static const struct {
        uint64_t number;
        const char *name;
    } members[] = {{1, "namespace"}, {2, "verb"}, {3, "group"}, {5, "resource"}, {6, "subresource"}, {7, "name"}};
    struct bytes raw = {0};
    struct bytes spec = {0};
    struct bytes attributes = {0};
    bool found = false;
    /* SelfSubjectAccessReview: 2 is spec; its 1 is resourceAttributes. */
    if (take_object(body, size, &raw, &found) != NULL || !found || !take_member(raw, 2, &spec, &found) || !found ||
        !take_member(spec, 1, &attributes, &found) || !found) {
        return NULL;
    }
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        struct bytes value = {0};
        bool fine = take_member(attributes, members[i].number, &value, &found) &&
                    (!found || json_object_set_new(object, members[i].name,
                                                   json_stringn((const char *)value.at, value.size)) == 0);
        if (!fine) { /* no UTF-8, or not of that form */
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *kube_body_attributes(const char *content_type, const void *body, size_t size)
{
    static const char *const of_review[] = {"spec"};
    static const char *const of_spec[] = {"resourceAttributes"};
    struct kube_text spec = {0};
    struct kube_text asked = {0};
    struct tp_error ignored = {0};
    json_t *attributes = NULL;
    if (is_type(content_type, "application/vnd.kubernetes.protobuf")) {
        return attributes_of_protobuf(body, size);
    }
    if (size == 0 || !is_type(content_type, "application/json") ||
        !kube_scan_find((struct kube_text){body, size}, of_review, &spec, 1, NULL) || spec.at == NULL ||
        !kube_scan_find(spec, of_spec, &asked, 1, NULL) || asked.at == NULL ||
        json_parse_object(asked.at, asked.size, ATTRIBUTES_MAX, &attributes, &ignored) != TP_OK) {
        return NULL;
    }
    return attributes;
}
