#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "server.h"

char *room_for(text *t, size_t more) {
    if (t->size + more + 1 > t->room) {
        t->room = 2 * (t->size + more + 1);
        if (!(t->data = realloc(t->data, t->room))) {
            say("there is no memory");
            exit(1);
        }
    }
    return t->data + t->size;
}

void add(text *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *place = room_for(t, (size_t)size);
    va_start(arguments, format);
    vsnprintf(place, (size_t)size + 1, format, arguments);
    va_end(arguments);
    t->size += (size_t)size;
}

void add_json(text *t, const char *string) {
    add(t, "\"");
    for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
        if (*c == '"' || *c == '\\')
            add(t, "\\%c", *c);
        else if (*c < 0x20)
            add(t, "\\u%04x", *c);
        else
            add(t, "%c", *c < 0x7f ? *c : '?');
    }
    add(t, "\"");
}

int read_line(const char *path, char *line, size_t room) {
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    int found = fgets(line, (int)room, file) != NULL;
    fclose(file);
    if (found) line[strcspn(line, "\r\n")] = 0;
    return found;
}
