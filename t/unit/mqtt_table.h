
/*
 * The packet table: reads the files of t/packets (their README has the format)
 * and prints parsed packets as the "key=value" words that they expect.
 */


#ifndef _MQTT_TABLE_H_INCLUDED_
#define _MQTT_TABLE_H_INCLUDED_


#include <stdio.h>

#include "ngx_push_mqtt.h"


#define MQTT_CASE_DATA  1024

typedef struct {
    char      name[160];
    char      limits[80];
    char      result[16];
    char      expect[1024];
    char      write[32];
    char      where[64];
    int       version;
    size_t    len;
    uint8_t   data[MQTT_CASE_DATA];
} mqtt_case_t;


/*
 * Reads the cases of t/packets/NAME, or of NAME in the folder that the
 * variable PACKETS names.  The process ends with a message on any mistake in
 * the file.  The caller frees *cases.
 */

size_t mqtt_table_read(const char *name, mqtt_case_t **cases);

void mqtt_case_limits(const mqtt_case_t *c, ngx_push_mqtt_limits_t *limits,
    uint32_t *max_packet);

/*
 * Parses a body by the type in f.  If out is not NULL, what was found is
 * printed there; cut is then not used.  cut tells whether the first k octets
 * of this well-formed body are a well-formed body too.
 */

int mqtt_parse_any(int version, const ngx_push_mqtt_frame_t *f,
    const uint8_t *body, uint32_t n, const ngx_push_mqtt_limits_t *limits,
    FILE *out, ngx_push_mqtt_error_t *err);

int mqtt_cut_is_whole(int version, const ngx_push_mqtt_frame_t *f,
    const uint8_t *body, uint32_t k, const ngx_push_mqtt_limits_t *limits);


#endif /* _MQTT_TABLE_H_INCLUDED_ */
