/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one static program of the guest. It is started under several names (links), as busybox is, since
 * a static libc per tool would make the initramfs, and with it every boot, larger.
 */
#ifndef LAB_BOX_H
#define LAB_BOX_H

/* Process 1: reaps orphans and runs the commands that arrive on the second serial port. */
int agent_main(int argc, char **argv);

/* procs COUNT: start COUNT processes that sleep for ever. */
int procs_main(int argc, char **argv);

/* hog: take memory until the OOM killer acts. */
int hog_main(int argc, char **argv);

/*
 * forkbomb COUNT [hold [SECONDS SCRIPT]]: double until COUNT processes exist or a fork is refused; they stay. With
 * hold, one of them takes every place that becomes free; it all ends SECONDS after a fork was refused, and SCRIPT
 * is run.
 */
int forkbomb_main(int argc, char **argv);

/* stuck-writer FILE: write one byte to FILE, for ever in state D if its file system is frozen. */
int stuck_writer_main(int argc, char **argv);

/* sleepers COUNT: start COUNT processes that share one memory and sleep for ever; quicker than procs. */
int sleepers_main(int argc, char **argv);

/* work cpu|memory ROUNDS: a fixed amount of work, how long it took, and its median round. */
int work_main(int argc, char **argv);

/* victim: a process "lab-victim" of user 1000, for lab/rootkit; prints its pid. It calls exec on SIGUSR1. */
int victim_main(int argc, char **argv);

/* cpu-hog COUNT: start COUNT processes that compute for ever. */
int cpu_hog_main(int argc, char **argv);

/* rt-hog CPU: start a process that does so on one CPU, in the real-time class. Prints its pid. */
int rt_hog_main(int argc, char **argv);

/* leak KIB-PER-SECOND [MIB]: take memory at that rate, up to an amount, and keep it. */
int leak_main(int argc, char **argv);

/* hold MIB: take that much and sleep; thrash MIB: write to it at random for ever. */
int hold_main(int argc, char **argv);
int thrash_main(int argc, char **argv);

/*
 * Take files (sockets, TCP connections to itself) until there are no more, print how many there are and why,
 * and go on trying in the background.
 * fd-hog LIMIT [unprivileged], socket-hog LIMIT: up to LIMIT, or to the system's. port-hog PORT: until ports end.
 */
int fd_hog_main(int argc, char **argv);
int socket_hog_main(int argc, char **argv);
int port_hog_main(int argc, char **argv);

/* threads COUNT: one process with that many threads. */
int threads_main(int argc, char **argv);

/* dm COMMAND NAME [TABLE]: a small dmsetup; see dm.c. */
int dm_main(int argc, char **argv);

/* reader DEVICE [PAUSE-MS]: read it for ever, past the page cache. */
int reader_main(int argc, char **argv);

/* listener PORT CLIENTS: connect to itself that often, and never accept. */
int listener_main(int argc, char **argv);

/* udp-sink PORT: a socket that is never read. udp-flood ADDRESS PORT [PORTS]: packets for it, or for several. */
int udp_sink_main(int argc, char **argv);
int udp_flood_main(int argc, char **argv);

/* churn FILE: map and unmap memory, start threads and processes, for as long as FILE is there. */
int churn_main(int argc, char **argv);

/* legal: every way in which a process may change its credentials. */
int legal_main(int argc, char **argv);

#endif
