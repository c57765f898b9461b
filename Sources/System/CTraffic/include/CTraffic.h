// What the ends of the benchmark's traffic need and Swift does not see.
// A function that can fail returns a negative errno.
#pragma once

// Ties the calling thread to one processor.
int traffic_pin(int processor);
// Sends a batch of 64-byte datagrams on a connected socket; the number sent.
int traffic_send(int fd);
// Waits for one datagram and takes those that are there with it; their number. What is in them is dropped.
int traffic_receive(int fd);
