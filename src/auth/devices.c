#include "auth/devices.h"
#include "auth/inner.h"

#include <string.h>

#define NAME_MAX_BYTES 64

json_t *devices_make(const char *name, const char *seed, int64_t step)
{
    char id[UUID_TEXT_SIZE];
    crypt_uuid(id);
    return json_pack("{s:s, s:s, s:s, s:I, s:o}", "id", id, "name", name, "totp", seed, "last_step", (json_int_t)step,
                     "added", doc_time(clock_wall_ms()));
}

/* One device in members of the login itself; before devices had ids it had none. */
static void convert(json_t *login, json_t *list)
{
    const char *seed = json_get_text(login, "totp", NULL);
    const char *id = json_get_text(login, "device_id", "");
    if (seed == NULL) {
        return;
    }
    json_t *device = devices_make(json_get_text(login, "device", "otp"), seed, json_get_int(login, "last_step", 0));
    if (strlen(id) == UUID_TEXT_SIZE - 1) {
        json_object_set_new(device, "id", json_string(id));
    }
    json_object_set_new(device, "added", json_string(json_get_text(login, "created", "")));
    json_array_append_new(list, device);
    json_object_del(login, "totp");
    json_object_del(login, "device_id");
    json_object_del(login, "device");
    json_object_del(login, "last_step");
}

json_t *devices_of(json_t *login)
{
    json_t *list = json_object_get(login, "devices");
    if (!json_is_array(list)) {
        list = json_array();
        convert(login, list);
        json_object_set_new(login, "devices", list);
    }
    return list;
}

json_t *devices_find(json_t *login, const char *id)
{
    size_t i;
    json_t *device;
    json_array_foreach (devices_of(login), i, device) {
        if (strcmp(json_get_text(device, "id", ""), id) == 0) {
            return device;
        }
    }
    return NULL;
}

enum tp_err devices_check_name(json_t *login, const char *name, const char *id, struct tp_error *error)
{
    size_t length = strlen(name);
    size_t i;
    json_t *device;
    if (length == 0 || length > NAME_MAX_BYTES || name[0] == ' ' || name[length - 1] == ' ') {
        return err_set(error, TP_INVALID, "a device's name has 1 to %d bytes and no blanks at its ends",
                       NAME_MAX_BYTES);
    }
    for (const char *at = name; *at != '\0'; at++) {
        bool c1 = (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0;
        if ((unsigned char)*at < ' ' || *at == 0x7f || c1) {
            return err_set(error, TP_INVALID, "a device's name may hold no control characters");
        }
    }
    json_array_foreach (devices_of(login), i, device) {
        bool same = id != NULL && strcmp(json_get_text(device, "id", ""), id) == 0;
        if (!same && strcmp(json_get_text(device, "name", ""), name) == 0) {
            return err_set(error, TP_EXISTS, "you have a device with this name already");
        }
    }
    return TP_OK;
}

json_t *devices_shown(json_t *login)
{
    json_t *shown = json_array();
    size_t i;
    json_t *device;
    json_array_foreach (devices_of(login), i, device) {
        json_array_append_new(shown,
                              json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", json_get_text(device, "id", ""), "name",
                                        json_get_text(device, "name", ""), "type", "totp", "added",
                                        json_get_text(device, "added", ""), "used", json_get_text(device, "used", "")));
    }
    return shown;
}
