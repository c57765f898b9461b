// The few C shims that Swift cannot spell: variadic calls, macros, and errno
// read beside the call that set it. A function that can fail returns a negative errno.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "CLinuxAgent.h"
#include "CLinuxDatabase.h"
#include "CLinuxPaths.h"
#include "CLinuxSockets.h"
#include "CLinuxSpace.h"
#include "CLinuxStreams.h"

int fan_open(const char *path, int flags, mode_t mode);
ssize_t fan_read(int fd, void *buffer, size_t count);
ssize_t fan_write(int fd, const void *buffer, size_t count);

int fan_setns_network(int fd);
int fan_unshare_network(void);
int fan_mount_bind(const char *source, const char *target);
int fan_unmount_lazily(const char *target);

// The symbol of an errno (`EEXIST`) and its untranslated text, or NULL for a number that is none.
const char *fan_errno_name(int code);
const char *fan_errno_text(int code);

// Keeps this process and its children from ever getting more privileges. Returns -1 and sets errno on failure.
int fan_no_new_privileges(void);

// Copies a file to a new one and has it written to the disk.
int fan_copy_file(const char *source, const char *target);
