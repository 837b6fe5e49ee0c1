/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The user has had enough: ^C, or another signal that asks a program to end.
 */
#ifndef GS_CLI_INTERRUPT_H
#define GS_CLI_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * From now on SIGINT, SIGTERM and SIGHUP do not end the program; calls that wait return.
 * @return what becomes true when one has come.
 */
const volatile bool *interrupt_catch(void);

/** Wait for so many nanoseconds. @return false as soon as interrupt_catch() has something to tell. */
bool interrupt_sleep(uint64_t ns);

#endif
