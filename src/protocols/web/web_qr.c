/* QR codes as PNG images (libqrencode, libpng). */
#include "base/enc.h"
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <png.h>
#include <qrencode.h>
#include <string.h>

#define QR_SCALE 6
#define QR_BORDER 4 /* the quiet zone of the standard, in modules */

/* One byte a pixel, 0 black. */
static uint8_t *draw(const QRcode *code, size_t *ret_side)
{
    size_t modules = (size_t)code->width;
    size_t side = (modules + 2 * QR_BORDER) * QR_SCALE;
    uint8_t *pixels = mem_alloc(side * side);
    memset(pixels, 0xff, side * side);
    for (size_t y = 0; y < modules * QR_SCALE; y++) {
        uint8_t *line = pixels + (y + QR_BORDER * QR_SCALE) * side + QR_BORDER * QR_SCALE;
        for (size_t x = 0; x < modules * QR_SCALE; x++) {
            if (code->data[(y / QR_SCALE) * modules + x / QR_SCALE] & 1)
                line[x] = 0;
        }
    }
    *ret_side = side;
    return pixels;
}

char *web_qr_base64(const char *text)
{
    QRcode *code = *text ? QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1) : NULL;
    png_image image;
    uint8_t *pixels;
    uint8_t *png;
    char *result = NULL;
    size_t side = 0;
    png_alloc_size_t size;
    if (!code)
        return NULL;
    pixels = draw(code, &side);
    memset(&image, 0, sizeof(image));
    image.version = PNG_IMAGE_VERSION;
    image.width = (png_uint_32)side;
    image.height = (png_uint_32)side;
    image.format = PNG_FORMAT_GRAY;
    size = PNG_IMAGE_PNG_SIZE_MAX(image);
    png = mem_alloc(size);
    if (png_image_write_to_memory(&image, png, &size, 0, pixels, 0, NULL))
        result = enc_base64(png, size);
    secret_wipe(png, size);
    secret_wipe(pixels, side * side);
    secret_wipe(code->data, (size_t)code->width * (size_t)code->width);
    mem_free(png);
    mem_free(pixels);
    png_image_free(&image);
    QRcode_free(code);
    return result;
}
