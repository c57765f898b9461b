// Shims for named network namespaces, child processes and signals.
// A function that can fail returns a negative errno.
#pragma once
#include <sys/types.h>

// Creates the directory of named network namespaces as iproute2 does: a shared mount, so that namespaces bound in it
// later show in every mount namespace.
int fan_space_directory(const char *path);
// Creates an empty file to bind a namespace onto; -EEXIST where there is one.
int fan_space_file(const char *path);
// The index of a link in the network namespace of an open socket, whichever namespace the thread is in by now.
int fan_link_index(int fd, const char *name);
int fan_directory_create(const char *path, mode_t mode);
// Removes a file or an empty directory.
int fan_remove(const char *path);
// Removes a directory and all in it, staying on its file system and following no link.
int fan_remove_tree(const char *path);
// 0 when the path names a file that may be executed.
int fan_executable(const char *path);
// Locks a file or directory for this process alone; -EWOULDBLOCK when another one has it.
int fan_lock_now(int fd);
// 1 when the path still names what the descriptor has open, else 0.
int fan_names(const char *path, int fd);

// Allows as many open descriptors as the hard limit does.
void fan_raise_descriptor_limit(void);

// Has the threads of this process share two heaps, and gives large blocks back when they are freed: by default each
// thread gets its own heap, and what one frees the others cannot use.
void fan_share_heaps(void);

int fan_pipe(int ends[2]);
int fan_set_nonblocking(int fd);
// Starts a program found on PATH, in its own process group, with default signals; a descriptor of -1 is /dev/null.
// Returns its process id.
pid_t fan_spawn(const char *file, char *const arguments[], char *const environment[], int in, int out, int err);
// Starts a program likewise, in its own session, writing to one file; its input is /dev/null.
pid_t fan_spawn_session(const char *file, char *const arguments[], char *const environment[], int log);
char *const *fan_environment(void);
int fan_execute(const char *file, char *const arguments[], char *const environment[]);
int fan_process_descriptor(pid_t pid);
// Sends a signal to the process that a descriptor stands for, whatever its id is used for now.
int fan_signal_process(int descriptor, int number);
// Reaps a child without waiting: 1 and its wait status, 0 while it runs.
int fan_reap(pid_t pid, int *status);
// Waits for a child to end, and reaps it.
int fan_reap_blocking(pid_t pid, int *status);
// Reaps the child that a descriptor stands for, without waiting: 1, and its exit code or -1 and its signal or 0; 0 while
// it runs.
int fan_reap_process(int descriptor, int *code, int *number);
int fan_signal_group(pid_t leader, int number);
int fan_exit_code(int status);   // -1 when a signal ended it
int fan_exit_signal(int status); // 0 when it exited

// Sends SIGINT, SIGTERM and SIGHUP into a pipe from now on, and gives its reading end: each byte is a signal's number.
int fan_signals_watch(void);
// Puts back what those signals did before.
void fan_signals_unwatch(void);
// Ends this process by a signal, so that who waits for it can tell.
int fan_end_by_signal(int number);

// Polls up to `count` descriptors for reading; `ready[i]` becomes 1 where there is data or an end.
// A timeout of -1 waits for ever. Returns how many are ready; 0 on a timeout or an interruption.
int fan_poll_readable(const int *descriptors, unsigned char *ready, int count, int timeout_ms);
// Whether the other end of a connection has ended it; takes no time.
int fan_has_hung_up(int fd);
