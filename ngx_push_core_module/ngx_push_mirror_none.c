
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * A zone that mirrors nothing.  Weak, and gone as soon as ngx_push_mirror.c is
 * there: until then the parts above it can be loaded and tried.
 */


#include "ngx_push_mirror.h"


__attribute__((weak)) ngx_int_t
ngx_push_mirror_put(ngx_push_mirror_t *m)
{
    return NGX_DECLINED;
}


__attribute__((weak)) ngx_int_t
ngx_push_mirror_once(ngx_push_mirror_t *m)
{
    return NGX_DECLINED;
}


__attribute__((weak)) ngx_int_t
ngx_push_mirror_begin(ngx_push_fill_t *f)
{
    return NGX_DECLINED;
}


__attribute__((weak)) ngx_int_t
ngx_push_mirror_fill(ngx_push_fill_t *f, ngx_push_mirror_t *m)
{
    return NGX_DECLINED;
}


__attribute__((weak)) void
ngx_push_mirror_end(ngx_push_fill_t *f)
{
}


__attribute__((weak)) void
ngx_push_mirror_failed(ngx_push_target_t *t)
{
}


__attribute__((weak)) void
ngx_push_check_all(void)
{
}
