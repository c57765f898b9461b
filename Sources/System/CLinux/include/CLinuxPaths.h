// Shims for paths that lesser users may have had a hand in: one name at a time, no symbolic link followed.
// A function that can fail returns a negative errno.
#pragma once
#include <stddef.h>
#include <sys/types.h>

// Opens one name of an open directory, close-on-exec; a name that is a symbolic link is never followed.
int fan_open_at(int directory, const char *name, int flags);
// Opens one name of an open directory only to look at it, whatever it is; nothing waits and nothing is followed.
int fan_look_at(int directory, const char *name);
// Makes one directory in an open directory.
int fan_make_directory_at(int directory, const char *name, mode_t mode);
// Reads the target of a symbolic link that was opened to be looked at; its length, -ENAMETOOLONG when it does not fit.
ssize_t fan_read_link(int link, char *buffer, size_t capacity);
// Gives what a descriptor stands for to a user and a group; it may be opened only to be looked at.
int fan_give(int fd, uid_t user, gid_t group);
