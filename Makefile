# ngx_push: builds the modules against the packaged nginx, out of tree.
# "make help" lists the targets; this file only says what depends on what,
# the work is done by nginx's own build system and by the scripts in util/.

NGINX_BIN  ?= /usr/sbin/nginx
NGINX_SRC  ?= /usr/share/nginx/src
NDK_SRC    ?= /usr/share/nginx-ndk/src
SANITIZE   ?=
FAULT      ?=
FUZZ_TIME  ?= 30
MQTT_PORT  ?= 1883
MQTTS_PORT ?= 8883
HTTP_PORT  ?= 8080
REDIS_PORT ?= 16379
WORKERS    ?= 2
DESTDIR    ?=
MODULEDIR  ?= /usr/lib/nginx/modules
LOADDIR    ?= /usr/share/nginx/modules-available
DOCDIR     ?= /usr/share/doc/ngx_push

# Each variant has a folder of its own, so that they do not rebuild each other.
BUILD := build$(if $(SANITIZE),-asan)$(if $(FAULT),-fault)

# What nginx's own macros do (unaligned words, nothing copied from NULL) is no
# finding.  Undefined behaviour ends the process, so that no test misses it.
SANITIZE_FLAGS := -fsanitize=address,undefined -fno-omit-frame-pointer \
                  -fno-sanitize-recover=undefined \
                  -fno-sanitize=alignment,nonnull-attribute
BUILD_FLAGS    := $(if $(SANITIZE),$(SANITIZE_FLAGS)) \
                  $(if $(FAULT),-DNGX_PUSH_FAULT_POINTS)

export NGINX_SRC NDK_SRC BUILD

ifeq (0,$(MAKELEVEL))
MAKEFLAGS += -j$(shell nproc)
endif

FOLDERS := ngx_push_core_module ngx_push_room_module \
           ngx_push_center_module ngx_push_dispatch_module \
           ngx_push_core_module/redis ngx_push_core_module/journal
SOURCES := $(sort $(wildcard $(addsuffix /*.c,$(FOLDERS))))
HEADERS := $(sort $(wildcard $(addsuffix /*.h,$(FOLDERS))))
LUA     := $(sort $(wildcard ngx_push_core_module/redis/lua/*.lua))
MODULES := $(addprefix $(BUILD)/ngx_push_,$(addsuffix _module.so, \
           core redis journal room center dispatch))

.PHONY: all modules help setup run cluster test test-redis prove unit tsan \
        fuzz fault bench check bench-million bench-document valgrind install \
        clean FORCE
.DELETE_ON_ERROR:

all: modules $(BUILD)/nginx

help:
	@echo 'make             the modules, in build/'
	@echo 'make run         a demo server in the foreground; Ctrl-C ends it'
	@echo '                 (MQTT_PORT MQTTS_PORT HTTP_PORT WORKERS)'
	@echo 'make cluster     three nodes with Redis and MariaDB (REDIS_PORT)'
	@echo 'make test        check, unit, then t/*.t (TESTS="t/x.t ...")'
	@echo 'make test-redis  the suites in t/ on Redis instead of the zone'
	@echo 'make unit        C unit tests only'
	@echo 'make prove       t/*.t only'
	@echo 'make tsan        those with threads, under ThreadSanitizer'
	@echo 'make check       style and include rules only'
	@echo 'make fuzz        parsers under libFuzzer, FUZZ_TIME seconds each'
	@echo 'make valgrind    the suites of VALGRIND_TESTS under memcheck'
	@echo 'make fault       t/fault/*.t, with the fault points compiled in'
	@echo 'make bench       beside mosquitto and Nchan (BENCH=--help)'
	@echo 'make bench-million   a million devices (BENCH=--help)'
	@echo 'make bench-document  docs/benchmarks.md from what it found'
	@echo 'make install     modules and sample configuration (DESTDIR)'
	@echo 'make clean       remove what was built'
	@echo 'make setup       the packages for all of this (util/setup)'
	@echo
	@echo 'SANITIZE=1       with ASan and UBSan, in build-asan/'
	@echo 'FAULT=1          with fault points, in build-fault/'


# --- modules

# What configure depends on beside its own script: the names of the sources
# and headers, of the module objects in them, and the flags.  Written only
# when it changes.
$(BUILD)/inputs: FORCE
	@mkdir -p $(BUILD)
	@{ printf '%s\n' $(SOURCES) $(HEADERS) '$(BUILD_FLAGS)' \
	       '$(NGINX_SRC) $(NDK_SRC)'; \
	   grep -h '^ngx_module_t ' $(SOURCES) /dev/null || :; \
	   cksum $(LUA) /dev/null; } > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/Makefile: config util/configure $(BUILD)/inputs \
                   $(wildcard $(NGINX_SRC)/conf_flags)
	@echo "configure $(BUILD)"
	@util/configure $(BUILD) $(BUILD_FLAGS)
	@touch $@

# nginx's Makefile has relative paths into its own sources.
modules: $(BUILD)/Makefile
	@$(MAKE) -s --no-print-directory -C $(NGINX_SRC) \
	    -f $(CURDIR)/$(BUILD)/Makefile modules

# The nginx to run the modules in: the packaged one, for a sanitizer build
# with its run-time libraries loaded first.
$(BUILD)/nginx: util/launcher $(BUILD)/inputs
	@util/launcher $(if $(SANITIZE),--sanitize) '$(NGINX_BIN)' > $@
	@chmod +x $@


# --- use

setup:
	@util/setup all

run:
	@util/setup run
	@$(MAKE) --no-print-directory all
	@MQTT_PORT=$(MQTT_PORT) MQTTS_PORT=$(MQTTS_PORT) \
	    HTTP_PORT=$(HTTP_PORT) WORKERS=$(WORKERS) util/run

cluster:
	@util/setup cluster
	@$(MAKE) --no-print-directory all
	@MQTT_PORT=$(MQTT_PORT) MQTTS_PORT=$(MQTTS_PORT) \
	    HTTP_PORT=$(HTTP_PORT) REDIS_PORT=$(REDIS_PORT) \
	    WORKERS=$(WORKERS) util/cluster

bench:
	@util/setup bench
	@$(MAKE) --no-print-directory all
	@util/bench $(BENCH)

bench-million:
	@util/setup bench
	@$(MAKE) --no-print-directory all
	@util/bench-million $(BENCH)

bench-document:
	@util/setup bench
	@util/bench --document
	@[ ! -e $(BUILD)/bench/million.json ] || util/bench-million --document

install: all
	install -d '$(DESTDIR)$(MODULEDIR)' '$(DESTDIR)$(LOADDIR)' \
	    '$(DESTDIR)$(DOCDIR)'
	install -m 644 $(MODULES) '$(DESTDIR)$(MODULEDIR)/'
	install -m 644 conf/mod-push.conf '$(DESTDIR)$(LOADDIR)/'
	install -m 644 conf/push.conf.sample README.md LICENSE \
	    '$(DESTDIR)$(DOCDIR)/'

clean:
	rm -rf build build-asan build-fault build-asan-fault t/servroot*


# --- tests

# Everything, and a short slice of what has a target of its own.  The suites
# come last, so that the last lines are theirs.
test:
	@util/setup test
	@$(MAKE) --no-print-directory all check unit
ifeq (,$(TESTS))
	@$(MAKE) --no-print-directory fuzz FUZZ_TIME=5
	@$(MAKE) --no-print-directory valgrind TESTS='$(VALGRIND_SLICE)'
	@$(MAKE) --no-print-directory prove SANITIZE=1 TESTS='$(ASAN_SLICE)'
endif
	@util/test $(TESTS)
ifeq (,$(TESTS))
	@PUSH_TEST_STORE=redis util/test $(REDIS_SLICE)
endif

prove: all
	@util/test $(TESTS)

# The suites that speak of behaviour alone, on Redis.
REDIS_TESTS ?= $(filter-out t/020-room-conf.t t/038%,$(wildcard t/02*.t \
               t/03*.t t/04*.t t/050-*.t t/060-*.t t/070-*.t))

REDIS_SLICE := t/030-center-push.t t/034-center-uplink.t \
               t/039-idempotency.t t/047-recipients.t

test-redis: all
	@PUSH_TEST_STORE=redis util/test $(REDIS_TESTS)

check: modules
	@util/check

# Suites under memcheck: those without workers of their own (Push::Server
# knows a worker by its name, which is valgrind's then) and without deadlines.
VALGRIND_TESTS ?= t/020-room-topics.t t/020-room-connect.t \
                  t/030-center-push.t t/031-center-query.t \
                  t/034-center-uplink.t

VALGRIND_SLICE := t/020-room-topics.t t/030-center-push.t
ASAN_SLICE     := $(wildcard t/02*.t t/03*.t t/043*.t t/046*.t)

valgrind:
	@$(MAKE) --no-print-directory all
	@util/launcher --valgrind '$(NGINX_BIN)' > $(BUILD)/nginx-valgrind
	@chmod +x $(BUILD)/nginx-valgrind
	@TEST_NGINX_BINARY=$(CURDIR)/$(BUILD)/nginx-valgrind \
	    util/test $(or $(TESTS),$(VALGRIND_TESTS))

fault:
	@util/setup test
	@$(MAKE) --no-print-directory FAULT=1 all
	@BUILD=$(BUILD)-fault util/test $(or $(TESTS),$(wildcard t/fault/*.t))

# A unit test or a fuzz target says in its first line which sources it is
# linked with, /* link: a.c b.c */, and if need be in its second line with
# which libraries: /* libs: -la -lb */
UNIT  := $(patsubst t/unit/%.c,%,$(sort $(wildcard t/unit/*_test.c)))
FUZZ  := $(patsubst t/fuzz/%.c,%,$(sort $(wildcard t/fuzz/*.c)))

linked = $(foreach s,$(shell sed -n \
           '1s,.*link: *\([^*]*[^* ]\) *\*/.*,\1,p' $(1)),$(or \
           $(wildcard $(addsuffix /$(s),$(FOLDERS) t/unit)),$(s)))

libs = $(shell sed -n '2s,.*libs: *\([^*]*[^* ]\) *\*/.*,\1,p' $(1))

INCLUDES := -Ingx_push_core_module -Ingx_push_core_module/journal \
            -Ingx_push_room_module -It/unit \
            $(addprefix -isystem $(NGINX_SRC)/src/,core event \
            event/modules os/unix) -isystem $(BUILD)

C_FLAGS  := -std=gnu11 -g -O1 -Wall -Wextra -Wno-unused-parameter -Werror \
            $(SANITIZE_FLAGS)

define unit_rules
$(BUILD)/unit/$(1): t/unit/$(1).c $$(call linked,t/unit/$(1).c) $(HEADERS) \
                    $(wildcard t/unit/*.h) | $(BUILD)/Makefile
	@mkdir -p $$(@D)
	@echo "cc $(1)"
	@$(CC) $(C_FLAGS) $(INCLUDES) -o $$@ $$(filter %.c,$$^) \
	    $$(call libs,t/unit/$(1).c) -lcmocka -lpthread
endef

define fuzz_rules
$(BUILD)/fuzz/$(1): t/fuzz/$(1).c $$(call linked,t/fuzz/$(1).c) $(HEADERS) \
                    | $(BUILD)/Makefile
	@mkdir -p $$(@D)
	@clang $(C_FLAGS) -fsanitize=fuzzer $(INCLUDES) -o $$@ \
	    $$(filter %.c,$$^) $$(call libs,t/fuzz/$(1).c)
endef

$(foreach t,$(UNIT),$(eval $(call unit_rules,$(t))))
$(foreach t,$(FUZZ),$(eval $(call fuzz_rules,$(t))))

unit: $(addprefix $(BUILD)/unit/,$(UNIT))
	@util/unit $^

# What has a thread of its own, once more under ThreadSanitizer.
$(BUILD)/tsan/%: C_FLAGS := -std=gnu11 -g -O1 -Wall -Wextra \
                 -Wno-unused-parameter -Werror -fsanitize=thread

$(BUILD)/tsan/journal_test: t/unit/journal_test.c \
                 $(call linked,t/unit/journal_test.c) $(HEADERS) \
                 | $(BUILD)/Makefile
	@mkdir -p $(@D)
	@echo "cc journal_test, tsan"
	@$(CC) $(C_FLAGS) $(INCLUDES) -o $@ $(filter %.c,$^) \
	    $(call libs,t/unit/journal_test.c) -lcmocka -lpthread

tsan: $(BUILD)/tsan/journal_test
	@TSAN_OPTIONS=halt_on_error=1 util/unit $^

fuzz: $(addprefix $(BUILD)/fuzz/,$(FUZZ))
	@FUZZ_TIME=$(FUZZ_TIME) util/fuzz $^
