
/*
 * Reading the packet table.
 */


#include "mqtt_table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>


typedef struct {
    const char  *name;
    size_t       offset;
    size_t       size;
} mqtt_field_t;


static const mqtt_field_t  mqtt_fields[] = {
    { "name", offsetof(mqtt_case_t, name), sizeof(((mqtt_case_t *) 0)->name) },
    { "limits", offsetof(mqtt_case_t, limits),
      sizeof(((mqtt_case_t *) 0)->limits) },
    { "result", offsetof(mqtt_case_t, result),
      sizeof(((mqtt_case_t *) 0)->result) },
    { "expect", offsetof(mqtt_case_t, expect),
      sizeof(((mqtt_case_t *) 0)->expect) },
    { "write", offsetof(mqtt_case_t, write),
      sizeof(((mqtt_case_t *) 0)->write) },
    { NULL, 0, 0 }
};


static void
mqtt_table_die(const char *file, int line, const char *text)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
    exit(2);
}


/* appends the octets of a line; returns what is wrong with it, or NULL */

static const char *
mqtt_table_octets(mqtt_case_t *c, const char *p)
{
    char           *end;
    char            pair[3];
    uint8_t         octet;
    unsigned long   n;

    for ( ;; ) {
        p += strspn(p, " ");

        if (*p == '\0' || *p == '#') {
            return NULL;
        }

        if (*p == '"') {
            for (p++; *p != '"'; p++) {
                if (*p == '\0' || c->len == MQTT_CASE_DATA) {
                    return "bad text";
                }

                c->data[c->len++] = (uint8_t) *p;
            }

            p++;
            continue;
        }

        if (!isxdigit((unsigned char) p[0]) || !isxdigit((unsigned char) p[1]))
        {
            return "neither an octet nor text";
        }

        memcpy(pair, p, 2);
        pair[2] = '\0';
        octet = (uint8_t) strtoul(pair, NULL, 16);
        p += 2;
        n = 1;

        if (*p == '*') {
            n = strtoul(p + 1, &end, 10);
            p = end;
        }

        if (n > MQTT_CASE_DATA - c->len) {
            return "too many octets";
        }

        memset(c->data + c->len, octet, n);
        c->len += n;
    }
}


static const char *
mqtt_table_field(mqtt_case_t *c, const char *line)
{
    char                *at;
    size_t               n, used;
    const char          *value;
    const mqtt_field_t  *field;

    value = strstr(line, ": ");
    if (value == NULL) {
        return "neither a field nor octets";
    }

    n = (size_t) (value - line);
    value += 2;

    if (n == 7 && memcmp(line, "version", 7) == 0) {
        c->version = atoi(value);
        return c->version == 4 || c->version == 5 ? NULL : "bad version";
    }

    if (strcmp(line, "live: skip") == 0) {
        return NULL;
    }

    for (field = mqtt_fields; field->name; field++) {

        if (strlen(field->name) != n || memcmp(line, field->name, n) != 0) {
            continue;
        }

        at = (char *) c + field->offset;
        used = strlen(at);

        if (used + strlen(value) + 2 > field->size) {
            return "value is too long";
        }

        sprintf(at + used, "%s%s", used ? " " : "", value);

        return NULL;
    }

    return "unknown field";
}


static void
mqtt_table_check(const char *file, int line, const mqtt_case_t *cases,
    size_t n)
{
    size_t              i;
    const mqtt_case_t  *c;

    c = &cases[n];

    if (c->name[0] == '\0' || c->version == 0
        || (c->result[0] == '\0') == (c->write[0] == '\0'))
    {
        mqtt_table_die(file, line, "case without name, version or result");
    }

    if (c->result[0] && strcmp(c->result, "ok") != 0
        && strcmp(c->result, "again") != 0
        && (strncmp(c->result, "error ", 6) != 0 || strlen(c->result) != 8))
    {
        mqtt_table_die(file, line, "unknown result");
    }

    for (i = 0; i < n; i++) {
        if (strcmp(cases[i].name, c->name) == 0
            && cases[i].version == c->version)
        {
            mqtt_table_die(file, line, "name is there twice");
        }
    }
}


size_t
mqtt_table_read(const char *name, mqtt_case_t **cases)
{
    int          line, open;
    FILE        *file;
    char         text[256], path[512];
    size_t       n;
    const char  *folder, *wrong;

    folder = getenv("PACKETS");
    snprintf(path, sizeof(path), "%s/%s", folder ? folder : "t/packets", name);

    file = fopen(path, "r");
    if (file == NULL) {
        mqtt_table_die(path, 0, "cannot be opened");
    }

    *cases = NULL;
    n = 0;
    open = 0;

    for (line = 1; fgets(text, sizeof(text), file); line++) {
        text[strcspn(text, "\n")] = '\0';

        if (text[0] == '#') {
            continue;
        }

        if (text[0] == '\0') {
            if (open) {
                mqtt_table_check(path, line, *cases, n++);
                open = 0;
            }

            continue;
        }

        if (!open) {
            *cases = realloc(*cases, (n + 1) * sizeof(mqtt_case_t));
            memset(&(*cases)[n], 0, sizeof(mqtt_case_t));
            snprintf((*cases)[n].where, sizeof((*cases)[n].where), "%s:%d",
                     name, line);
            open = 1;
        }

        wrong = (text[0] == '>' || text[0] == '<')
                ? mqtt_table_octets(&(*cases)[n], text + 1)
                : mqtt_table_field(&(*cases)[n], text);

        if (wrong) {
            mqtt_table_die(path, line, wrong);
        }
    }

    if (open) {
        mqtt_table_check(path, line, *cases, n++);
    }

    fclose(file);

    return n;
}


void
mqtt_case_limits(const mqtt_case_t *c, ngx_push_mqtt_limits_t *limits,
    uint32_t *max_packet)
{
    char           key[32];
    unsigned       value;
    const char    *p;
    int            n;

    static const ngx_push_mqtt_limits_t  all = NGX_PUSH_MQTT_LIMITS_MAX;

    *limits = all;
    *max_packet = NGX_PUSH_MQTT_PACKET_MAX;

    for (p = c->limits;
         sscanf(p, " %31[a-z_]=%u%n", key, &value, &n) == 2;
         p += n)
    {
        if (strcmp(key, "max_packet") == 0) {
            *max_packet = value;

        } else if (strcmp(key, "max_client_id") == 0) {
            limits->max_client_id = value;

        } else if (strcmp(key, "max_topic") == 0) {
            limits->max_topic = value;

        } else if (strcmp(key, "max_filters") == 0) {
            limits->max_filters = value;

        } else if (strcmp(key, "topic_alias_max") == 0) {
            limits->topic_alias_max = (uint16_t) value;

        } else if (strcmp(key, "max_qos") == 0) {
            limits->max_qos = (uint8_t) value;

        } else if (strcmp(key, "retain") == 0) {
            limits->retain = (uint8_t) value;

        } else {
            mqtt_table_die(c->where, 0, "unknown limit");
        }
    }

    if (*p) {
        mqtt_table_die(c->where, 0, "bad limits");
    }
}
