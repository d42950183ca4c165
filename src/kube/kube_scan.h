/*
 * A JSON text in which a few members matter and the rest is passed on: where these stand, found in one go and without a tree, which
 * takes seventeen times the text and the time to make it. What is looked at is JSON by its grammar; keys that stand twice are
 * found by whoever looks for them.
 */
#ifndef KUBE_SCAN_H
#define KUBE_SCAN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kube_text {
    const uint8_t *at; /* NULL: absent */
    size_t size;
};

struct kube_scan {
    const uint8_t *at, *end;
    bool failed;
    bool begun; /* in an object or list, behind its first entry */
};

void kube_scan_init(struct kube_scan *scan, struct kube_text text);
/* Enters the object ('{') or list ('[') that begins here. */
void kube_scan_open(struct kube_scan *scan, char bracket);
/* The next member of the object, its key without the quotes, or element of the list; false at its end, which is taken, and when
 * it is no JSON. */
bool kube_scan_member(struct kube_scan *scan, struct kube_text *ret_key, struct kube_text *ret_value);
bool kube_scan_element(struct kube_scan *scan, struct kube_text *ret_value);
/* Behind the end nothing follows but blanks, and all was well. */
bool kube_scan_done(struct kube_scan *scan);
/* The members of those names of an object, each NULL where it has none. false: it is no object, or has one of them twice. Takes
 * all of text; ret_end (may be NULL) is behind the object. */
bool kube_scan_find(struct kube_text text, const char *const *names, struct kube_text *ret_values, size_t count,
                    const uint8_t **ret_end);

/* API servers before 1.23 (json-iterator) know the members of most objects by a hash of their names, and anybody finds other keys
 * that have it. True: key (a text without escapes) is not name, and may be taken for it. */
bool kube_scan_is_twin(struct kube_text key, const char *name);
/* The JSON object has a member with such a key. */
bool kube_scan_has_twin(struct kube_text object, const char *name);

/* What a string says; NULL: it is none, or has a NUL in it and would be compared as a shorter one. mem_free it. */
char *kube_scan_text(struct kube_text value) TP_MUST;

#endif
