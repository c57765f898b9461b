// What the benchmark needs and Swift does not see. A function that can fail returns a negative errno.
#pragma once

// Ties the calling thread to one processor.
int bench_pin(int processor);
// Sends a batch of 64-byte datagrams on a connected socket; the number sent.
int bench_send(int fd);
// Waits for one datagram and takes those that are there with it; their number. What is in them is dropped.
int bench_receive(int fd);

// Starts a program found on PATH in its own process group, its outputs dropped, by copying this process.
//
// A process that was started by posix_spawn has at least the peak memory of its parent, whose memory it shared for a
// moment; one that was forked has not.
int bench_fork(const char *file, char *const arguments[]);
