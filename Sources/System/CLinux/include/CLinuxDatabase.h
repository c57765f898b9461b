// What the database node and its client need: abstract sockets, one lock per directory.
#pragma once
#include <stdint.h>

// A stream connection to an abstract socket, given without its leading NUL.
int fan_connect_abstract(const char *name);

// The descriptor of this process that is bound to that abstract name, marked close-on-exec; -ENOENT when none is.
int fan_keep_abstract_from_children(const char *name);

// Makes writes to closed sockets fail instead of killing the process.
void fan_ignore_broken_pipes(void);

// Sets a variable of the environment.
int fan_set_environment(const char *name, const char *value);
